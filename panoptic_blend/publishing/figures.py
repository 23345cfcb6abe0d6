"""The figures of a run: its last or best evaluation, with intervals where results and ground truth are at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_blend.config.experiment import Config
from panoptic_blend.formats.coco_layout import find_root, find_split
from panoptic_blend.scoring.details import Findings, Resampling
from panoptic_blend.scoring.run import ScoredFiles, find
from panoptic_blend.structures import PanopticBlendError, Progress
from panoptic_blend.training.log import read_log

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class RunFigures:
    """The figures of the evaluation that some weights come from."""

    evaluation: dict[str, Any] = field(default_factory=dict)
    """The record of the evaluation in the log; fractions by the names of its columns."""
    findings: Findings | None = None
    """PQ with intervals, from the results that the run has kept."""
    why_no_intervals: str = ""


def figures_of(run: Path, config: Config, is_best: bool, progress: Progress | None = None) -> RunFigures:
    """The figures of the best weights in the folder of a run, or of the last.

    The results that a run keeps are those of its last evaluation, so weights of an earlier one have no intervals.
    """
    records = [record for record in read_log(run) if "AP_box" in record]
    if not records:
        return RunFigures(why_no_intervals="the run has no evaluation")
    key = next(name for name in ("PQ", "PQ_Th", "AP_Th", "AP_box") if name in records[-1])
    scored = [record for record in records if record.get(key) is not None]
    chosen = max(scored, key=lambda record: float(record[key])) if is_best and scored else records[-1]
    if chosen is not records[-1]:
        return RunFigures(chosen, why_no_intervals="the run kept the results of a later evaluation")
    if "PQ_Th" not in chosen:
        return RunFigures(chosen, why_no_intervals="the data set has no panoptic annotation")
    try:
        findings = _findings(run, config, progress)
    except PanopticBlendError:
        return RunFigures(chosen, why_no_intervals="results or ground truth were not at hand")
    things = findings.report["Things"]["pq"]
    if chosen["PQ_Th"] is not None and not abs(things - chosen["PQ_Th"]) < _TOLERANCE:
        return RunFigures(chosen, why_no_intervals="results or ground truth have changed since the evaluation")
    return RunFigures(chosen, findings)


def _findings(run: Path, config: Config, progress: Progress | None) -> Findings:
    split = find_split(find_root(config.data.root), config.data.val)
    results = run / "results" / f"panoptic_{config.data.val}.json"
    return find(ScoredFiles(truth=split.json, prediction=results, truth_folder=split.maps), Resampling(), progress)
