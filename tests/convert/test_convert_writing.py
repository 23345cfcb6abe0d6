"""Writing a conversion: its output paths, the protection of the input, and the division into splits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.writing import ConversionOptions, Item, LabeledSource, split_items, store_picture, write
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.failures import in_one_line
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import write_picture
from panoptic_blend.structures import Category, Cutout, PanopticBlendError

Refused = Callable[..., str]
CAT = Category(4, "cat", True)


def labels(pixels: int = 4) -> Labels:
    return Labels((3, 4), [LabeledRegion(CAT, Cutout(np.ones((1, pixels), bool), 0, 0))])


def source(folder: Path, count: int = 3, read: Callable[[], Labels] = labels) -> LabeledSource:
    items = []
    for i in range(count):
        path = folder / f"{i}.png"
        write_picture(path, np.full((3, 4, 3), i, np.uint8))
        items.append(Item(i, path.name, path, read))
    return LabeledSource(folder, [folder], Categories([CAT]), items)


def run(found: LabeledSource, root: Path, **options: Any) -> dict[str, int]:
    return write(found, ConversionOptions(root, **options), lambda done, total: None).images


def test_progress_ends_with_all_pictures(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write(
        source(tmp_path / "in", 9), ConversionOptions(tmp_path / "out"), lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 9) for done in range(1, 10)]
    assert [image.id for image in CocoPanoptic(tmp_path / "out", "train").images] == list(range(9))


@pytest.mark.parametrize("link", [False, True])
def test_the_input_is_not_changed(tmp_path: Path, link: bool) -> None:
    found = source(tmp_path / "in")
    (tmp_path / "in/0.png").rename(tmp_path / "real.png")
    (tmp_path / "in/0.png").symlink_to(tmp_path / "real.png")
    before = {path: (path.read_bytes(), path.lstat().st_mtime_ns) for path in (tmp_path / "in").iterdir()}
    (tmp_path / "in").chmod(0o555)
    for _ in range(2):
        assert run(found, tmp_path / "out", link=link, overwrite=True) == {"train": 3}
    assert {path: (path.read_bytes(), path.lstat().st_mtime_ns) for path in (tmp_path / "in").iterdir()} == before
    for i, written in enumerate(sorted((tmp_path / "out/train").iterdir())):
        assert not written.is_symlink()
        assert written.samefile(tmp_path / f"in/{i}.png") == link
        assert written.read_bytes() == (tmp_path / f"in/{i}.png").read_bytes()


def test_links_across_file_systems_are_symbolic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_device(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", another_device)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"picture")
    store_picture(Path("a.png"), tmp_path / "out/b.png", link=True)
    assert (tmp_path / "out/b.png").readlink() == (tmp_path / "a.png").resolve()
    assert (tmp_path / "out/b.png").read_bytes() == b"picture"


def test_pictures_may_be_bytes(tmp_path: Path) -> None:
    for link in (False, True):
        store_picture(lambda: b"picture", tmp_path / "a.png", link=link)
        assert (tmp_path / "a.png").read_bytes() == b"picture"


def test_an_error_leaves_no_json(tmp_path: Path, refused: Refused) -> None:
    run(source(tmp_path / "in"), tmp_path / "out", val_share=0.4)

    def broken() -> Labels:
        raise PanopticBlendError("2.png: is broken; repair it")

    found = source(tmp_path / "in", read=broken)
    assert "already exists" in refused(lambda: run(found, tmp_path / "out"))
    assert len(CocoPanoptic(tmp_path / "out", "train")) == 2
    assert "is broken" in refused(lambda: run(found, tmp_path / "out", overwrite=True, val_share=0.4))
    assert list((tmp_path / "out/annotations").glob("*.json")) == []


def test_existing_files_are_kept(tmp_path: Path, refused: Refused) -> None:
    found = source(tmp_path / "in")
    for used in ("train", "annotations/panoptic_train.json", "annotations/panoptic_train"):
        (tmp_path / "out" / used).mkdir(parents=True)
        message = refused(lambda: run(found, tmp_path / "out"))
        assert f"{tmp_path / 'out' / used}: already exists" in message
        (tmp_path / "out" / used).rmdir()
    assert run(found, tmp_path / "out") == {"train": 3}
    assert run(found, tmp_path / "out", split="val") == {"val": 3}


@pytest.mark.parametrize("out", [".", "in", "in/out", "in/../in/x"])
def test_nothing_is_written_into_the_input(tmp_path: Path, refused: Refused, out: str) -> None:
    found = source(tmp_path / "in")
    message = refused(lambda: run(found, tmp_path / out, split="in" if out == "." else "train", overwrite=True))
    assert "lies in the input folder" in message
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("split", ["", "..", ".", "a/b", "/tmp", "a\\b"])
def test_splits_have_plain_names(tmp_path: Path, refused: Refused, split: str) -> None:
    assert "not a folder name" in refused(lambda: run(source(tmp_path / "in"), tmp_path / "out", split=split))


def test_splits_share_their_categories(tmp_path: Path, refused: Refused) -> None:
    found = source(tmp_path / "in")
    run(found, tmp_path / "out", split="val")
    other = LabeledSource(found.path, found.folders, Categories([CAT, Category(5, "dog", True)]), found.items)
    assert "panoptic_val.json: this split has other categories" in refused(lambda: run(other, tmp_path / "out"))
    assert run(other, tmp_path / "out", split="val", overwrite=True) == {"val": 3}
    assert run(other, tmp_path / "out", split="train") == {"train": 3}


def test_names_and_ids_are_unique(tmp_path: Path, refused: Refused) -> None:
    found = source(tmp_path / "in", 1)
    [item] = found.items
    for other, expected in (
        (Item(7, item.name, item.picture, labels), "the picture 0.png is listed 2 times"),
        (Item(item.image_id, "1.png", item.picture, labels), "the image id 0 is listed 2 times"),
    ):
        twice = LabeledSource(found.path, [], found.categories, [item, other])
        assert expected in refused(lambda twice=twice: run(twice, tmp_path / "out"))


def test_empty_pictures_are_left_out_by_default(tmp_path: Path, refused: Refused) -> None:
    found = source(tmp_path / "in", 2, read=lambda: labels(0))
    assert "no picture of the split train has a segment" in refused(lambda: run(found, tmp_path / "out"))
    assert run(found, tmp_path / "out", keep_empty=True) == {"train": 2}
    data = CocoPanoptic(tmp_path / "out", "train")
    assert [data[i].panoptic_truth().segments for i in range(len(data))] == [[], []]


def test_rest_is_a_new_or_an_existing_stuff_class(tmp_path: Path, refused: Refused) -> None:
    found = source(tmp_path / "in", 1)
    run(found, tmp_path / "out", rest="ground")
    data = CocoPanoptic(tmp_path / "out", "train")
    assert {(segment.category, segment.area) for segment in data[0].panoptic_truth().segments} == {(4, 4), (5, 8)}
    assert "is a thing, but --rest must be stuff" in refused(lambda: run(found, tmp_path / "2", rest="cat"))
    known = LabeledSource(found.path, [], Categories([CAT, Category(9, "ground", False)]), found.items)
    run(known, tmp_path / "3", rest="ground")
    assert {s.category for s in CocoPanoptic(tmp_path / "3", "train")[0].panoptic_truth().segments} == {4, 9}


@given(st.integers(2, 60), st.floats(0.01, 0.9), st.integers(0, 3))
def test_splits_are_complete_and_disjoint_and_depend_only_on_names(count: int, share: float, seed: int) -> None:
    items = [Item(i, f"{i}.png", Path(), labels) for i in range(count)]
    options = ConversionOptions(Path(), val_share=share, seed=seed)
    parts = split_items(items, options)
    train, val = ({item.name for item in parts[split]} for split in ("train", "val"))
    assert train | val == {item.name for item in items} and not train & val and train and val
    assert abs(len(val) - share * count) <= 1
    again = split_items(items[::-1], options)
    assert {item.name for item in again["val"]} == val
    assert [item.image_id for item in parts["train"]] == sorted(item.image_id for item in parts["train"])


def test_impossible_splits_are_refused(tmp_path: Path, refused: Refused) -> None:
    found = source(tmp_path / "in", 2)
    assert "give another --split" in refused(lambda: run(found, tmp_path / "out", split="val", val_share=0.5))
    assert "needs at least two pictures" in refused(
        lambda: run(source(tmp_path / "1", 1), tmp_path / "out", val_share=0.5)
    )
    items = source(tmp_path / "9", 9).items
    choices = [
        {item.name for item in split_items(items, ConversionOptions(Path(), "t", 0.3, seed))["val"]}
        for seed in range(5)
    ]
    assert len({frozenset(choice) for choice in choices}) > 1


def test_the_json_has_the_fields_that_other_tools_expect(tmp_path: Path) -> None:
    run(source(tmp_path / "in", 1), tmp_path / "out")
    content = json.loads((tmp_path / "out/annotations/panoptic_train.json").read_text())
    [segment] = content["annotations"][0]["segments_info"]
    assert segment == {"id": 1, "category_id": 4, "iscrowd": 0, "bbox": [0, 0, 4, 1], "area": 4}


def test_two_conversions_into_one_folder_do_not_mix(tmp_path: Path, refused: Refused) -> None:
    messages: list[str] = []

    def read() -> Labels:
        other = source(tmp_path / "in", 1)
        if not messages:
            messages.append(refused(lambda: run(other, tmp_path / "out", overwrite=True)))
        return labels()

    assert run(source(tmp_path / "in", 1, read), tmp_path / "out") == {"train": 1}
    assert messages[0].endswith("another process is using this folder; wait until it ends, or choose another --output")
    assert run(source(tmp_path / "in", 1), tmp_path / "out", overwrite=True) == {"train": 1}


def test_what_a_killed_conversion_left_is_removed(tmp_path: Path) -> None:
    run(source(tmp_path / "in"), tmp_path / "out")
    left = ["train/.0.999999999.part.png", "annotations/panoptic_train/.0.999999999.part.png"]
    for name in (*left, "train/.mine"):
        (tmp_path / "out" / name).touch()
    run(source(tmp_path / "in"), tmp_path / "out", overwrite=True)
    assert not any((tmp_path / "out" / name).exists() for name in left)
    assert (tmp_path / "out/train/.mine").exists()


def test_an_exception_of_a_library_says_at_which_picture(tmp_path: Path) -> None:
    def exhausted() -> Labels:
        raise MemoryError

    with pytest.raises(MemoryError) as error:
        run(source(tmp_path / "in", read=exhausted), tmp_path / "out")
    assert str(in_one_line(error.value)).startswith("converting 0.png: memory ran out; ")
