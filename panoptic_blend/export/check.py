"""Run a model and its export on pictures of a data set: how far tensors, detections, maps and PQ differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from rich.table import Table
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou

from panoptic_blend.data.loader import EvaluationSample, evaluation_samples
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.deploy.predictor import ExportedPredictor
from panoptic_blend.failures import doing
from panoptic_blend.files import without_nan
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import compare
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.metrics.resampling import PairedComparison, compare_results
from panoptic_blend.postprocessing.interpolation import Floats
from panoptic_blend.scoring.detail_tables import bounds
from panoptic_blend.structures import Output, PanopticMap, Progress
from panoptic_blend.terminal import percent, right_aligned

CHECK = "check.json"
"""The file of an exported folder with the figures of a check."""

SAME_BOX = 0.9
"""Smallest IoU of the boxes of a detection and its partner in the export, which is of the same class."""


@dataclass
class Differences:
    """How far an export is from its model, over all pictures so far; ``add`` takes the next one."""

    pictures: int = 0
    tensors: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The largest difference in each output of the graph, and the largest value there."""
    detections: int = 0
    """Detections of the model and of the export, without partners counted once."""
    unpaired: int = 0
    """Detections of one without a partner in the other."""
    score: float = 0.0
    """Largest difference of the scores of partners."""
    pixels: int = 0
    different_pixels: int = 0
    """Pixels of panoptic maps that lie in another segment."""

    def add_tensors(self, expected: Mapping[str, Floats], found: Mapping[str, Floats]) -> None:
        """Compare the outputs of the graph for one picture."""
        for name, value in expected.items():
            largest, size = self.tensors.get(name, (0.0, 0.0))
            difference = float(np.abs(found[name] - value).max())
            self.tensors[name] = max(largest, difference), max(size, float(np.abs(value).max()))

    def add_outputs(self, expected: Output[Any], found: Output[Any]) -> None:
        """Compare what followed from the graph for one picture."""
        scores = partners(expected, found)
        total = len(expected.scores) + len(found.scores) - len(scores)
        self.pictures += 1
        self.detections += total
        self.unpaired += total - len(scores)
        self.score = max([self.score, *np.abs(scores[:, 0] - scores[:, 1]).tolist()])
        self.pixels += expected.panoptic.segment_ids.size
        self.different_pixels += different_pixels(expected.panoptic, found.panoptic)


def partners(first: Output[Any], second: Output[Any]) -> Floats:
    """Scores (n, 2) of the detections that two outputs share: of one class, with boxes of IoU `SAME_BOX`."""
    ious = box_iou(torch.from_numpy(first.boxes), torch.from_numpy(second.boxes)).numpy()
    ious[(ious < SAME_BOX) | (first.labels[:, None] != second.labels)] = 0
    rows, columns = linear_sum_assignment(ious, maximize=True)
    paired = ious[rows, columns] > 0
    return np.stack([first.scores[rows[paired]], second.scores[columns[paired]]], axis=1)


def different_pixels(first: PanopticMap, second: PanopticMap) -> int:
    """The number of pixels in segments that do not correspond, or that are void in one map only.

    Segments of one category correspond one to one, so that as many pixels as possible agree; numbers do not matter.
    """
    comparison = compare(first, second)
    shared = comparison.table
    is_same = comparison.truth.categories[:, None] == comparison.prediction.categories
    shared[1:, 1:][~is_same] = 0
    agreeing = shared[1:, 1:][linear_sum_assignment(shared[1:, 1:], maximize=True)].sum() + shared[0, 0]
    return int(first.segment_ids.size - agreeing)


