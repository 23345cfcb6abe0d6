"""The fingerprint of a data set: the numbers from which the rules of `fit` choose options."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from panoptic_blend.data.protocol import ListedDataset, PanopticDataset, Sample, read_sample
from panoptic_blend.files import read_bytes, replacing
from panoptic_blend.fit.thing_shapes import ThingShapes, thing_shapes
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import PanopticBlendError

MOST_MEASURED = 300
"""The number of training images whose pixels are measured."""

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


@dataclass(frozen=True)
class ClassFacts:
    """One class: the numbers of its training images, segments (without crowds) and validation images.

    ``pixels`` is its share of the pixels that have a class; ``size`` are square roots of the areas of its segments in
    pixels. Both are of the measured images, and null where these have none of the class.
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

    Sizes of pictures are of all training images. What needs pixels is of ``measured`` of them, drawn at random, always
    the same ones. Things are without crowds.
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
    sizes, counts = np.array(list(training.images.sizes)), _class_counts(training)
    is_thing = [category.is_thing for category in training.categories]
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.permutation(len(training))[:MOST_MEASURED])
    measured = [_measure(read_sample(training, index)) for index in drawn.tolist()]
    shapes = [image.shapes for image in measured]
    long_sides, thicknesses = _joined(x.long_sides for x in shapes), _joined(x.thicknesses for x in shapes)
    thing_sizes = np.sqrt(_joined(x.areas for x in shapes))
    shorts = np.repeat(sizes[drawn].min(axis=1), [len(x) for x in shapes])
    stuff = _joined(x.stuff_areas for x in measured)
    stuff_pictures = np.repeat(sizes[drawn].prod(axis=1), [len(x.stuff_areas) for x in measured])
    return Fingerprint(
        images=len(training),
        validation_images=len(validation),
        measured=len(measured),
        short_side=_spread(sizes.min(axis=1)),
        long_side=_spread(sizes.max(axis=1)),
        aspect=_spread(sizes[:, 1] / sizes[:, 0]),
        gray=float(np.mean([x.is_gray for x in measured])),
        things_per_image=_thing_counts(counts[:, is_thing].sum(axis=1)),
        thing_size=Spread.of(thing_sizes),
        relative_thing_size=Spread.of(thing_sizes / shorts),
        thing_long_side=Spread.of(long_sides),
        thing_short_side=Spread.of(_joined(x.short_sides for x in shapes)),
        thing_thickness=Spread.of(thicknesses),
        thin=_share(thicknesses < THIN * long_sides),
        touching=_share(_joined(x.touching for x in shapes)),
        overlapping=_share(_joined(x.overlapping for x in shapes)),
        **_pixel_shares(training.categories, measured),
        stuff_area=Spread.of(stuff),
        relative_stuff_area=Spread.of(stuff / stuff_pictures),
        classes=_classes(training.categories, counts, _class_counts(validation), measured),
        sided_names=tuple(c.name for c in training.categories if is_sided(c.name)),
    )


@dataclass(frozen=True)
class _Measured:
    """An image whose pixels were measured; ``pixels`` counts those of each category id, and of void as None."""

    shapes: ThingShapes
    is_gray: bool
    pixels: dict[int | None, int]
    stuff_ids: npt.NDArray[np.int64]
    stuff_areas: npt.NDArray[np.float64]


def _measure(sample: Sample) -> _Measured:
    panoptic, pixels = sample.panoptic, dict[int | None, int]()
    segments = panoptic.segments if panoptic else []
    stuff = [segment for segment in segments if not segment.is_thing]
    for segment in segments:
        pixels[segment.category] = pixels.get(segment.category, 0) + segment.area
    if panoptic:
        pixels[None] = panoptic.segment_ids.size - sum(pixels.values())
    image = sample.image
    return _Measured(
        thing_shapes(sample),
        bool((image[0] == image[1]).all() and (image[1] == image[2]).all()),
        pixels,
        np.array([segment.category for segment in stuff], dtype=np.int64),
        np.array([segment.area for segment in stuff], dtype=np.int64),
    )


def _thing_counts(counts: npt.NDArray[np.int64]) -> ThingCounts:
    p50, p99 = np.percentile(counts, (50, 99)).tolist()
    return ThingCounts(float(counts.mean()), p50, p99, int(counts.max()))


def _pixel_shares(categories: Categories, measured: Sequence[_Measured]) -> dict[str, Any]:
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
    measured: Sequence[_Measured],
) -> tuple[ClassFacts, ...]:
    """The classes; ``here`` and ``there`` are the `_class_counts` of the training and of the validation split."""
    pixels: Counter[int | None] = Counter()
    for image in measured:
        pixels.update(image.pixels)
    labeled = pixels.total() - pixels[None]
    ids, areas = (
        _joined([*(getattr(x.shapes, a) for x in measured), *(getattr(x, b) for x in measured)])
        for a, b in (("category_ids", "stuff_ids"), ("areas", "stuff_areas"))
    )
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


def _class_counts(dataset: PanopticDataset) -> npt.NDArray[np.int32]:
    """The number of segments of each category in each image; those of a foreign data set are read."""
    if isinstance(dataset, ListedDataset):
        return dataset.class_counts()
    places = dataset.categories.places
    counts = np.zeros((len(dataset), len(places)), dtype=np.int32)
    for row in range(len(dataset)):
        measured = _measure(read_sample(dataset, row))
        for category_id in (*measured.shapes.category_ids.tolist(), *measured.stuff_ids.tolist()):
            counts[row, places[category_id]] += 1
    return counts


_SIDED = re.compile(r"\b(left|right|digits?|numbers?|letters?|characters?|text|arrow|[a-z]|\d+)\b", re.IGNORECASE)


def is_sided(name: str) -> bool:
    """Whether a class is, by its name, another one or none when it is mirrored: sides, letters, digits."""
    return bool(_SIDED.search(re.sub(r"[_\W]+", " ", name)))


def _joined(columns: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(list(columns))


def _spread(values: npt.ArrayLike) -> Spread:
    spread = Spread.of(values)
    assert spread, "a data set has images"
    return spread


def _share(values: npt.NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None
