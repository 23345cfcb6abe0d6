"""Raw predictions of a crowded picture, drawn instead of predicted: what a trained BlendMask gives, without weights.

Objects, which are ellipses of all sizes, lie on regions of stuff, smaller ones in front. There are several guesses at
each object, of other classes and with low scores, and each guess is found by the locations around its center, as FCOS
assigns them, so suppression has its usual work. Bases are positive inside of objects and negative at their outlines, so
masks have the usual shapes. Logits of semantic classes are blurred at borders and vary smoothly elsewhere, so few
classes compete for a pixel, as after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.config.model_options import Model
from panoptic_blend.postprocessing.blending import TopLayer
from panoptic_blend.postprocessing.interpolation import Floats
from panoptic_blend.structures import THING_CLASS, Size

STRIDE = 4
"""Stride of the bases and of the semantic logits."""
_GUESSES = 6
"""Classes as which each object is found."""
_MULTIPLE = 32
"""Sides of the network's input are multiples of this."""


@dataclass(frozen=True)
class Ellipses:
    """Ellipses in pixels of the input: their centers and half axes x, y (n, 2)."""

    centers: Floats
    radii: Floats


def drawn_ellipses(number: int, size: Size, rng: np.random.Generator) -> Ellipses:
    """Ellipses in an image of ``size``, the largest first; diameters are from 1/24 to 2/3 of its shorter side."""
    diameters = np.sort(min(size) * np.exp(rng.uniform(np.log(1 / 24), np.log(2 / 3), number)))[::-1]
    stretch = np.exp(rng.normal(0, 0.25, number))
    radii = diameters[:, None] / 2 * np.stack([stretch, 1 / stretch], axis=1)
    return Ellipses(rng.uniform(0, (size[1], size[0]), (number, 2)), radii)


def guesses(ellipses: Ellipses, number: int, rng: np.random.Generator) -> Ellipses:
    """``number`` guesses at every ellipse, which are about as large and at about its place."""
    centers, radii = ellipses.centers.repeat(number, axis=0), ellipses.radii.repeat(number, axis=0)
    shifted = centers + radii * rng.normal(0, 0.15, radii.shape)
    return Ellipses(shifted, radii * np.exp(rng.normal(0, 0.2, radii.shape)))


