"""Conversion of COCO instances: polygons, run lengths, crowds, stuff from gray PNGs, and refused input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from panoptic_blend.convert.coco_annotations import DEFAULT_RULES, Rules
from panoptic_blend.convert.coco_instances import Stuff, read_coco_instances
from panoptic_blend.convert.coco_masks import cutout_of
from panoptic_blend.convert.summary import Summary, lines
from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.coco_shapes import MalformedShapeError, read_shape
from panoptic_blend.formats.images import write_picture
from panoptic_blend.structures import PanopticMap

Refused = Callable[..., str]
SIZE = (10, 12)
BOX = [[2, 1, 8, 1, 8, 5, 2, 5]]  # x 2..7, y 1..4: 24 pixels
RLE = {"size": [10, 12], "counts": [0, 30, 90]}  # columns 0, 1 and 2: 30 pixels, 4 of them in BOX


def content() -> dict[str, Any]:
    return {
        "images": [{"id": 2**40, "file_name": "köln/a b.jpg", "height": 10, "width": 12}],
        "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": "grass"}],
        "annotations": [
            {"id": 10**18, "image_id": 2**40, "category_id": 5, "iscrowd": 0, "segmentation": BOX},
            {"id": 2, "image_id": 2**40, "category_id": 5, "iscrowd": 1, "segmentation": RLE},
        ],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "pictures/köln/a b.jpg", np.zeros((*SIZE, 3), np.uint8))
    return tmp_path


def convert(
    folder: Path,
    data: object,
    stuff_names: tuple[str, ...] = (),
    stuff: Stuff | None = None,
    rules: Rules = DEFAULT_RULES,
    **options: Any,
) -> Summary:
    path = folder / "instances.json"
    path.write_text(json.dumps(data))
    source = read_coco_instances(path, folder / "pictures", stuff_names, stuff, rules)
    return write(source, ConversionOptions(folder / "out", **options), lambda done, total: None)


def only_map(folder: Path) -> PanopticMap:
    data = CocoPanoptic(folder / "out", "train")
    assert len(data) == 1
    return data[0].panoptic_truth()


def described(panoptic: PanopticMap) -> set[tuple[int, bool, int]]:
    return {(segment.category, segment.is_crowd, segment.area) for segment in panoptic.segments}


def test_polygons_run_lengths_and_crowds(folder: Path) -> None:
    summary = convert(folder, content())
    assert described(only_map(folder)) == {(5, False, 24), (5, True, 30 - 4)}
    assert (summary.contested, summary.crowds.total(), summary.void, summary.total) == (4, 1, 120 - 50, 120)
    data = CocoPanoptic(folder / "out", "train")
    assert (data.images[0].id, data.images[0].file_name) == (2**40, "köln/a b.jpg")
    assert [(c.id, c.is_thing) for c in data.categories] == [(5, True), (9, True)]


def test_several_polygons_are_one_instance_and_degenerate_ones_are_empty(folder: Path) -> None:
    data = content()
    parts = [*BOX, [9, 0, 11, 0, 11, 2, 9, 2], [1, 1, 3, 3], [], [0, 0, 4, 4, 8, 8]]
    data["annotations"] = [
        {**data["annotations"][0], "segmentation": parts},
        {**data["annotations"][0], "segmentation": [[50, 50, 60, 50, 60, 60]]},
    ]
    summary = convert(folder, data)
    assert described(only_map(folder)) == {(5, False, 28)}
    assert summary.empty == 1
    assert summary.notes["polygons of fewer than three points were left out"] == 2
    assert summary.notes["shapes reach beyond their picture and were cut off at its border"] == 1


def test_malformed_annotations_are_counted_and_left_out_on_request(folder: Path, refused: Refused) -> None:
    data = content()
    good = data["annotations"][0]
    data["annotations"] = [{**good, "id": i, "segmentation": mask} for i, (mask, _) in enumerate(MALFORMED)]
    data["annotations"] += [good, {**good, "id": 99, "bbox": [1, 1, 2, 2], "segmentation": []}]
    message = refused(convert, folder, data)
    assert f"and {len(MALFORMED)} more have no valid mask either; " in message and "--skip-malformed" in message
    summary = convert(folder, data, rules=Rules(skip_malformed=True))
    assert described(only_map(folder)) == {(5, False, 24)}
    remarks = [line for line in lines(summary) if "annotations were left out" in line]
    assert sum(int(line.split()[0]) for line in remarks) == len(MALFORMED) + 1
    assert (
        "1 annotations were left out, as each has a box and no mask (first: annotation 99 of köln/a b.jpg)" in remarks
    )


def test_much_void_suggests_a_class_for_the_rest(folder: Path) -> None:
    summary = convert(folder, content())  # 70 of 120 pixels are void
    hint = "void: 58.3% of the pixels; if these are known to be background, add --rest background"
    assert hint in lines(summary)
    assert "void: 58.3% of the pixels" in lines(summary, offers_rest=False)
    assert "void: 0.0% of the pixels" in lines(convert(folder, content(), rest="background", overwrite=True))


def test_crowds_become_instances_on_request_and_classes_of_crowds_only_are_named(folder: Path) -> None:
    data = content()
    data["annotations"][1]["category_id"] = 9
    assert "every segment of grass is a crowd" in lines(convert(folder, data))[-1]
    data["annotations"][0]["iscrowd"] = True  # as some tools write it
    assert "every segment of cat, grass is a crowd" in lines(convert(folder, data, overwrite=True))[-1]
    summary = convert(folder, data, overwrite=True, rules=Rules(crowds_as_instances=True))
    assert described(only_map(folder)) == {(5, False, 24), (9, False, 26)}
    assert not any("crowd" in line for line in lines(summary))


@pytest.mark.parametrize(
    ("fields", "is_said"),
    [
        ({"bbox": [2, 1, 6, 4], "area": 24}, False),
        ({"bbox": [2.4, 0.6, 7, 4.9], "area": 30.5}, False),  # rounded in some way
        ({"bbox": [2, 1, 14, 9]}, True),
        ({"bbox": [30, 40, 6, 4]}, True),
        ({"area": 400}, True),
        ({"area": 0}, False),  # some tools leave it at 0
        ({"bbox": None, "area": "24"}, False),
        ({"bbox": [1e308, -1e308, 1, 1], "area": int("9" * 401)}, False),
    ],
)
def test_masks_are_compared_with_the_box_and_area_of_their_record(
    folder: Path, fields: dict[str, Any], is_said: bool
) -> None:
    data = content()
    data["annotations"] = [data["annotations"][0] | fields]
    summary = convert(folder, data)
    remark = "masks differ grossly from the `bbox` or `area` of their annotation; look at some"
    assert summary.notes[remark] == is_said


def tag(path: Path, orientation: int) -> None:
    """Add an orientation tag to a JPEG (EXIF 2.32, 4.6)."""
    data = path.read_bytes()
    entry = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(entry) + 2).to_bytes(2) + entry + data[2:])


def test_shapes_drawn_on_the_upright_picture_are_said_and_read_on_request(folder: Path) -> None:
    tag(folder / "pictures/köln/a b.jpg", 6)  # stored 12 x 10, upright 10 x 12
    data = content()
    data["images"][0] |= {"height": 8, "width": 12}
    write_picture(folder / "pictures/köln/a b.jpg", np.zeros((8, 12, 3), np.uint8))
    tag(folder / "pictures/köln/a b.jpg", 6)
    shape = [[0, 6, 8, 6, 8, 12, 0, 12]]  # on the upright picture of 8 x 12 its lower half: 48 pixels
    data["annotations"] = [data["annotations"][0] | {"segmentation": shape}]
    summary = convert(folder, data)
    assert described(only_map(folder)) == {(5, False, 16)}  # rows 6 and 7 of the stored picture
    said = "\n".join(lines(summary))
    assert (
        "read as drawn on the stored picture; for the upright one, add --drawn-on upright (first: köln/a b.jpg)" in said
    )
    assert "1 shapes reach beyond their picture and were cut off at its border, but fit a picture of swapped" in said
    summary = convert(folder, data, overwrite=True, rules=Rules(drawn_on="upright"))
    data_set = CocoPanoptic(folder / "out", "train")
    assert described(data_set[0].panoptic_truth()) == {(5, False, 48)}
    assert data_set.images[0].size == (12, 8) and data_set.picture(0).shape == (12, 8, 3)
    said = "\n".join(lines(summary))
    assert "read as drawn on the upright picture (first" in said and "beyond" not in said
    rle = {"size": [5, 5], "counts": [0, 25]}
    data["annotations"].append(data["annotations"][0] | {"id": 99, "segmentation": rle})
    summary = convert(folder, data, overwrite=True, rules=Rules(drawn_on="upright", skip_malformed=True))
    assert summary.notes["annotations were left out, as each has an RLE of another size than its picture"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "C:\\data\\köln\\a b.jpg",
        "köln\\a b.jpg",
        "/home/x/köln/a b.jpg",
        "ko\u0308ln/a b.JPG",
        "https://h.org/köln/a b.jpg",
    ],
)
def test_pictures_are_found_under_the_names_of_other_machines(folder: Path, name: str) -> None:
    summary = convert(folder, changed("images.0.file_name", name))
    assert CocoPanoptic(folder / "out", "train").images[0].file_name == "köln/a b.jpg"
    assert summary.notes["pictures were found under another name than that in the JSON"] == 1


def test_a_relative_name_is_not_looked_up_in_other_folders(folder: Path, refused: Refused) -> None:
    assert "other/a b.jpg: no such file" in refused(convert, folder, changed("images.0.file_name", "other/a b.jpg"))


def test_a_polygon_is_rasterized_as_by_pycocotools() -> None:
    flat = [1.5, -3, 11.2, 4.4, 20, 20, 3, 9.9, 7, 2]  # crosses itself and the border
    cutout = cutout_of(read_shape({"segmentation": [flat]}, SIZE), SIZE)
    mask = np.zeros(SIZE, bool)
    mask[cutout.window] = cutout.mask
    assert mask.any()
    assert (mask == coco.decode(coco.frPyObjects([flat], *SIZE))[:, :, 0]).all()


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)), st.booleans())
def test_run_lengths_of_either_kind_give_the_mask(mask: npt.NDArray[np.bool_], is_compressed: bool) -> None:
    if is_compressed:
        counts: Any = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    else:
        flat = np.concatenate([[False], mask.ravel(order="F")])
        ends = np.flatnonzero(np.diff(flat, append=~flat[-1])) + 0
        counts = np.diff(ends, prepend=0).tolist()
    cutout = cutout_of(
        read_shape({"segmentation": {"size": list(mask.shape), "counts": counts}}, mask.shape), mask.shape
    )
    found = np.zeros_like(mask)
    found[cutout.window] = cutout.mask
    assert (found == mask).all()


@given(st.text(max_size=30) | st.text(alphabet=[chr(i) for i in range(48, 112)], max_size=30))
def test_random_run_lengths_are_refused_or_fit_the_picture(code: str) -> None:
    try:
        cutout = cutout_of(read_shape({"segmentation": {"size": [3, 4], "counts": code}}, (3, 4)), (3, 4))
    except MalformedShapeError as error:
        assert "RLE" in error.kind
    else:
        assert cutout.mask.sum() <= 12


@given(arrays(np.int8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 5)))
def test_instances_cut_from_a_map_rebuild_it(ids: npt.NDArray[np.int8]) -> None:
    found = np.zeros_like(ids)
    for i in range(1, 6):
        rle = coco.encode(np.asfortranarray((ids == i).astype(np.uint8)))
        cutout = cutout_of(
            read_shape({"segmentation": {"size": list(ids.shape), "counts": rle["counts"].decode()}}, ids.shape),
            ids.shape,
        )
        assert not found[cutout.window][cutout.mask].any()
        found[cutout.window][cutout.mask] = i
    assert (found == ids).all()


def stuff_png(folder: Path, values: npt.NDArray[Any]) -> None:
    path = folder / "stuff/köln/a b.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", values)[1].tobytes())


@pytest.mark.parametrize(
    ("table", "grass", "sky"),
    [
        ({"7": "grass", "8": "sky", "0": None, "1": "cat"}, 9, 8),
        ({"7": "grass", "5": "sky", "0": None, "1": "cat"}, 9, 15),  # 5 is the cat's
        ({"categories": [{"id": 7, "name": "grass"}, {"id": 8, "name": "sky"}, {"id": 1, "name": "cat"}]}, 9, 8),
    ],
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_stuff_lies_below_instances(folder: Path, table: dict[str, Any], grass: int, sky: int, kind: Any) -> None:
    (folder / "stuff.json").write_text(json.dumps(table))
    values = np.full(SIZE, 7, kind)
    values[0], values[9], values[8] = (5 if sky == 15 else 8), 200, 1  # 200 is ignored; 1 is a thing, so void here
    stuff_png(folder, values)
    data = content()
    data["annotations"] = data["annotations"][:1]
    convert(folder, data, ("grass",), Stuff(folder / "stuff", folder / "stuff.json", ignore=200))
    assert described(only_map(folder)) == {(5, False, 24), (sky, False, 12), (grass, False, 84 - 24)}
    things = {c.id: c.is_thing for c in CocoPanoptic(folder / "out", "train").categories}
    assert things == {5: True, 9: False, sky: False}


def test_stuff_maps_are_found_in_either_unicode_form(folder: Path) -> None:
    (folder / "stuff.json").write_text('{"1": "sky"}')
    stuff_png(folder, np.ones(SIZE, np.uint8))
    (folder / "stuff/köln").rename(folder / "stuff/ko\u0308ln")
    convert(folder, content(), (), Stuff(folder / "stuff", folder / "stuff.json"))
    assert sum(segment.area for segment in only_map(folder).segments) == 120


def test_a_table_that_names_255_is_believed_and_contradictions_are_refused(folder: Path, refused: Refused) -> None:
    (folder / "stuff.json").write_text('{"0": "sky", "255": "road"}')
    values = np.zeros(SIZE, np.uint8)
    values[5:] = 255
    stuff_png(folder, values)
    data = content()
    data["annotations"] = data["annotations"][:1]  # 24 pixels in rows 1 to 4
    convert(folder, data, (), Stuff(folder / "stuff", folder / "stuff.json"))
    names = {c.id: c.name for c in CocoPanoptic(folder / "out", "train").categories}
    areas = {names[s.category]: s.area for s in only_map(folder).segments}
    assert areas == {"cat": 24, "sky": 60 - 24, "road": 60}
    stuff = Stuff(folder / "stuff", folder / "stuff.json", ignore=255)
    assert "names the value 255 'road', and --ignore-value 255" in refused(convert, folder, data, (), stuff)
    (folder / "stuff.json").write_text('{"0": "sky"}')
    convert(folder, data, (), Stuff(folder / "stuff", folder / "stuff.json"), overwrite=True)
    assert sum(s.area for s in only_map(folder).segments) == 60


def test_categories_may_be_stuff(folder: Path) -> None:
    data = content()
    data["annotations"].append(
        {**data["annotations"][0], "category_id": 9, "segmentation": [[0, 0, 12, 0, 12, 5, 0, 5]]}
    )
    convert(folder, data, ("grass",))
    assert described(only_map(folder)) == {(5, False, 24), (5, True, 26), (9, False, 60 - 24 - 15 + 4)}
    data["categories"][1]["isthing"] = 0
    convert(folder, data, overwrite=True)
    assert described(only_map(folder)) == {(5, False, 24), (5, True, 26), (9, False, 60 - 24 - 15 + 4)}


def changed(place: str, value: object) -> dict[str, Any]:
    result: Any = content()
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    record = result
    for part in path:
        record = record[part]
    record[last] = value
    return dict(result)


MASK = "annotations.0.segmentation"
MALFORMED: list[tuple[Any, str]] = [
    (None, "no `segmentation`"),
    ([], "no `segmentation`"),
    (5, "a `segmentation` that is neither polygons nor an RLE"),
    ("[[1, 2]]", "a `segmentation` that is neither polygons nor an RLE"),
    ([1, 2, 3, 4, 5, 6], "a flat list of coordinates, where"),
    ([[1, 2], [8, 2], [8, 5.5]], "points as pairs [x, y], where"),
    ([[[1, 2], [8, 2], [8, 5]]], "polygons that are nested too deep, where"),
    ([[[1, 2, 8, 2, 8, 5]]], "polygons that are nested too deep, where"),
    ([[1, 2, 3, 4, 5, 6], {"x": 1}], "a polygon that is not a list"),
    ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers"),
    ([[1, 2, 3, 4]], "a polygon with fewer than three points"),
    ([[1, 2, 3, 4, "5", 6]], "a polygon with coordinates that are not numbers"),
    ([[1, 2, 3, 4, float("nan"), 6]], "a polygon with coordinates that are not numbers"),
    ([[1, 2, 3, 4, int("9" * 401), 6]], "a polygon with coordinates that are not numbers"),
    ([[1, 2, 3, 4, -1e300, 6]], "a polygon with the coordinate 1e+300 in a picture of 12 x 10"),
    ([[1, 2, 3, 4, 1e12, 6]], "a polygon with the coordinate 1e+12 in a picture of 12 x 10"),
    ([[0, 0, 100, 100] * 60000], "a polygon whose outline is 12000000 pixels long"),  # needs gigabytes in pycocotools
    ({"size": [12, 10], "counts": [120]}, "an RLE of [height, width] [12, 10] in a picture of [10, 12]"),
    ({"size": [10**9, 10**9], "counts": [10**18]}, "an RLE of [height, width] [1000000000, 1000000000]"),
    ({"size": 120, "counts": [120]}, "an RLE without a [height, width]"),
    ({"counts": [120]}, "an RLE without a [height, width]"),
    ({"size": [10, 12], "counts": [119]}, "an RLE that covers 119 pixels in a picture of 120"),
    ({"size": [10, 12], "counts": [121, -1]}, "an RLE with unreadable `counts`"),
    ({"size": [10, 12], "counts": [120.0]}, "an RLE with unreadable `counts`"),
    ({"size": [10, 12]}, "an RLE with unreadable `counts`"),
    ({"size": [10, 12], "counts": ""}, "an RLE that covers 0 pixels"),
    ({"size": [10, 12], "counts": "é"}, "an RLE with unreadable `counts`"),
]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], "no list of records `images`"),
        (changed("annotations", {}), "no list of records `annotations`"),
        (changed("images", []), "annotations[0] is for image"),
        ({**content(), "images": [], "annotations": []}, "`images` is empty"),
        (changed("categories", []), "no categories"),
        (changed("categories.0.id", -1), "`id` is not a whole number"),
        (changed("annotations.0.image_id", 3), "annotations[0] is for image 3"),
        (changed("annotations.0.category_id", 6), "annotation 1000000000000000000 of köln/a b.jpg: category 6"),
        (changed("annotations.0.iscrowd", 2), "`iscrowd` is 2"),
        (changed("images.0.file_name", "../a.jpg"), "pictures/../a.jpg: no such file"),
        (changed("images.0.file_name", "/etc/passwd"), "/etc/passwd: no such file"),
        (changed("images.0.file_name", "b.jpg"), "pictures/b.jpg: no such file"),
        (
            changed("images.0.height", 11),
            "12 x 10 pixels, annotated as 12 x 11 pixels; restore the original, or correct",
        ),
        (changed("images.0.width", 0), "its size is 0 x 10 pixels"),
        (changed("images", content()["images"] * 2), "is listed twice"),
        *(
            (changed(MASK, mask), f"annotation 1000000000000000000 of köln/a b.jpg has {kind}")
            for mask, kind in MALFORMED
        ),
    ],
)
def test_broken_input_is_refused(folder: Path, refused: Refused, data: object, expected: str) -> None:
    assert expected in refused(convert, folder, data)
    assert not (folder / "out/annotations/panoptic_train.json").exists()


def test_broken_stuff_maps_and_tables_are_refused(folder: Path, refused: Refused) -> None:
    table, stuff = folder / "stuff.json", Stuff(folder / "stuff", folder / "stuff.json")
    assert "did you mean grass?" in refused(convert, folder, content(), ("gras",))
    assert "no such folder" in refused(convert, folder, content(), (), stuff)
    (folder / "stuff").mkdir()
    for broken in ("[]", "{}", '{"sky": 1}', '{"1": 1}', '{"categories": [{"name": "sky"}]}'):
        table.write_text(broken)
        assert "stuff.json: does not name values" in refused(convert, folder, content(), (), stuff)
    table.write_text('{"1": "sky", "2": "sky"}')
    assert "two values have the same name" in refused(convert, folder, content(), (), stuff)
    table.write_text('{"1": "sky"}')
    assert "every picture needs a stuff PNG" in refused(convert, folder, content(), (), stuff)
    for values, expected in (
        (np.full(SIZE, 2, np.uint8), "value 2 is not in stuff.json"),
        (np.full((10, 11), 1, np.uint8), "11 x 10 pixels, but its picture is 12 x 10"),
        (np.full((*SIZE, 3), 1, np.uint8), "has colors or an alpha channel"),
    ):
        stuff_png(folder, values)
        assert expected in refused(convert, folder, content(), (), stuff)
    (folder / "stuff/köln/a b.png").write_bytes(b"")
    assert "cannot be decoded" in refused(convert, folder, content(), (), stuff)


def test_real_annotations_survive_the_way_through_coco_instances(coco_sample: Path, tmp_path: Path) -> None:
    truth = CocoPanoptic(coco_sample, "val2017")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, image in enumerate(truth.images):
        panoptic, (height, width) = truth.truth(i), image.size
        images.append({"id": image.id, "file_name": image.file_name, "height": height, "width": width})
        stuff = np.zeros(image.size, np.uint8)
        for segment in panoptic.segments:
            mask = panoptic.segment_ids == segment.id
            if not segment.is_thing:
                stuff[mask] = segment.category
                continue
            rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotation = {"image_id": image.id, "category_id": segment.category, "iscrowd": int(segment.is_crowd)}
            annotations.append(annotation | {"segmentation": rle | {"counts": rle["counts"].decode()}})
        (tmp_path / "stuff").mkdir(exist_ok=True)
        png = tmp_path / "stuff" / Path(image.file_name).with_suffix(".png")
        png.write_bytes(cv2.imencode(".png", stuff)[1].tobytes())
        write_picture(tmp_path / "pictures" / png.name, truth.picture(i))
        images[-1]["file_name"] = png.name
    records = truth.categories.records()
    names = {str(record["id"]): record["name"] for record in records if not record["isthing"]}
    (tmp_path / "stuff.json").write_text(json.dumps(names | {"0": None}))
    things = [{"id": record["id"], "name": record["name"]} for record in records if record["isthing"]]
    content = {"images": images, "annotations": annotations, "categories": things}
    summary = convert(tmp_path, content, (), Stuff(tmp_path / "stuff", tmp_path / "stuff.json"))
    assert summary.contested == summary.hidden == summary.empty == 0
    data = CocoPanoptic(tmp_path / "out", "train")
    assert [(c.id, c.name, c.is_thing) for c in data.categories] == [
        (c.id, c.name, c.is_thing) for c in truth.categories
    ]
    for i in range(len(truth)):
        before, after = truth.truth(i), data.truth(i)
        assert described(before) == described(after)
        pairs = np.unique(np.stack([before.segment_ids.ravel(), after.segment_ids.ravel()]), axis=1).T
        assert len(pairs) == len(before.segments) + 1  # one to one, void included


def test_an_image_id_used_twice_is_told_before_annotations_that_miss_theirs(folder: Path, refused: Refused) -> None:
    data = content()
    data["images"].append({**data["images"][0], "file_name": "other.jpg"})
    data["annotations"][1]["image_id"] = 6
    assert refused(convert, folder, data) == f"instances.json: image {2**40} is listed twice; image ids are unique"


def test_a_picture_of_another_size_is_told_before_run_lengths_of_another_size(folder: Path, refused: Refused) -> None:
    data = content()
    data["images"][0]["width"] = 13
    assert refused(convert, folder, data) == (
        f"{folder / 'pictures/köln/a b.jpg'}: 12 x 10 pixels, annotated as 13 x 10 pixels; "
        "restore the original, or correct width and height in the JSON"
    )
    data["images"][0]["width"] = 12
    data["annotations"][1]["segmentation"] = {"size": [10, 13], "counts": [130]}
    assert "has an RLE of [height, width] [10, 13] in a picture of [10, 12]" in refused(convert, folder, data)
