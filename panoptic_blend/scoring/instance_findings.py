"""All figures of a result set of instances, and its comparison with another."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from panoptic_blend.metrics.average_precision import AveragePrecision, report
from panoptic_blend.metrics.instance_budget import InstanceErrorBudget, instance_budget
from panoptic_blend.metrics.instance_errors import Diagnosis, InstanceErrors
from panoptic_blend.metrics.instance_report import InstanceReport, Kind
from panoptic_blend.metrics.instance_resampling import (
    InstanceComparison,
    InstanceIntervals,
    compare_instances,
    instance_intervals,
)
from panoptic_blend.metrics.precision_recall import PrecisionRecall, precision_recall
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.instance_files import InstanceFiles
from panoptic_blend.structures import Progress


@dataclass(frozen=True)
class InstanceFindings:
    """The figures of one result set, by boxes and, if the results have masks, by masks."""

    report: InstanceReport
    curves: dict[Kind, PrecisionRecall]
    intervals: dict[Kind, InstanceIntervals]
    diagnoses: dict[Kind, Diagnosis]
    """The causes of errors, if they were asked for."""
    budgets: dict[Kind, InstanceErrorBudget]
    """What these causes cost."""
    compared: dict[Kind, InstanceComparison]
    """The result set that is compared minus the first, by what both have."""
    other_report: InstanceReport | None = None
    """Of the result set that is compared."""


def compute_instance_findings(
    files: InstanceFiles, resampling: Resampling, progress: Progress | None = None, *, causes: bool = False
) -> InstanceFindings:
    """Score the first result set of ``files``, and compare the second one with it if there is one.

    ``causes`` also finds the causes of errors of the first.
    """
    categories, options = files.truth.categories, asdict(resampling)
    precisions, errors = [AveragePrecision(categories) for _ in files.results], InstanceErrors(categories)
    for done, (image_id, truth, found) in enumerate(files, start=1):
        for precision, detections in zip(precisions, found, strict=True):
            precision.update(truth, detections, image_id)
        if causes:
            errors.update(image_id, truth, found[0])
        if progress:
            progress(done, len(files))
    tallies, *others = [precision.tallies() for precision in precisions]
    curves = {kind: precision_recall(found) for kind, found in tallies.items()}
    diagnoses = errors.diagnose() if causes else {}
    return InstanceFindings(
        report=report(tallies, curves),
        curves=curves,
        intervals={kind: instance_intervals(found, **options) for kind, found in tallies.items()},
        diagnoses=diagnoses,
        budgets={kind: instance_budget(diagnosis, categories) for kind, diagnosis in diagnoses.items()},
        compared={
            kind: compare_instances(tallies[kind], found, **options)
            for other in others
            for kind, found in other.items()
            if kind in tallies
        },
        other_report=next((other.compute() for other in precisions[1:]), None),
    )