@dataclass(frozen=True)
class Check:
    """The result of `check_export`."""

    engine: str
    precision: str
    differences: Differences
    compared: PairedComparison
    """PQ of the export minus PQ of the model."""
    qualities: dict[str, tuple[float, float]]
    """PQ of the model and of the export by group, as fractions; NaN where no class occurs."""

    def record(self) -> dict[str, Any]:
        """The check as a record for JSON."""
        found = self.differences
        groups = {
            group: {"model": model, "export": export, "difference": asdict(self.compared.groups[group])}
            for group, (model, export) in self.qualities.items()
        }
        tensors = {name: {"difference": one, "largest": other} for name, (one, other) in found.tensors.items()}
        detections = {"total": found.detections, "unpaired": found.unpaired, "largest_score_difference": found.score}
        record: dict[str, Any] = without_nan(
            {
                "engine": self.engine,
                "precision": self.precision,
                "pictures": found.pictures,
                "tensors": tensors,
                "detections": detections,
                "pixels": {"total": found.pixels, "different": found.different_pixels},
                "pq": groups,
            }
        )
        return record

    def tables(self) -> list[Table]:
        """The check as tables: tensors with their differences, then PQ."""
        tensors = right_aligned("output", "largest difference", "largest value", title="Outputs of the graph")
        for name, (difference, largest) in self.differences.tensors.items():
            tensors.add_row(name, f"{difference:.2g}", f"{largest:.3g}")
        quality = right_aligned("PQ", "model", "export", "difference", "interval", title="Export minus model")
        for group, pair in self.qualities.items():
            interval = self.compared.groups[group]
            change = percent(interval.value, "+.2f")
            quality.add_row(group, *map(percent, pair), change, bounds(interval, signed=True))
        return [tensors, quality]

    def line(self) -> str:
        """Detections and pixels that differ."""
        found = self.differences
        share = found.different_pixels / found.pixels if found.pixels else math.nan
        return (
            f"{found.pictures} pictures: {found.unpaired} of {found.detections} detections have no partner, scores of "
            f"partners differ by up to {found.score:.2g}; {percent(share, '.4f')}% of the pixels lie in other segments"
        )


def check_export(
    predictor: Predictor, export: ExportedPredictor, dataset: PanopticDataset, progress: Progress | None = None
) -> Check:
    """Run a model and its export on all pictures of a data set.

    Args:
        predictor: the model, in float32 on the CPU.
        export: its export.
        dataset: with panoptic annotation, and the categories of the model.

    Raises:
        PanopticBlendError: a picture cannot be read, or there is no panoptic annotation.
    """
    differences = Differences()
    details = PanopticDetails(dataset.categories), PanopticDetails(dataset.categories)
    samples = evaluation_samples(dataset, predictor.resizing, predictor.config.data.workers)
    for done, sample in enumerate(samples, start=1):
        with doing(f"checking {sample.file_name}", lower="test.short_side or test.long_side"):
            for scored, found in zip(details, _both(predictor, export, sample, differences), strict=True):
                scored.add(sample.image_id, compare(sample.panoptic_truth(), found))
        if progress:
            progress(done, len(dataset))
    compared = compare_results(*(scored.tallies() for scored in details))
    first, second = (scored.compute() for scored in details)
    qualities = {group: (first[group]["pq"], second[group]["pq"]) for group in GROUPS}
    return Check(export.manifest.engine, export.manifest.precision, differences, compared, qualities)


@torch.inference_mode()
def _both(
    predictor: Predictor, export: ExportedPredictor, sample: EvaluationSample, differences: Differences
) -> tuple[PanopticMap, PanopticMap]:
    """The maps of the model and of its export for one image, which are compared on the way."""
    model, image = predictor.model, sample.image.permute(1, 2, 0).numpy()
    raw, tensors = model.raw(model.batch([sample.image])), export.raw(image)
    size = image.shape[0], image.shape[1]
    [output] = model.outputs(raw, [size], [sample.size])
    found = export.outputs(tensors, size, sample.size)
    differences.add_tensors({name: value.numpy() for name, value in raw.items()}, tensors)
    expected = replace(output.arrays(), panoptic=predictor.categories.to_dataset(output.panoptic))
    differences.add_outputs(expected, found)
    return expected.panoptic, found.panoptic
