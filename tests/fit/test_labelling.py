"""The files and pages of what to label next and of label errors."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_corruption import Stub, output_of

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.fit.labelling import label_errors, label_next
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import write_picture
from panoptic_blend.structures import Category, Output, PanopticMap, Segment

CATEGORIES = Categories([Category(3, "cat", True), Category(9, "sky", False)])
FORMULA = "=cmd <img src=x onerror=alert(1)>.png"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def doubting(picture: Any) -> Output:
    """A cat on the left half of the picture, seen if the picture is red; the redder, the higher its score."""
    height, width = picture.shape[:2]
    ids = np.full((height, width), 1, np.int32)
    sky = PanopticMap.measured(ids, [Segment(1, 9, False, None, 0, None)])
    mask = np.zeros(ids.shape, bool)
    mask[:, : width // 2] = True
    red = int(picture[0, 0, 0])
    return output_of(CATEGORIES, sky, [(3, red / 255, mask)] if red else [])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A sure picture, a doubtful one twice, one that is not a picture, and one whose name is a formula."""
    folder = tmp_path / "unlabelled"
    shades = np.linspace(0, 60, 64, dtype=np.uint8)
    pattern = np.stack([np.zeros((48, 64), np.uint8), *[np.tile(shades, (48, 1))] * 2], axis=2)
    for name, red, is_turned in (
        ("sure.png", 0, False),
        ("burst/1.png", 52, True),
        ("burst/2.png", 54, True),
        (FORMULA, 250, True),
    ):
        picture = np.rot90(pattern, 2).copy() if is_turned else pattern.copy()
        if name == FORMULA:
            picture[::8, :, 1:] = 255
        picture[:, :, 0] = red
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(folder / name, picture)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder


def test_what_to_label_next(pictures: Path, tmp_path: Path) -> None:
    seen = list[tuple[int, int]]()
    path = label_next(Stub(CATEGORIES, doubting), pictures, tmp_path / "out", lambda *step: seen.append(step))
    first, second, third, fourth, last = rows(path)
    assert seen[-1] == (5, 5)
    # the cats of a picture and of its mirror image lie apart: 2 x 2 segments, none of which agrees
    assert first["file"] == "burst/1.png" and first["score"] == "0.75"
    assert first["why"].startswith("2 things seen in one view only (cat 2); 2 kinds of stuff seen in one view only")
    assert (second["file"], second["score"]) == (f"./{FORMULA}", "0.5")
    assert third == {"file": "sure.png", "score": "0.0", "why": "both views agree"}
    assert fourth["file"] == "burst/2.png" and fourth["why"].endswith("nearly the same as burst/1.png")
    assert last["file"] == "broken.jpg" and last["score"] == "" and "cannot be used" in last["why"]
    page = (tmp_path / "out" / "label_next.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page and "burst/1.png" in page


def test_no_picture_can_be_used(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    assert "broken.jpg" in refused(label_next, Stub(CATEGORIES, doubting), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Mislabeled(CocoPanoptic):
    """The validation split in which the first thing of image 0 has another class."""

    def truth(self, index: int) -> PanopticMap:
        truth = super().truth(index)
        if index:
            return truth
        place, thing = next((place, s) for place, s in enumerate(truth.segments) if s.is_thing and s.area > 300)
        other = next(category for category in self.categories.thing_ids if category != thing.category)
        segments = [*truth.segments[:place], replace(thing, category=other), *truth.segments[place + 1 :]]
        return replace(truth, segments=segments)


def test_label_errors_of_both_splits(generated: Path, tmp_path: Path) -> None:
    validation, training = CocoPanoptic(generated, "val2017"), CocoPanoptic(generated, "train2017")
    samples = [source[index] for source in (validation, training) for index in range(len(source))]
    truths = {sample.image.numpy().tobytes(): sample.panoptic_truth() for sample in samples}

    def see(picture: Any) -> Output:
        truth = truths[picture.numpy().tobytes()]
        things = [(s.category, 0.9, truth.segment_ids == s.id) for s in truth.segments if s.is_thing and not s.is_crowd]
        return output_of(validation.categories, truth, things)

    wrong, seen = Mislabeled(generated, "val2017"), list[tuple[int, int]]()
    model = Stub(validation.categories, see)
    path = label_errors(model, wrong, tmp_path, training=training, progress=lambda *step: seen.append(step))
    [row] = rows(path)
    thing = next(s for s in validation.truth(0).segments if s.is_thing and s.area > 300)
    assert (row["file"], row["data"]) == (validation.images.file_names[0], "panoptic_val2017.json")
    assert (row["segments"], row["what"], row["score"]) == (str(thing.id), "wrong class", "1.0")
    assert tuple(int(row[key]) for key in ("x0", "y0", "x1", "y1")) == thing.box
    assert seen[0] == (1, 10) and seen[-1] == (10, 10)
    page = (tmp_path / "label_errors.html").read_text("utf-8")
    assert "was trained on the pictures of panoptic_train2017.json" in page


def test_other_categories_are_refused(generated: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    validation = CocoPanoptic(generated, "val2017")
    message = refused(label_errors, Stub(CATEGORIES, doubting), validation, tmp_path / "out")
    assert "categories are not the model's" in message
