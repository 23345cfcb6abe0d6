"""The fingerprint of a data set: the numbers from which the rules of `fit` choose options."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.files import read_bytes, replacing
from panoptic_blend.fit.measured_images import MeasuredImage, count_classes, joined, measure_images
from panoptic_blend.fit.near_duplicates import NearDuplicates, find_near_duplicates
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import PanopticBlendError

THIN = 1 / 8
"""A thing is thin if its mean thickness is less than this part of its longest side."""


@dataclass(frozen=True)
class Spread:
    """Percentiles of a quantity: its 5th, 25th, 50th, 75th and 95th."""

    p5: float
    p25: float
    p50: float
    p75: float
    p95: float

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Spread | None:
        """The percentiles of ``values``; None if there are none."""
        numbers = np.asarray(values, dtype=np.float64)
        return cls(*np.percentile(numbers, (5, 25, 50, 75, 95)).round(4).tolist()) if numbers.size else None


@dataclass(frozen=True)
class ThingCounts:
    """How many things, without crowds, a training image has."""

    mean: float
    p50: float
    p99: float
    max: int

    @classmethod
    def of(cls, counts: npt.NDArray[np.int64]) -> ThingCounts:
        """Those of the numbers of things in the images (n,)."""
        p50, p99 = np.percentile(counts, (50, 99)).tolist()
        return cls(float(counts.mean()), p50, p99, int(counts.max()))


@dataclass(frozen=True)
class ClassFacts:
    """One class: the numbers of training images that have it, of its segments there, and of validation images.

    Segments are without crowds. ``pixels`` is its share of the pixels that have a class, and ``size`` are the square
    roots of the areas of its segments; both are of the measured images, and null where these have none.
    """

    id: int
    name: str
    is_thing: bool
    images: int
    segments: int
    validation_images: int
    pixels: float | None
    size: Spread | None


@dataclass(frozen=True)
class Fingerprint:
    """What a data set is like. Sides are in pixels of the pictures, shares from 0 to 1; null is a figure over nothing.

    Sizes of pictures and counts of things and classes are of all images; a data set without lists of them
    (`ListedDataset`) has the counts of the ``measured`` ones. What needs pixels is of ``measured`` training images,
    drawn at random, always the same ones, and more of those with rare classes. Things are without crowds.
    """

    images: int
    validation_images: int
    measured: int
    short_side: Spread
    long_side: Spread
    aspect: Spread
    """Width divided by height."""
    gray: float
    """Share of the measured pictures without color."""
    things_per_image: ThingCounts
    thing_size: Spread | None
    """Square roots of the areas of things."""
    relative_thing_size: Spread | None
    """The same, divided by the short side of the picture."""
    thing_long_side: Spread | None
    """Longer sides of the boxes of things."""
    thing_short_side: Spread | None
    thing_thickness: Spread | None
    """Mean thicknesses of things (see `thickness`)."""
    thin: float | None
    """Share of things that are thinner than an eighth of their longer side."""
    touching: float | None
    """Share of things that touch or overlap another one of their class."""
    overlapping: float | None
    """Share of things that share pixels with another one."""
    thing_pixels: float | None
    """Share of pixels that belong to things, crowds included; null without panoptic annotation, as the next four."""
    stuff_pixels: float | None
    void_pixels: float | None
    stuff_area: Spread | None
    """Areas of stuff segments in pixels."""
    relative_stuff_area: Spread | None
    """The same, divided by the area of the picture."""
    classes: tuple[ClassFacts, ...]
    near_duplicates: NearDuplicates
    sided_names: tuple[str, ...]
    """Classes whose name says that a mirrored thing would be of another class, such as ``left hand`` or ``digit 3``."""

    @property
    def flip_is_safe(self) -> bool:
        """Whether no name of a class speaks against horizontal flips."""
        return not self.sided_names

    def write(self, path: Path) -> None:
        """Write the fingerprint as JSON."""
        with replacing(path) as temporary:
            temporary.write_bytes(_JSON.dump_json(self, indent=1))

    @classmethod
    def read(cls, path: Path) -> Fingerprint:
        """Read what `write` has written.

        Raises:
            PanopticBlendError: the file is missing or is no fingerprint.
        """
        try:
            return _JSON.validate_json(read_bytes(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise PanopticBlendError(
                f"{path}: is no fingerprint ({where}: {first['msg']}); remove it, and it is taken anew"
            ) from None


_JSON = TypeAdapter(Fingerprint)


def take_fingerprint(training: PanopticDataset, validation: PanopticDataset) -> Fingerprint:
    """Measure a data set.

    Raises:
        PanopticBlendError: an image cannot be read.
    """
    sizes, categories = np.array(list(training.images.sizes)), training.categories
    measured = measure_images(training)
    counts = count_classes(training, measured)
    shapes = [image.shapes for image in measured]
    areas, long_sides, short_sides, thicknesses = (
        joined(getattr(x, name) for x in shapes) for name in ("areas", "long_sides", "short_sides", "thicknesses")
    )
    picture_sides = np.repeat([min(x.size) for x in measured], [len(x.shapes) for x in measured])
    picture_areas = np.repeat([math.prod(x.size) for x in measured], [len(x.stuff_areas) for x in measured])
    stuff_areas = joined(x.stuff_areas for x in measured)
    return Fingerprint(
        images=len(training),
        validation_images=len(validation),
        measured=len(measured),
        short_side=_spread(sizes.min(axis=1)),
        long_side=_spread(sizes.max(axis=1)),
        aspect=_spread(sizes[:, 1] / sizes[:, 0]),
        gray=float(np.mean([x.is_gray for x in measured])),
        things_per_image=ThingCounts.of(counts[:, [category.is_thing for category in categories]].sum(axis=1)),
        thing_size=Spread.of(np.sqrt(areas)),
        relative_thing_size=Spread.of(np.sqrt(areas) / picture_sides),
        thing_long_side=Spread.of(long_sides),
        thing_short_side=Spread.of(short_sides),
        thing_thickness=Spread.of(thicknesses),
        thin=_share(thicknesses < THIN * long_sides),
        touching=_share(joined(x.touching for x in shapes)),
        overlapping=_share(joined(x.overlapping for x in shapes)),
        **_pixel_shares(categories, measured),
        stuff_area=Spread.of(stuff_areas),
        relative_stuff_area=Spread.of(stuff_areas / picture_areas),
        classes=_classes(categories, counts, count_classes(validation), measured),
        near_duplicates=find_near_duplicates(training, validation),
        sided_names=tuple(category.name for category in categories if is_sided(category.name)),
    )


def _pixel_shares(categories: Categories, measured: Sequence[MeasuredImage]) -> dict[str, Any]:
    """The shares of pixels that are things, stuff and void."""
    counts: Counter[bool | None] = Counter()
    for image in measured:
        for category_id, number in image.pixels.items():
            counts[None if category_id is None else categories.by_id[category_id].is_thing] += number
    total = counts.total()
    names = {"thing_pixels": True, "stuff_pixels": False, "void_pixels": None}
    return {name: counts[kind] / total if total else None for name, kind in names.items()}


def _classes(
    categories: Categories,
    here: npt.NDArray[np.int32],
    there: npt.NDArray[np.int32],
    measured: Sequence[MeasuredImage],
) -> tuple[ClassFacts, ...]:
    """The classes; ``here`` and ``there`` are the counts of the training and of the validation split."""
    pixels = sum((image.pixels for image in measured), Counter[int | None]())
    labeled = pixels.total() - pixels[None]
    ids = joined([*(x.shapes.category_ids for x in measured), *(x.stuff_ids for x in measured)])
    areas = joined([*(x.shapes.areas for x in measured), *(x.stuff_areas for x in measured)])
    return tuple(
        ClassFacts(
            category.id,
            category.name,
            category.is_thing,
            int(np.count_nonzero(here[:, place])),
            int(here[:, place].sum()),
            int(np.count_nonzero(there[:, place])),
            pixels[category.id] / labeled if labeled else None,
            Spread.of(np.sqrt(areas[ids == category.id])),
        )
        for place, category in enumerate(categories)
    )


_SIDED = re.compile(r"\b(left|right|digits?|numbers?|letters?|characters?|text|arrow|[a-z]|\d+)\b", re.IGNORECASE)


def is_sided(name: str) -> bool:
    """Whether a class is, by its name, another one or none when it is mirrored: sides, letters, digits."""
    return bool(_SIDED.search(re.sub(r"[_\W]+", " ", name)))


def _spread(values: npt.ArrayLike) -> Spread:
    spread = Spread.of(values)
    assert spread, "a data set has images"
    return spread


def _share(values: npt.NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None
