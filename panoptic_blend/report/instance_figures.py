"""Figures of instances, in the form that the script of the page reads; docs/instances.md defines them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from panoptic_blend.files import without_nan
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_budget import InstanceBudget, instance_budget
from panoptic_blend.metrics.instance_errors import CAUSES, InstanceErrors
from panoptic_blend.metrics.instance_matching import InstanceTallies
from panoptic_blend.metrics.instance_report import Kind
from panoptic_blend.metrics.instance_resampling import InstanceIntervals, compare_instances, instance_intervals
from panoptic_blend.metrics.precision_recall import Curve, precision_recall
from panoptic_blend.metrics.resampling import Interval
from panoptic_blend.metrics.sparse import Floats
from panoptic_blend.report.instances import ScoredInstances
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.structures import Category, ImageId

STEPS = 101
"""Number of positions of the slider of scores."""

_AT_50, _AT_75 = 0, 5
"""Positions of 0.50 and 0.75 among the IoU thresholds."""

_TRUE, _IGNORED = 128, 255
"""Added to the step of a true positive; stands for a detection that counts neither as true nor as false."""

Tallies = Mapping[Kind, InstanceTallies]


class InstanceSummary:
    """What stays in memory of one result set: scores, overlaps and causes, without masks."""

    def __init__(self, things: Sequence[Category], kinds: Sequence[Kind]) -> None:
        self.things, self.kinds = things, kinds
        self.precision, self.errors = AveragePrecision(things), InstanceErrors(things)
        self.causes: dict[Kind, list[npt.NDArray[np.uint8]]] = {kind: [] for kind in kinds}

    def add(self, found: ScoredInstances) -> None:
        """Add the next image, in the order of the page."""
        self.precision.merge(found.precision)
        self.errors.merge(found.errors)
        for kind, causes in found.causes.items():
            self.causes[kind].append(causes)


@dataclass(frozen=True, eq=False)
class Page:
    """The ``ids`` of the images of a page, indices (1..C) of category ids, and scores of the steps of the slider."""

    ids: Sequence[ImageId]
    lines: Mapping[int, int]
    steps: Floats


def score_steps(found: Sequence[Tallies]) -> Floats:
    """Scores of the steps of the slider: 0, 0.01, ..., 1, or the range of the scores if some are beyond that."""
    scores = np.concatenate([[0.0], *(tallies["box"].scores for tallies in found)])
    if scores.min() >= 0 and scores.max() <= 1:
        return np.arange(STEPS) / (STEPS - 1)
    return np.linspace(scores.min(), scores.max(), STEPS)


def instance_figures(summary: InstanceSummary, tallies: Tallies, page: Page, resampling: Resampling) -> dict[str, Any]:
    """All figures of one result set, whose ``tallies`` are those of its summary.

    The bytes of single detections are in the order of the images of the page; in an image, they are sorted by class and
    then by descending score, as the rows of detections of `ScoredInstances` are.
    """
    boxes = tallies["box"]
    places = {image: place for place, image in enumerate(boxes.images)}
    positions = np.array([places[image] for image in page.ids], np.int64)
    order = np.argsort(np.argsort(positions)[boxes.image], kind="stable")
    own_lines = np.array([page.lines[category.id] for category in boxes.categories], "<u2")
    figures: dict[str, Any] = {
        "detections": {
            "counts": np.bincount(boxes.image, minlength=len(places))[positions].tolist(),
            "classes": _packed(np.repeat(own_lines, np.diff(boxes.starts))[order]),
        }
    }
    diagnoses = summary.errors.diagnose()
    for kind in summary.kinds:
        budget = instance_budget(diagnoses[kind], summary.things)
        intervals = instance_intervals(tallies[kind], **asdict(resampling))
        figures[kind] = _of_kind(tallies[kind], order, page, intervals) | {
            "too_rare": len(intervals.too_rare),
            "causes": _packed(np.concatenate(summary.causes[kind])),
            "budget": {
                "all": _budget(budget.all),
                "classes": {str(id): _budget(found) for id, found in budget.per_class.items()},
            },
        }
    return figures


def _of_kind(
    tallies: InstanceTallies, order: npt.NDArray[np.int64], page: Page, intervals: InstanceIntervals
) -> dict[str, Any]:
    """Figures and curves of all classes and of each one that occurs, and the outcome of each detection."""
    found = precision_recall(tallies)
    step = np.searchsorted(page.steps, tallies.scores, side="right") - 1
    is_matched, is_ignored = (bits[0] & 1 == 1 for bits in (tallies.matched, tallies.ignored))
    outcomes = np.where(is_ignored, _IGNORED, step + _TRUE * is_matched)[order].astype(np.uint8)
    counts, classes, curves = {}, {}, {"all": _curve(found.curve())}
    instances = np.bincount(tallies.truth_class[tallies.truth_counts[0]], minlength=len(tallies.categories)).tolist()
    for k, category in enumerate(tallies.categories):
        own, id = slice(int(tallies.starts[k]), int(tallies.starts[k + 1])), str(category.id)
        if own.start == own.stop and not instances[k]:
            continue
        true, false = (_at_least(step[own][mask[own] & ~is_ignored[own]]) for mask in (is_matched, ~is_matched))
        counts[page.lines[category.id]] = {"tp": true, "fp": false, "truths": instances[k]}
        values = {name: {"value": value} for name, value in found.figures(k).columns().items()}
        classes[id] = {**without_nan(values), "instances": instances[k]}
        if instances[k]:
            classes[id]["AP"] = asdict(intervals.per_class[category.id])
            curves[id] = _curve(found.curve(k))
    return {
        "figures": _bounded(intervals.figures),
        "classes": classes,
        "curves": curves,
        "counts": counts,
        "outcomes": _packed(outcomes),
    }


def differences(first: InstanceTallies, second: InstanceTallies, resampling: Resampling) -> dict[str, Any]:
    """All figures of the second result set minus those of the first, and AP of each class, with intervals."""
    found = compare_instances(first, second, **asdict(resampling))
    figures = {name: interval | {"better": found.better[name]} for name, interval in _bounded(found.figures).items()}
    return {"figures": figures, "classes": _bounded(found.per_class)}


def _bounded(intervals: Mapping[Any, Interval]) -> dict[Any, Any]:
    """Values with the bounds of their intervals."""
    return cast(dict[Any, Any], without_nan({key: asdict(interval) for key, interval in intervals.items()}))


def _curve(curve: Curve) -> dict[str, list[float | None]]:
    """Precision at the recalls 0, 0.01, ..., 1, at IoU 0.50, at 0.75 and as the mean over all thresholds."""
    chosen = {"50": curve.precision[_AT_50], "75": curve.precision[_AT_75], "mean": curve.precision.mean(axis=0)}
    return cast(dict[str, Any], without_nan({key: values.round(3).tolist() for key, values in chosen.items()}))


def _budget(budget: InstanceBudget) -> dict[str, Any]:
    """AP50, and in the order of ``CAUSES``: the number of errors, AP50 lost, and AP50 if they alone were repaired."""
    figures = {
        "ap50": budget.ap50,
        "counts": [budget.counts[cause] for cause in CAUSES],
        "lost": [budget.shares[cause] for cause in CAUSES],
        "mended": [budget.ap50 + budget.gains[cause] for cause in CAUSES],
    }
    return cast(dict[str, Any], without_nan(figures))


def _at_least(steps: npt.NDArray[np.int64]) -> list[int]:
    """The number of detections at each step or above it."""
    listed: list[int] = np.bincount(steps, minlength=STEPS)[::-1].cumsum()[::-1].tolist()
    return listed


def _packed(numbers: npt.NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii")
