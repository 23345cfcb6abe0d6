"""`check` on a valid data set broken in every known way: it reports exactly that kind of problem and that case."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_set import (
    CAT,
    CAT_TOO,
    CATEGORIES,
    CROWD,
    GRASS,
    HEIGHT,
    SEGMENTS,
    SKY,
    SPLIT,
    WIDTH,
    content_of,
    edit,
    edit_annotation,
    edit_image,
    edit_segment,
    found,
    json_of,
    picture_of,
    png_as,
    png_of,
    repaint,
    segment_map,
    write_small_set,
)

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.doctor.checkup import check
from panoptic_blend.doctor.kinds import KINDS
from panoptic_blend.formats.images import write_picture, write_segment_ids
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.structures import PanopticMap

Break = Callable[[Path], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ein Ordner ü"
    write_small_set(folder)
    return folder


def drop(path: Callable[[Path], Path]) -> Break:
    return lambda root: path(root).unlink()


def cut(path: Callable[[Path], Path], keep: int | None = -5) -> Break:
    return lambda root: path(root).write_bytes(path(root).read_bytes()[:keep])


def append(key: str, record: dict[str, object]) -> Break:
    return edit(lambda content: content[key].append(record))


def append_segment(**fields: object) -> Break:
    return edit(lambda content: content["annotations"][0]["segments_info"].append(fields))


def set_category(index: int, **fields: object) -> Break:
    return edit(lambda content: content["categories"][index].update(fields))


def copy_picture(root: Path) -> None:
    shutil.copy(picture_of(root), root / SPLIT / "3.jpg")


def extra_picture(root: Path) -> None:
    write_picture(root / SPLIT / "below/9.jpg", np.zeros((5, 5, 3), np.uint8))
    (root / SPLIT / "._9.jpg").write_bytes(b"of macOS")
    (root / SPLIT / "readme.txt").write_bytes(b"no picture")


def tagged(orientation: int) -> Break:
    """A function that adds an orientation tag to the picture of image 1 (EXIF 2.32, 4.6)."""

    def tag(root: Path) -> None:
        data = picture_of(root).read_bytes()
        entry = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
        picture_of(root).write_bytes(data[:2] + b"\xff\xe1" + (len(entry) + 2).to_bytes(2) + entry + data[2:])

    return tag


def zeros_inside(root: Path) -> None:
    """Zero 100 bytes in the middle of the picture, as a disk does that loses a part of a file."""
    data = bytearray(picture_of(root).read_bytes())
    middle = len(data) * 3 // 4
    data[middle : middle + 100] = bytes(100)
    picture_of(root).write_bytes(data)


def transparent(root: Path) -> None:
    """Add a tRNS chunk before the pixels (PNG specification, 11.3.1.1)."""
    data = png_of(root).read_bytes()
    body = b"tRNS" + bytes(6)
    chunk = (6).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    start = data.index(b"IDAT") - 4
    png_of(root).write_bytes(data[:start] + chunk + data[start:])


def palette(root: Path) -> None:
    """Set the header's color type to 3, the only byte by which a palette is recognized."""
    data = bytearray(png_of(root).read_bytes())
    data[25] = 3
    png_of(root).write_bytes(data)


def turned_upright(root: Path) -> None:
    """Store the picture on its side with an orientation tag, and JSON and PNG upright."""
    tagged(6)(root)
    write_segment_ids(png_of(root), np.rot90(segment_map(), -1).astype(np.int32))
    content = content_of(root)
    content["images"][0].update(height=WIDTH, width=HEIGHT)
    for segment in content["annotations"][0]["segments_info"]:
        x, y, width, height = segment["bbox"]
        segment["bbox"] = [HEIGHT - y - height, x, height, width]
    json_of(root).write_text(json.dumps(content))


def only_crowds(category: int) -> Callable[[Any], None]:
    """A function that makes a crowd of every segment of a category."""

    def change(content: Any) -> None:
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment["iscrowd"] = int(segment["iscrowd"] or segment["category_id"] == category)

    return change


