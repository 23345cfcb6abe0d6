"""Fingerprints and facts made by hand, for tests of what follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from panoptic_blend.fit.fingerprint import ClassFacts, Fingerprint, Spread, ThingCounts
from panoptic_blend.fit.machine import Machine
from panoptic_blend.fit.near_duplicates import NearDuplicates
from panoptic_blend.fit.rules import Facts


def spread(middle: float) -> Spread:
    """Percentiles around a median: a quarter, a half, one, one and a half, twice as much."""
    return Spread(middle / 4, middle / 2, middle, 1.5 * middle, 2 * middle)


def fingerprint(**changes: Any) -> Fingerprint:
    """200 photographs of 480 x 640 pixels with things of 80 pixels, and 50 to judge by."""
    sizes = Spread(480, 480, 480, 480, 480), Spread(640, 640, 640, 640, 640)
    shares = (0.0, 0.1, 0.0, 0.4, 0.5, 0.1)
    classes = (
        ClassFacts(1, "car", True, 150, 400, 40, 0.4, spread(80)),
        ClassFacts(2, "sky", False, 190, 190, 45, 0.6, spread(200)),
    )
    made = Fingerprint(
        images=200,
        validation_images=50,
        measured=200,
        short_side=sizes[0],
        long_side=sizes[1],
        aspect=Spread(0.75, 1.33, 1.33, 1.33, 1.5),
        gray=0.0,
        things_per_image=ThingCounts(4.0, 3.0, 12.0, 15),
        thing_size=spread(80),
        relative_thing_size=spread(80 / 480),
        thing_long_side=spread(110),
        thing_short_side=spread(60),
        thing_thickness=spread(30),
        thin=shares[0],
        touching=shares[1],
        overlapping=shares[2],
        thing_pixels=shares[3],
        stuff_pixels=shares[4],
        void_pixels=shares[5],
        stuff_area=spread(20000),
        relative_stuff_area=spread(20000 / 480 / 640),
        classes=classes,
        near_duplicates=NearDuplicates(200, 50, 0, 0, (), ()),
        sided_names=(),
    )
    return replace(made, **changes)


PROCESSOR = Machine(cores=2.0, memory=8 * 10**9, device="cpu", name="")
GPU = Machine(cores=16.0, memory=80 * 10**9, device="cuda", name="a GPU")


def facts(**changes: Any) -> Facts:
    """A training from scratch on a processor: 600 steps of 8 pictures of 256 pixels, a second each."""
    made = Facts(
        data=fingerprint(),
        machine=PROCESSOR,
        has_panoptic=True,
        is_trained=False,
        network=None,
        devices=1,
        side=256,
        batch=8,
        precision="32-true",
        iterations=600,
        evaluations=4,
        step_seconds=1.0,
    )
    return replace(made, **changes)
