"""What is exported and converted again has the same map, exactly or within the tolerance."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from typer.main import get_command

from panoptic_blend.cli.data import data
from panoptic_blend.cli.interchange import Format
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.interchange.exporting import WRITERS
from panoptic_blend.interchange.id_masks import IdMasks
from panoptic_blend.interchange.label_writer import Context, Drawing
from panoptic_blend.interchange.source import LabeledPicture, Region
from panoptic_blend.structures import Category, Cutout, PanopticMap, Segment

Ids = npt.NDArray[np.int32]
CATEGORIES = [
    Category(1, "car", True, (255, 0, 0)),
    Category(3, 'van, "big"', True),
    Category(7, "sky", False),
    Category(9, "road & <mud>", False, (0, 9, 0)),
]
CLASSES = {1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 2, 7: 3}
"""The class, by its place in ``CATEGORIES``, of each segment id: three cars, two vans, sky and road."""
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=2, phases=[Phase.generate])  # each example is a data set of many pictures


def random_maps(seed: int) -> list[Ids]:
    """Eight maps of up to 8 x 9 pixels with void, holes, segments in many parts and segments of one pixel."""
    random = np.random.default_rng(seed)
    shapes = random.integers(1, (9, 10), (8, 2)).tolist()
    return [random.integers(0, 8, shape, np.int32) * random.integers(0, 2, shape, np.int32) for shape in shapes]


def data_set(root: Path, maps: Sequence[Ids], crowd: int | None = None, score: float | None = None) -> Path:
    """A data set with a picture for each map; returns its JSON."""
    segments = [
        Segment(number, CATEGORIES[place].id, place < 2, score, 0, None, number == crowd)
        for number, place in CLASSES.items()
    ]
    with PanopticWriter(root / "annotations/panoptic_val.json", categories=CATEGORIES) as writer:
        for number, ids in enumerate(maps):
            write_picture(root / f"val/a/{number}.png", np.zeros((*ids.shape, 3), np.uint8))
            writer.add(number, f"a/{number}.png", PanopticMap.measured(ids, segments))
    return root / "annotations/panoptic_val.json"


@cache
def command_line() -> Any:
    """The command ``panoptic-blend data``, made once because that takes longer than its work here."""
    return get_command(data)


def run(*words: object) -> str:
    with redirect_stdout(io.StringIO()) as printed:
        command_line().main([str(word) for word in words], standalone_mode=False)
    return printed.getvalue()


def there_and_back(folder: Path, form: str, *options: object) -> Path:
    """Export the data set in ``folder / "own"``, and convert it by the command that the export prints."""
    printed = run("export", folder / "own", "--to", form, "--output", folder / form, *options)
    command = (
        printed.splitlines()[-1].removeprefix("to read them again: panoptic-blend data ").replace("--output NEW", "")
    )
    run(*shlex.split(command), "--keep-empty", "--output", folder / "new")
    [path] = (folder / "new/annotations").glob("panoptic_*.json")
    return path


def named(path: Path) -> dict[str, tuple[list[tuple[str, bool, bool]], Ids]]:
    """Of each picture: class, kind and crowd of its segments, and the places of its pixels among these."""
    content, found = read_panoptic_json(path), {}
    names = {category.id: category.name for category in content.categories}
    for image in content.images:
        panoptic = image.annotation.read(path, Folder(path.with_suffix("")), image.size)
        segments = [(names[s.category], s.is_thing, s.is_crowd) for s in panoptic.segments]
        number = re.sub(r".*?([0-9]+)(_leftImg8bit)?\.png", r"\1", image.file_name)
        found[number] = segments, panoptic.index().astype(np.int32)
    return found


def assert_same(first: Path, second: Path) -> None:
    """The maps have the same segments, of the same classes, up to their numbers."""
    here, there = named(first), named(second)
    for name, (segments, ids) in here.items():
        others, other_ids = there[name]
        pairs = np.unique(np.stack([ids.ravel(), other_ids.ravel()]), axis=1).T.tolist()
        assert len({a for a, _ in pairs}) == len(pairs) == len({b for _, b in pairs}), (name, ids, other_ids)
        assert all([None, *segments][a] == [None, *others][b] for a, b in pairs), (name, segments, others)


@pytest.mark.parametrize("form", [name for name in WRITERS if name not in {"fiftyone", "supervision"}])
@given(seed=seeds)
@few
def test_maps_come_back_pixel_by_pixel(form: str, seed: int) -> None:
    exact = [["--tolerance", 0]] * WRITERS[form].has_polygons + [["--masks"]] * WRITERS[form].has_masks
    for options in exact if WRITERS[form].has_polygons else [[]]:
        with TemporaryDirectory() as name:
            own = data_set(Path(name) / "own", random_maps(seed))
            assert_same(own, there_and_back(Path(name), form, *options))


@pytest.mark.parametrize("form", ["labelme", "coco-instances", "yolo-seg", "cvat", "label-studio"])
def test_polygons_stay_within_the_tolerance(form: str, tmp_path: Path) -> None:
    rows, columns = np.mgrid[:120, :160]
    ids = np.where(rows < 60 + 9 * np.sin(columns / 9), 6, 7)
    ids[np.hypot(rows - 60, columns - 60) < 40] = 1
    ids[np.hypot(rows - 60, columns - 60) < 15] = 4
    ids[np.hypot(rows - 70, (columns - 110) / 2) < 10] = 2  # touches the first car
    ids[20, 150] = 3
    own = data_set(tmp_path / "own", [ids.astype(np.int32)])
    [(here, before)], [(there, after)] = (named(path).values() for path in (own, there_and_back(tmp_path, form)))
    assert sorted(here) == sorted(there)
    labels, others = ([0, *(name for name, *_ in names)] for names in (here, there))
    changed = np.array(labels, object)[before] != np.array(others, object)[after]
    edges = ndimage.maximum_filter(before, 3) != ndimage.minimum_filter(before, 3)
    assert changed.any()
    assert (ndimage.distance_transform_edt(~edges)[changed] <= 1).all()


def test_scores_and_crowds_go_where_the_format_has_a_place(tmp_path: Path) -> None:
    ids = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 6, 6, 0]], np.int32)
    path = data_set(tmp_path / "own", [ids], crowd=2, score=0.75)
    for form, writer in WRITERS.items():
        printed = run("export", path, "--to", form, "--output", tmp_path / form)
        files = [path for path in (tmp_path / form).rglob("*") if path.suffix in {".json", ".xml"}]
        assert any("0.75" in path.read_text() for path in files) == writer.has_scores
        assert ("1 crowds were left out: yolo-seg has no place" in printed) == (not writer.has_crowds)
        assert ("3 scores were left out" in printed) == (not writer.has_scores)


def test_masks_refuse_more_things_than_a_png_can_number(tmp_path: Path, refused: Callable[..., str]) -> None:
    car = Region(Segment(1, 1, True, None, 1, None), CATEGORIES[0], Cutout(np.ones((1, 1), bool), 0, 0))
    many = PanopticMap(np.ones((1, 1), np.int32), [])
    writer = IdMasks(Context(tmp_path, "val", Categories(CATEGORIES), Drawing(), has_scores=False, are_found=False))
    picture = LabeledPicture(1, "a.png", (1, 1), many, [car] * 2**16)
    assert refused(writer.add, picture) == ("a.png: has 65536 things, more than a gray PNG can number; remove some")


@pytest.mark.parametrize("form", sorted(name for name, writer in WRITERS.items() if writer.has_crowds))
def test_crowds_come_back(form: str, tmp_path: Path) -> None:
    ids = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 6, 6, 0]], np.int32)
    own = data_set(tmp_path / "own", [ids], crowd=2)
    assert_same(own, there_and_back(tmp_path, form))


def test_command_and_documentation_list_all_formats() -> None:
    assert get_args(Format) == tuple(WRITERS)
    page = (Path(__file__).parents[2] / "docs/annotators.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z][a-z-]+)` \|", page, re.MULTILINE) == list(WRITERS)