def drawn_predictions(
    model: Model, levels: Mapping[str, int], size: Size, objects: int = 40, seed: int = 0
) -> tuple[dict[str, Floats], TopLayer]:
    """The arrays of `PanopticBlend.raw` for an image of ``size`` with so many objects, and a layer of random weights.

    Args:
        levels: names and strides of the pyramid levels, finest first.
    """
    rng = np.random.default_rng(seed)
    ellipses = drawn_ellipses(objects, size, rng)
    guessed = guesses(ellipses, _GUESSES, rng)
    padded = tuple(-(-side // _MULTIPLE) * _MULTIPLE for side in size)
    raw: dict[str, Floats] = {}
    for (name, stride), (low, high) in zip(levels.items(), _ranges(model), strict=True):
        sides = tuple(-(-side // stride) for side in padded)
        raw[f"{name}_logits"] = rng.normal(-7, 1, (1, model.num_things, *sides))
        raw[f"{name}_distances"] = rng.exponential(4, (1, 4, *sides))
        raw[f"{name}_centerness"] = rng.normal(-1, 1, (1, 1, *sides))
        raw[f"{name}_features"] = rng.normal(size=(1, model.fpn.channels, *sides)).clip(0)
        fields = [raw[f"{name}_{field}"][0] for field in ("logits", "distances", "centerness")]
        reach = guessed.radii.max(axis=1)
        for i in np.flatnonzero((low < reach) & (reach <= high)):
            _find(guessed.centers[i], guessed.radii[i], fields, stride, rng)
    cells = padded[0] // STRIDE, padded[1] // STRIDE
    surface = _surface(ellipses, cells)
    num_bases = model.bottom.num_bases
    strength = np.exp(0.5 * _smooth(num_bases, cells, rng))
    raw["bases"] = (surface * strength + rng.normal(0, 0.3, (num_bases, *cells)))[None]
    if model.semantic.enabled:
        raw["semantic_logits"] = _semantic_logits(surface > 0, model.num_stuff + 1, rng)[None]
    outputs = num_bases * model.blender.attention_size**2
    weight = rng.normal(0, 0.02, (outputs, model.fpn.channels, 3, 3)).astype(np.float32)
    top_layer = TopLayer(weight, np.zeros(outputs, np.float32), num_bases)
    return {name: values.astype(np.float32) for name, values in raw.items()}, top_layer


def _ranges(model: Model) -> list[tuple[float, float]]:
    limits = [0.0, *map(float, model.fcos.size_limits), np.inf]
    return list(pairwise(limits))


def _find(center: Floats, radii: Floats, fields: Sequence[Floats], stride: int, rng: np.random.Generator) -> None:
    """Let the locations of a level within 1.5 strides of an ellipse's center predict it as one class, in place."""
    logits, distances, centerness = fields
    label, score = rng.integers(len(logits)), 0.1 + 0.88 * rng.beta(1, 3)
    (left, top), (right, bottom) = center / stride - 1.5, center / stride + 1.5
    for row in range(int(max(top, 0)), min(int(bottom), logits.shape[1])):
        for column in range(int(max(left, 0)), min(int(right), logits.shape[2])):
            offset = (np.array([column, row]) + 0.5) * stride - center
            sides = np.concatenate([radii + offset, radii - offset])
            if sides.min() > 0:
                logits[label, row, column] = _logit(score * rng.uniform(0.8, 1))
                distances[:, row, column] = sides / stride * rng.normal(1, 0.05, 4).clip(0.8, 1.2)
                middle = np.minimum(sides[:2], sides[2:]) / np.maximum(sides[:2], sides[2:])
                centerness[0, row, column] = _logit(0.99 * np.sqrt(middle.prod()))


def _logit(probability: float) -> float:
    return float(np.log(probability) - np.log1p(-probability))


def _surface(ellipses: Ellipses, sides: Size) -> Floats:
    """A map (h, w) at `STRIDE`: positive inside of ellipses, negative around them and elsewhere, at most 6."""
    surface = np.full(sides, -6.0)
    rows, columns = (STRIDE * (np.arange(side) + 0.5) for side in sides)
    for (x, y), (across, down) in zip(ellipses.centers, ellipses.radii, strict=True):
        height = 1 - ((columns - x) / across) ** 2 - ((rows[:, None] - y) / down) ** 2
        near = height > -0.3
        surface[near] = np.clip(height[near] * min(across, down) / STRIDE * 2, -6, 6)
    return surface


def _smooth(number: int, sides: Size, rng: np.random.Generator) -> Floats:
    """Smooth maps (number, h, w) with a mean of about 0 and a deviation of about 1."""
    coarse = rng.normal(size=(number, 6, 8)).astype(np.float32)
    resized = [cv2.resize(one, (sides[1], sides[0]), interpolation=cv2.INTER_CUBIC) for one in coarse]
    return np.stack([np.asarray(one, np.float32) for one in resized])


def _semantic_logits(is_thing: npt.NDArray[np.bool_], classes: int, rng: np.random.Generator) -> Floats:
    """Logits (classes, h, w) for things, and eight regions of stuff whose pixels are nearest to a point of theirs."""
    points, kinds = rng.uniform(0, is_thing.shape, (8, 2)), rng.integers(1, classes, 8)
    places = np.moveaxis(np.indices(is_thing.shape), 0, 2)[:, :, None]
    truth = np.where(is_thing, THING_CLASS, kinds[((places - points) ** 2).sum(axis=3).argmin(axis=2)])
    blurred = [cv2.GaussianBlur((truth == kind).astype(np.float32), (0, 0), 2) for kind in range(classes)]
    shares = np.stack([np.asarray(one, np.float32) for one in blurred])
    return 8 * shares + _smooth(classes, (len(truth), len(truth[0])), rng) + rng.normal(0, 0.2, shares.shape)
