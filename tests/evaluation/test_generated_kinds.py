"""The generated data sets of different kinds: each has the trait that its name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.generated_kinds import KINDS, write_kind
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.shapes.dataset import Scene, generate
from panoptic_blend.structures import Segment

SCENES = {name: [kind.scene(0, index) for index in range(4)] for name, kind in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_maps_agree_with_their_segments_and_categories(name: str) -> None:
    kinds = {category.id: category.is_thing for category in KINDS[name].categories}
    for scene in SCENES[name]:
        assert scene.image.shape == (*scene.panoptic.segment_ids.shape, 3) and scene.image.dtype == np.uint8
        areas = {s.id: int((scene.panoptic.segment_ids == s.id).sum()) for s in scene.panoptic.segments}
        assert areas == {s.id: s.area for s in scene.panoptic.segments} and 0 not in areas.values()
        assert set(np.unique(scene.panoptic.segment_ids)) <= {0, *areas}
        assert all(segment.is_thing == kinds[segment.category] for segment in scene.panoptic.segments)
        stuff = [segment.category for segment in scene.panoptic.segments if not segment.is_thing]
        assert len(stuff) == len(set(stuff)), "stuff of a class is one segment"


def sides(scenes: list[Scene]) -> float:
    """The median side of things, relative to that of their picture."""
    found = [(s.area / scene.panoptic.segment_ids.size) ** 0.5 for scene in scenes for s in things(scene)]
    return float(np.median(found))


def things(scene: Scene) -> list[Segment]:
    return [segment for segment in scene.panoptic.segments if segment.is_thing and not segment.is_crowd]


def test_sizes_of_things_and_pictures() -> None:
    plain = sides([generate(0, index) for index in range(4)])
    assert sides(SCENES["tiny things"]) < 0.7 * plain
    assert sides(SCENES["huge things"]) > 1.3 * plain
    assert {scene.image.shape for scene in SCENES["panoramas"]} == {(112, 336, 3)}


def test_classes() -> None:
    assert {s.category for scene in SCENES["one class"] for s in scene.panoptic.segments} == {1}
    assert all(len(things(a)) == len(things(generate(0, i))) for i, a in enumerate(SCENES["one class"]))
    assert len(KINDS["40 classes"].categories) == 40
    assert len({s.category for scene in SCENES["40 classes"] for s in scene.panoptic.segments}) > 10
    assert [c.name for c in KINDS["mostly stuff"].categories if c.is_thing] == ["disk"]


def test_grey_pictures_have_no_color() -> None:
    assert all((scene.image == scene.image[..., :1]).all() for scene in SCENES["grey"])


def test_a_kind_is_written_once(tmp_path: Path) -> None:
    write_kind(tmp_path, KINDS["panoramas"], train=2, val=1)
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.*"))]
    write_kind(tmp_path, KINDS["panoramas"], train=2, val=1)
    assert times == [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.*"))]
    dataset = CocoPanoptic(tmp_path, "train2017")
    assert len(dataset) == 2
    scene = KINDS["panoramas"].scene(0, 1)
    assert (dataset[1].panoptic_truth().segment_ids == scene.panoptic.segment_ids).all()
    assert (dataset.picture(1) == scene.image).all()
