"""Fingerprints of generated data sets, against their annotation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.fit.fingerprint import Fingerprint, Spread, is_sided, take_fingerprint


def test_the_fingerprint_agrees_with_the_annotation(generated: Path, tmp_path: Path) -> None:
    training, validation = CocoPanoptic(generated, "train2017"), CocoPanoptic(generated, "val2017")
    found = take_fingerprint(training, validation)
    truths = [training.truth(i) for i in range(7)]
    segments = [s for truth in truths for s in truth.segments if not s.is_crowd]
    things = [s for s in segments if s.is_thing]
    assert (found.images, found.validation_images, found.measured) == (7, 3, 7)
    assert found.things_per_image.max == max(training.instance_counts())
    assert found.things_per_image.mean == pytest.approx(len(things) / 7)
    assert found.thing_size == Spread.of([s.area**0.5 for s in things])
    assert found.stuff_area == Spread.of([s.area for s in segments if not s.is_thing])
    assert found.thing_pixels is not None and found.stuff_pixels is not None and found.void_pixels is not None
    assert found.thing_pixels + found.stuff_pixels + found.void_pixels == pytest.approx(1)
    total = sum(truth.segment_ids.size for truth in truths)
    assert found.void_pixels == sum((truth.segment_ids == 0).sum() for truth in truths) / total > 0
    for facts in found.classes:
        own = [[s for s in truth.segments if s.category == facts.id and not s.is_crowd] for truth in truths]
        assert facts.images == sum(map(bool, own))
        assert facts.segments == sum(map(len, own))
    assert sum(facts.pixels or 0 for facts in found.classes) == pytest.approx(1)
    found.write(tmp_path / "fingerprint.json")
    assert Fingerprint.read(tmp_path / "fingerprint.json") == found


def test_a_broken_fingerprint_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "f.json").write_text(json.dumps({"images": "many"}))
    assert "images" in refused(Fingerprint.read, tmp_path / "f.json")


@pytest.mark.parametrize(
    ("name", "sided"),
    [
        ("left hand", True),
        ("hand_right", True),
        ("digit 3", True),
        ("B", True),
        ("text", True),
        ("car", False),
        ("bright light", False),
        ("leftover", False),
    ],
)
def test_names_that_forbid_flips(name: str, sided: bool) -> None:
    assert is_sided(name) == sided