def many_things(root: Path) -> None:
    """Make 100 cats of one pixel each in the sky of image 1."""
    ids = segment_map()
    ids[:5, 1:21] = 1000 + np.arange(100).reshape(5, 20)
    write_segment_ids(png_of(root), ids)
    content = content_of(root)
    segments = content["annotations"][0]["segments_info"]
    for i in range(100):
        segments.append(
            {"id": 1000 + i, "category_id": 3, "iscrowd": 0, "area": 1, "bbox": [1 + i % 20, i // 20, 1, 1]}
        )
    next(segment for segment in segments if segment["id"] == SKY)["area"] -= 100
    json_of(root).write_text(json.dumps(content))


SMALLER = np.zeros((HEIGHT - 1, WIDTH, 3), np.uint8)
FIVE = {"id": 5, "file_name": "5.jpg", "height": HEIGHT, "width": WIDTH}
BREAKS: list[tuple[str, Break, str]] = [
    ("json-unreadable", cut(json_of), "not valid JSON"),
    ("json-unreadable", lambda root: json_of(root).write_bytes(b"\xff\xfe\xfd"), "not valid JSON"),
    ("json-unreadable", lambda root: json_of(root).write_text("[" * 100_000), "not valid JSON"),
    ("field", edit_image(height="16"), "images[0]: `height` is '16', not a whole number above 0"),
    ("field", edit_image(file_name=1.5), "images[0]: `file_name` is 1.5, not text"),
    ("field", edit_segment(CAT, iscrowd="yes"), "image 1: segments_info[0]: `iscrowd` is 'yes', not 0 or 1"),
    ("field", edit_segment(CAT_TOO, category_id=None), "image 1: segments_info[1] has no `category_id`"),
    ("category-color", set_category(0, color=[1, 2]), "category 3 ('cat'): [1, 2]"),
    ("field", edit(lambda content: content["images"].append(7)), "images[2] is 7, not a record"),
    ("field", edit(lambda content: content["annotations"][0].pop("segments_info")), "has no `segments_info`"),
    ("category-duplicate", append("categories", {"id": 3, "name": "lion", "isthing": 1}), "category 3: 2 times"),
    ("category-name", set_category(1, name="cat"), "category cat: 2 times"),
    ("isthing-missing", edit(lambda content: content["categories"][1].pop("isthing")), "category 4 ('dog')"),
    ("isthing-unlike-coco", set_category(2, name="Car"), "category 21 ('Car'): stuff"),
    ("category-unused", append("categories", {"id": 9, "name": "yak", "isthing": 1}), "category 9 ('yak')"),
    ("unlearnable", edit(lambda c: [k.update(isthing=0) for k in c["categories"]]), "no category is a thing"),
    ("only-crowds", edit(only_crowds(4)), "category 4 ('dog'): 4 crowds"),
    ("many-things", many_things, "image 1: 102 things, and the default is 100"),
    ("image-duplicate", append("images", {**FIVE, "id": 1, "file_name": "1.jpg"}), "image 1: 2 times"),
    ("picture-listed-twice", edit(lambda content: content["images"][1].update(file_name="1.jpg")), "1.jpg: 2 times"),
    ("annotation-duplicate", edit(lambda c: c["annotations"].append(c["annotations"][0])), "image 1: 2 times"),
    ("png-listed-twice", edit(lambda c: c["annotations"][1].update(file_name="1.png")), "1.png: 2 times"),
    ("name-outside", edit_image(file_name="../1.jpg"), "image 1: '../1.jpg'"),
    ("name-outside", edit_annotation(file_name="a/../../1.png"), "image 1: 'a/../../1.png'"),
    ("name-outside", edit_image(file_name="a\nb.jpg"), r"image 1: 'a\nb.jpg'"),
    ("image-without-annotation", edit(lambda content: content["annotations"].pop()), "image 2"),
    ("annotation-without-image", edit(lambda content: content["images"].pop()), "image 2 ('2.png')"),
    (
        "segment-duplicate",
        append_segment(id=CAT, category_id=3, iscrowd=0, area=12, bbox=[2, 9, 4, 3]),
        f"{CAT}: 2 times",
    ),
    ("segment-id", append_segment(id=2**24, category_id=3, iscrowd=0, area=1, bbox=[0, 0, 1, 1]), "16777216"),
    ("segment-id", append_segment(id=0, category_id=3, iscrowd=0, area=1, bbox=[0, 0, 1, 1]), "image 1, segment 0"),
    ("category-unknown", edit_segment(CAT, category_id=77), f"image 1, segment {CAT}: category 77"),
    ("iscrowd-missing", edit_segment(SKY, iscrowd=None), f"image 1, segment {SKY}"),
    ("stuff-several", edit_segment(CAT, category_id=21), "image 1: 2 segments of category 21 ('grass')"),
    ("stuff-crowd", edit_segment(GRASS, iscrowd=1), f"segment {GRASS}: category 21 ('grass')"),
    ("png-missing", drop(png_of), "1.png: not in"),
    ("png-unreadable", cut(png_of), "1.png: broken or cut short"),
    ("png-unreadable", cut(png_of, 0), "1.png: empty"),
    ("png-unreadable", lambda root: png_of(root).write_text("no picture"), "1.png: broken or cut short after 10 bytes"),
    ("png-format", png_as(lambda colors: colors[..., 0]), "1.png: 8-bit gray"),
    ("png-format", png_as(lambda colors: cv2.cvtColor(colors, cv2.COLOR_BGR2BGRA)), "1.png: 8-bit RGBA"),
    ("png-format", png_as(lambda colors: colors.astype(np.uint16)), "1.png: 16-bit RGB"),
    ("png-format", palette, "1.png: 8-bit palette"),
    ("png-format", transparent, "1.png: 8-bit RGB with a transparent color"),
    ("png-format", lambda root: shutil.copy(picture_of(root), png_of(root)), "1.png: a picture of another format"),
    ("png-extra", lambda root: shutil.copy(png_of(root), png_of(root, 7)), "7.png"),
    ("segment-not-in-json", repaint(0, 12345), f"image 1 (1.png): segment 12345 of {HEIGHT} pixels"),
    (
        "segment-not-in-png",
        append_segment(id=99, category_id=3, iscrowd=0, area=4, bbox=[0, 0, 2, 2]),
        "image 1 (1.png), segment 99",
    ),
    (
        "segment-empty",
        append_segment(id=99, category_id=3, iscrowd=0, area=0, bbox=[0, 0, 0, 0]),
        "image 1 (1.png), segment 99",
    ),
    ("area", edit_segment(CAT, area=13), f"image 1 (1.png), segment {CAT}: 13 in the JSON, 12 pixels in the PNG"),
    ("area", edit_segment(CAT, area=None), "no `area` in the JSON, 12 pixels"),
    ("area", edit_segment(CAT, area="12"), "'12' in the JSON, 12 pixels"),
    ("area", edit_segment(CAT, area=True), "True in the JSON, 12 pixels"),
    ("bbox", edit_segment(CAT, bbox=[2, 9, 6, 12]), "[2, 9, 4, 3] in the PNG (corners, not width, height)"),
    ("bbox", edit_segment(CAT, bbox=[2, 9, 4, 5]), "[2, 9, 4, 5] in the JSON, [2, 9, 4, 3] in the PNG"),
    ("bbox", edit_segment(CAT, bbox=None), "no `bbox` in the JSON"),
    ("bbox", edit_segment(CAT, bbox="2 9 4 3"), "'2 9 4 3' in the JSON"),
    ("bbox", edit_segment(CAT, bbox=[2]), "[2] in the JSON"),
    ("bbox-almost", edit_segment(CAT, bbox=[2, 9, 3.0, 2.5]), "[2, 9, 3.0, 2.5] in the JSON, [2, 9, 4, 3] in the PNG"),
    ("picture-missing", drop(picture_of), "1.jpg: not in"),
    ("picture-unreadable", cut(picture_of), "1.jpg: broken or cut short"),
    ("picture-unreadable", cut(picture_of, 0), "1.jpg: empty"),
    ("picture-damaged", zeros_inside, "1.jpg: "),
    ("picture-size", lambda root: write_picture(picture_of(root), SMALLER), "24 x 15, annotated as 24 x 16"),
    ("image-size", edit_image(height=15), "image 1: 24 x 15 in the JSON, 24 x 16 in its files"),
    ("picture-extra", extra_picture, "below/9.jpg"),
    ("picture-turned", tagged(8), "image 1 (1.jpg): the annotation ignores the tag"),
    ("picture-turned", tagged(3), "image 1 (1.jpg): the size does not show"),
    ("picture-turned", turned_upright, "image 1 (1.jpg): the annotation follows the tag"),
]
CAUSED = {  # kinds of problem that necessarily come with another one
    "field": {"picture-extra"},
    "picture-listed-twice": {"picture-extra"},
    "png-listed-twice": {"png-extra"},
    "image-without-annotation": {"png-extra"},
    "annotation-without-image": {"picture-extra"},
    "name-outside": {"picture-extra", "png-extra"},
    "stuff-several": {"category-unused"},
    "unlearnable": {"stuff-several", "stuff-crowd", "isthing-unlike-coco"},
}


def test_a_valid_data_set_has_no_problems(root: Path) -> None:
    assert found(root) == {}
    counts = check(root).splits[0].counts
    assert (counts.images, counts.annotations, counts.segments, counts.things, counts.stuff) == (2, 2, 10, 2, 2)
    assert (counts.pictures, counts.maps) == (2, 2)


@pytest.mark.parametrize(("kind", "make", "case"), BREAKS, ids=lambda value: value if isinstance(value, str) else "")
def test_one_break_is_one_finding(root: Path, kind: str, make: Break, case: str) -> None:
    make(root)
    problems = found(root)
    assert len(problems[kind]) == 1
    assert case in problems[kind][0]
    assert problems.keys() - CAUSED.get(kind, set()) == {kind}


def test_every_kind_is_tested() -> None:
    elsewhere = {
        "no-instances",
        "much-void",
        "folder-missing",
        "json-structure",
        "no-images",
        "png-size",
        "png-void",
        "picture-twice",
    }
    elsewhere |= {kind.name for kind in KINDS if kind.name.startswith(("instances-", "splits-"))}
    assert {kind.name for kind in KINDS} == elsewhere | {kind for kind, *_ in BREAKS}
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_sizes_that_differ(root: Path) -> None:
    write_segment_ids(png_of(root), segment_map()[:, :-1])
    assert found(root) == {"png-size": ("image 1: its PNG is 23 x 16, the image 24 x 16",)}
    edit_image(height=15)(root)
    assert found(root).keys() == {"png-size", "picture-size"}, "all three differ"
    edit_image(height=None)(root)
    assert found(root).keys() == {"png-size", "field"}
    picture_of(root).unlink()
    problems = found(root)
    assert problems.keys() == {"picture-missing", "field", "area", "bbox-almost"}, "the PNG alone says how large"


def test_missing_folders(root: Path) -> None:
    shutil.rmtree(root / SPLIT)
    assert found(root) == {"folder-missing": (f"{root / SPLIT}: no folder of pictures",)}
    shutil.rmtree(png_of(root).parent)
    assert len(found(root)["folder-missing"]) == 2
    assert found(root).keys() == {"folder-missing"}


def test_a_broken_zip_is_one_finding(root: Path) -> None:
    shutil.rmtree(png_of(root).parent)
    json_of(root).with_suffix(".zip").write_bytes(b"no zip")
    assert "nor a complete zip" in found(root)["folder-missing"][0]


@pytest.mark.parametrize("content", ["7", "[]", "{}", '{"images": {}, "annotations": 1, "categories": null}'])
def test_json_of_something_else(root: Path, content: str) -> None:
    json_of(root).write_text(content)
    problems = found(root)
    assert problems["json-structure"] == tuple(
        f"no list of records `{key}`" for key in ("images", "annotations", "categories")
    )
    assert problems.keys() == {"json-structure", "picture-extra", "png-extra", "unlearnable"}


def test_an_empty_split(root: Path) -> None:
    shutil.rmtree(root / SPLIT)
    shutil.rmtree(png_of(root).parent)
    (root / SPLIT).mkdir()
    png_of(root).parent.mkdir()
    edit(lambda content: content.update(images=[], annotations=[]))(root)
    problems = found(root)
    assert problems.pop("no-images") == ("`images` is empty",)
    assert len(problems.pop("category-unused")) == 4
    assert not problems


def test_an_image_that_is_all_void(root: Path) -> None:
    write_segment_ids(png_of(root), np.zeros((HEIGHT, WIDTH), np.int32))
    edit_annotation(segments_info=[])(root)
    assert found(root) == {"png-void": ("image 1 (1.png)",), "much-void": ("52 % of the pixels",)}


def test_a_picture_under_two_names(root: Path) -> None:
    shutil.copy(picture_of(root), picture_of(root, 2))
    assert found(root) == {"picture-twice": ("2.jpg: the same file as 1.jpg",)}


def test_many_unknown_segments_are_counted(root: Path) -> None:
    ids = segment_map()
    ids[0] = np.arange(100, 100 + WIDTH)
    write_segment_ids(png_of(root), ids)
    problems = found(root)
    assert len(problems["segment-not-in-json"]) == WIDTH
    assert problems["segment-not-in-json"][0] == "image 1 (1.png): segment 100 of 1 pixels"
    assert problems.keys() == {"segment-not-in-json", "area", "bbox-almost"}, "the sky lost its first row"


def instances_of(content: Any) -> Any:
    """The instances JSON that matches a panoptic JSON."""
    things = {category["id"] for category in content["categories"] if category["isthing"]}
    annotations = [
        {**segment, "id": i, "image_id": annotation["image_id"], "segmentation": [[1.5, 2, 3, 4, 5, 6]]}
        for annotation in content["annotations"]
        for i, segment in enumerate(annotation["segments_info"])
        if segment["category_id"] in things
    ]
    categories = [{"id": c["id"], "name": c["name"]} for c in content["categories"] if c["isthing"]]
    return {"images": content["images"], "annotations": annotations, "categories": categories}


@pytest.mark.parametrize(
    ("kind", "change", "case"),
    [
        ("instances-unreadable", lambda c: c.pop("images"), "instances_val2017.json: no list of records `images`"),
        (
            "instances-categories",
            lambda c: c["categories"][0].update(name="lion"),
            "category 3: 'lion' in the instances JSON, 'cat' in the panoptic JSON",
        ),
        (
            "instances-categories",
            lambda c: c["categories"].pop(),
            "category 4: absent in the instances JSON, 'dog' in the panoptic JSON",
        ),
        (
            "instances-size",
            lambda c: c["images"][0].update(width=9),
            "image 1: 1.jpg, 9 x 16 in the instances JSON, 1.jpg, 24 x 16 in the panoptic JSON",
        ),
        ("instances-images", lambda c: c["images"].pop(), "image 2: only in the panoptic JSON"),
        (
            "instances-count",
            lambda c: c["annotations"].pop(0),
            "image 1, category 3 ('cat'): 0 in the instances JSON, 1 segments in the panoptic JSON",
        ),
        (
            "instances-crowds",
            lambda c: c["annotations"].pop(2),
            "image 1, category 4 ('dog'): 0 in the instances JSON, 1 segments in the panoptic JSON",
        ),
    ],
)
def test_instances_against_panoptic(root: Path, kind: str, change: Callable[[Any], object], case: str) -> None:
    content = instances_of(content_of(root))
    path = root / "annotations" / f"instances_{SPLIT}.json"
    path.write_text(json.dumps(content))
    assert found(root) == {}
    change(content)
    path.write_text(json.dumps(content))
    assert found(root) == {kind: (case,)}


def test_a_broken_instances_json(root: Path) -> None:
    (root / "annotations" / f"instances_{SPLIT}.json").write_text("{")
    assert found(root).keys() == {"instances-unreadable"}


def test_splits_are_compared(tmp_path: Path) -> None:
    write_small_set(tmp_path, ("train2017", SPLIT))
    assert found(tmp_path) == {}
    assert [split.name for split in check(tmp_path).splits] == ["train2017", SPLIT]
    shutil.copy(tmp_path / "train2017/2.jpg", picture_of(tmp_path, 1))
    assert found(tmp_path) == {"splits-pictures": ("train2017/2.jpg is val2017/1.jpg",)}
    assert found(tmp_path, SPLIT) == {}
    set_category(0, name="lion")(tmp_path)
    assert found(tmp_path)["splits-categories"] == (
        "train2017 and val2017: category 3 ('cat', thing) is only in train2017",
        "train2017 and val2017: category 3 ('lion', thing) is only in val2017",
    )


def frozen(path: Path) -> dict[Path, tuple[int, int]]:
    """Time of the last change and mode of a folder and of everything below it."""
    return {p: ((s := p.stat()).st_mtime_ns, s.st_mode) for p in [path, *path.rglob("*")]}


@pytest.mark.parametrize("top", ["", f"panoptic_{SPLIT}/", "anything/"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_zip_of_pngs_is_read_in_place(root: Path, top: str, beside: bool) -> None:
    archive = (json_of(root) if beside else root / json_of(root).name).with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for number in (1, 2):
            file.write(png_of(root, number), f"{top}{number}.png")
    shutil.rmtree(png_of(root).parent)
    before = frozen(root)
    assert found(root) == {}
    assert frozen(root) == before
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(f"{top}3.png", b"extra")
    assert found(root) == {"png-extra": ("3.png",)}


def test_links_and_read_only_folders(root: Path, tmp_path: Path) -> None:
    (tmp_path / "links" / "annotations").mkdir(parents=True)
    for part in (SPLIT, json_of(root).relative_to(root), png_of(root).parent.relative_to(root)):
        (tmp_path / "links" / part).symlink_to(root / part)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    before = frozen(root)
    try:
        assert found(tmp_path / "links") == found(root) == {}
        assert frozen(root) == before
    finally:
        for path in folders:
            path.chmod(0o755)


def test_several_processes_find_the_same_as_one(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(1, 81)]
    with PanopticWriter(json_of(tmp_path), categories=CATEGORIES) as writer:
        for number, name in enumerate(names, start=1):
            writer.add(number, name, PanopticMap.measured(segment_map(), SEGMENTS))
            write_picture(tmp_path / SPLIT / name, np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    cut(png_of)(tmp_path)
    repaint(CAT, CAT_TOO, 77)(tmp_path)
    done: list[tuple[int, int]] = []
    reports = [check(tmp_path, cases=9, workers=n, progress=lambda *now: done.append(now)) for n in (1, 2)]
    assert reports[0] == reports[1]
    assert {problem.kind.name for problem in reports[1].splits[0].problems} == {
        "png-unreadable", "segment-not-in-png", "area", "bbox"
    }  # fmt: skip
    assert done == [(i, 160) for i in range(1, 161)] * 2


def test_missing_roots_and_splits_are_refused(root: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    assert "none: no such folder" in refused(check, tmp_path / "none")
    assert "no annotations/panoptic_*.json" in refused(check, root / SPLIT)
    assert "no annotations/panoptic_test2017.json; choose from val2017" in refused(check, root, "test2017")
    instances = tmp_path / "annotations" / "instances_test2017.json"
    instances.parent.mkdir()
    instances.write_text("{}")
    for only in (None, "test2017"):
        message = refused(check, tmp_path, only)
        assert message.startswith(f"{instances}: COCO instances are not checked; make a panoptic data set of them with")


def test_real_coco_has_only_unused_categories(coco_sample: Path) -> None:
    problems = found(coco_sample)
    assert problems.keys() == {"category-unused"}
    assert len(problems["category-unused"]) == 125


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.just(2**70)
    | st.just("../1.png"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of keys and indices to every value in a JSON."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in items for found in places(value, (*path, key)))]


@settings(max_examples=40)
@given(st.data())
def test_no_content_of_a_json_raises(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("junk")
    write_small_set(root)
    content = content_of(root)
    (root / "annotations" / f"instances_{SPLIT}.json").write_text(json.dumps(instances_of(content)))
    for _ in range(data.draw(st.integers(1, 3))):
        *keys, last = data.draw(st.sampled_from([place for place in places(content) if place]))
        node = content
        for key in keys:
            node = node[key]
        node[last] = data.draw(junk)
    json_of(root).write_text(json.dumps(content))
    found(root)
    require_readable_if_sound(root)
    if all(isinstance(content.get(key), list) for key in ("images", "annotations", "categories")):
        fixed = root.with_suffix(".json")
        assert check(root, fix=fixed).splits[0].repair is not None
        json_of(root).write_bytes(fixed.read_bytes())
        require_readable_if_sound(root)


def require_readable_if_sound(root: Path) -> None:
    """Check that a data set without errors can be read for training."""
    if check(root).is_sound:
        dataset = CocoPanoptic(root, SPLIT)
        assert [dataset[i].image.shape for i in range(len(dataset))] == [(3, HEIGHT, WIDTH)] * len(dataset)


@settings(max_examples=40)
@given(st.integers(0, 23), st.integers(0, 15), st.integers(1, 12), st.integers(1, 8), st.sampled_from([0, CROWD, 4242]))
def test_exactly_the_segments_that_were_painted_over_are_reported(
    tmp_path_factory: pytest.TempPathFactory, x: int, y: int, width: int, height: int, painted: int
) -> None:
    """A rectangle painted into the PNG makes exactly the areas of the segments that gained or lost pixels wrong."""
    root = tmp_path_factory.mktemp("painted")
    write_small_set(root)
    before, after = segment_map(), segment_map()
    after[y : y + height, x : x + width] = painted
    write_segment_ids(png_of(root), after)
    problems = found(root)
    areas = {
        number: ((before == number).sum(), (after == number).sum()) for number in (CAT, CAT_TOO, CROWD, GRASS, SKY)
    }
    expected = {f"{number}: {b} in" for number, (b, a) in areas.items() if a not in (b, 0)}
    assert {case.split("segment ")[1].split(" the")[0] for case in problems.get("area", ())} == expected
    gone = {str(number) for number, (_, a) in areas.items() if a == 0}
    assert {case.split("segment ")[1] for case in problems.get("segment-not-in-png", ())} == gone
    assert ("segment-not-in-json" in problems) == (painted == 4242)
    assert problems.keys() <= {"area", "bbox", "bbox-almost", "segment-not-in-png", "segment-not-in-json"}


def test_image_ids_may_be_names_and_paths_those_of_another_machine(root: Path) -> None:
    content = content_of(root)
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        image["id"] = annotation["image_id"] = f"ADE_{image['id']}"
        image["file_name"] = f"D:\\pictures\\{image['file_name']}"
    json_of(root).write_text(json.dumps(content))
    assert found(root) == {}
    append_segment(id=99, category_id=3, iscrowd=0, area=4, bbox=[0, 0, 2, 2])(root)
    assert found(root) == {"segment-not-in-png": ("image ADE_1 (1.png), segment 99",)}


def test_files_of_other_programs_are_counted_and_no_problem(root: Path) -> None:
    for name in (".ipynb_checkpoints/1-checkpoint.jpg", "._1.jpg", "Thumbs.db", "readme.txt"):
        (root / SPLIT / name).parent.mkdir(exist_ok=True)
        (root / SPLIT / name).touch()
    assert found(root) == {}
    assert check(root, workers=1).splits[0].left_out == {
        "copies of Jupyter (.ipynb_checkpoints)": 1,
        "files of macOS (._*, .DS_Store, __MACOSX)": 1,
        "files of Windows (Thumbs.db, desktop.ini)": 1,
        "files of other formats": 1,
    }


def test_pictures_in_a_folder_of_datumaro_are_pointed_to(root: Path) -> None:
    (root / "images").mkdir()
    (root / SPLIT).rename(root / "images" / SPLIT)
    [case] = found(root)["folder-missing"]
    assert case.endswith(f"but there is {root / 'images' / SPLIT}; move it to {root / SPLIT}")


def test_a_split_that_is_mostly_void(root: Path) -> None:
    for number in (1, 2):
        ids = segment_map()
        ids[(ids == SKY) | (ids == GRASS)] = 0  # 12 + 12 + 8 of 384 pixels are left
        write_segment_ids(png_of(root, number), ids)
    edit(lambda content: [a.update(segments_info=a["segments_info"][:3]) for a in content["annotations"]])(root)
    problems = found(root)
    assert problems.keys() == {"much-void", "category-unused"}
    assert problems["much-void"] == ("92 % of the pixels",)
