"""All figures of a result set of instances."""

from __future__ import annotations

from dataclasses import dataclass

from panoptic_blend.metrics.average_precision import AveragePrecision, report
from panoptic_blend.metrics.instance_budget import InstanceErrorBudget, instance_budget
from panoptic_blend.metrics.instance_errors import Diagnosis, InstanceErrors
from panoptic_blend.metrics.instance_report import InstanceReport, Kind
from panoptic_blend.metrics.precision_recall import PrecisionRecall, precision_recall
from panoptic_blend.scoring.instance_files import InstanceFiles
from panoptic_blend.structures import Progress


@dataclass(frozen=True)
class InstanceFindings:
    """The figures of one result set, by boxes and, if the results have masks, by masks."""

    report: InstanceReport
    curves: dict[Kind, PrecisionRecall]
    diagnoses: dict[Kind, Diagnosis]
    """The causes of errors, if they were asked for."""
    budgets: dict[Kind, InstanceErrorBudget]
    """What these causes cost."""


def compute_instance_findings(
    files: InstanceFiles, progress: Progress | None = None, *, causes: bool = False
) -> InstanceFindings:
    """Score the first result set of ``files``; ``causes`` also finds the causes of errors."""
    categories = files.truth.categories
    precision, errors = AveragePrecision(categories), InstanceErrors(categories)
    for done, (image_id, truth, found) in enumerate(files, start=1):
        precision.update(truth, found[0], image_id)
        if causes:
            errors.update(image_id, truth, found[0])
        if progress:
            progress(done, len(files))
    tallies = precision.tallies()
    curves = {kind: precision_recall(tally) for kind, tally in tallies.items()}
    diagnoses = errors.diagnose() if causes else {}
    return InstanceFindings(
        report=report(tallies, curves),
        curves=curves,
        diagnoses=diagnoses,
        budgets={kind: instance_budget(diagnosis, categories) for kind, diagnosis in diagnoses.items()},
    )
