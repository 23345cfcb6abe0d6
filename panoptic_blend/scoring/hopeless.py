"""Say why a model is hopeless: likely reasons for a PQ that is next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from panoptic_blend.files import printable
from panoptic_blend.metrics.class_pixels import MUCH_VOID
from panoptic_blend.metrics.sparse import Integers
from panoptic_blend.structures import Category

HOPELESS_PQ = 0.01
"""A model with a smaller PQ is hopeless."""

MOST_REASONS = 3

RENAMED, RIGHT = 0.5, 0.1
"""Wrong classes: at least the first share of pixels is right once classes are renamed, at most the second before."""

ALL_VOID = 0.95
"""Nothing is predicted if so many pixels are void in the prediction."""

ONE_CLASS, OF_TRUTH = 0.95, 0.8
"""One class everywhere: it has the first share of what is predicted, and less than the second of the truth."""

FEW_PASSES = 10
"""Fewer passes over the data teach little."""


@dataclass(frozen=True)
class Training:
    """How a model was trained: passes over the data, and whether it started from weights."""

    passes: float
    has_weights: bool


def reasons(pq: float, pixels: Integers, categories: Sequence[Category], training: Training | None = None) -> list[str]:
    """At most three lines with likely reasons for a ``pq`` below 0.01, the likeliest first; none for any other model.

    Args:
        pixels: counts (C + 1, C + 1) of `ClassPixels`.
        training: how the model was trained, if known.
    """
    if not pq < HOPELESS_PQ or not pixels.any():
        return []
    found = [*_of_prediction(pixels, categories), *_of_truth(pixels), *(_of_training(training) if training else ())]
    found = found or ["the predictions are in the wrong places, which a report shows picture by picture"]
    return [f"PQ is {100 * pq:.2f}: {reason}" for reason in found[:MOST_REASONS]]


def _of_prediction(pixels: Integers, categories: Sequence[Category]) -> Iterator[str]:
    names = [printable(category.name) for category in categories]
    void = pixels[:, 0].sum() / pixels.sum()
    if void >= ALL_VOID:
        yield (
            f"{void:.0%} of the predicted pixels are void; lower model.fusion.confidence and model.fusion.stuff_area, "
            "or train longer"
        )
        return
    labeled = pixels[1:, 1:]
    rows, columns = linear_sum_assignment(-labeled)
    total = max(labeled.sum(), 1)
    renamed, right = labeled[rows, columns].sum() / total, np.trace(labeled) / total
    if renamed >= RENAMED and right <= RIGHT:
        worst = int(np.where(rows == columns, 0, labeled[rows, columns]).argmax())
        yield (
            f"the classes are wrong: {renamed:.0%} of the pixels agree once classes are renamed, {right:.0%} before "
            f"(`{names[rows[worst]]}` is predicted as `{names[columns[worst]]}`); compare the classes of the weights "
            "with those of the data"
        )
    predicted, truth = pixels[:, 1:].sum(axis=0), pixels[1:].sum(axis=1)
    first = int(predicted.argmax())
    share, expected = predicted[first] / predicted.sum(), truth[first] / max(truth.sum(), 1)
    if share >= ONE_CLASS and expected < OF_TRUTH:
        yield f"{share:.0%} of what is predicted is `{names[first]}`, in the truth {expected:.0%}"


def _of_truth(pixels: Integers) -> Iterator[str]:
    void = pixels[0].sum() / pixels.sum()
    if void > MUCH_VOID:
        yield (
            f"{void:.0%} of the pixels of the truth are void, from which nothing is learned; `data convert` makes them "
            "a class of stuff with --rest background"
        )


def _of_training(training: Training) -> Iterator[str]:
    if training.passes < FEW_PASSES:
        yield (
            f"{training.passes:.1f} passes over the training images are few; raise train.iterations for {FEW_PASSES} "
            "passes or more"
        )
    if not training.has_weights:
        yield "training started from random weights; give train.weights=imagenet or a checkpoint"
