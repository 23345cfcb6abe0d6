"""Results in COCO's format: written, read back, and read as pycocotools reads them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO

from panoptic_blend.formats.instance_results import InstanceResults, read_instance_results, writing_results
from panoptic_blend.instances import FoundInstances

Refused = Callable[..., str]
SIZE = (4, 6)
SIZES: dict[int | str, tuple[int, int]] = {7: SIZE, 9: SIZE}
BOX = [1.0, 0.0, 2.0, 4.0]


def result(**changes: Any) -> dict[str, Any]:
    """A result for columns 1 and 2 of a picture of 4 x 6 pixels; a change to None removes the field."""
    segmentation = {"size": [4, 6], "counts": [4, 8, 12]}
    record = {"image_id": 7, "category_id": 1, "score": 0.5, "bbox": BOX, "segmentation": segmentation} | changes
    return {key: value for key, value in record.items() if value is not None}


def read(folder: Path, content: Any, sizes: dict[int | str, tuple[int, int]] = SIZES) -> InstanceResults:
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_instance_results(path, sizes, {1, 3}, "truth.json")


def by_pycocotools(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The annotations of ``loadRes``, with their masks."""
    truth = COCO()
    truth.dataset = {
        "images": [{"id": image, "height": size[0], "width": size[1]} for image, size in SIZES.items()],
        "categories": [{"id": 1}, {"id": 3}],
        "annotations": [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(json.loads(json.dumps(records)))
    found: list[dict[str, Any]] = loaded.loadAnns(loaded.getAnnIds())
    return [annotation | {"rle": coco.merge([loaded.annToRLE(annotation)])["counts"]} for annotation in found]


def compressed(record: dict[str, Any]) -> dict[str, Any]:
    segmentation = record["segmentation"]
    counts = coco.frPyObjects(segmentation, *segmentation["size"])["counts"].decode()
    return record | {"segmentation": {**segmentation, "counts": counts}}


BOTH = [result(), result(image_id=9, category_id=3, score=1), result(bbox=[0, 0, 0.5, 9], score=-2.25)]
MASKS = [result(bbox=None), result(score=0.75), result(bbox=None, segmentation={"size": [4, 6], "counts": [24]})]


@pytest.mark.parametrize(
    "records",
    [
        BOTH,
        [compressed(record) for record in BOTH],
        [record | {"segmentation": [[1, 0, 3, 0, 3, 4, 1, 4]]} for record in BOTH],
        [record | {"segmentation": None} for record in BOTH],
        [compressed(record) for record in MASKS],
        [compressed(MASKS[0]) | {"bbox": []}],
    ],
)
def test_results_are_read_as_pycocotools_reads_them(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    records = [{key: value for key, value in record.items() if value is not None} for record in records]
    results = read(tmp_path, records)
    expected = by_pycocotools(records)
    for image in SIZES:
        found, own = results.of(image), [annotation for annotation in expected if annotation["image_id"] == image]
        assert found.size == SIZE
        assert found.category_ids.tolist() == [annotation["category_id"] for annotation in own]
        assert found.scores.tolist() == [annotation["score"] for annotation in own]
        assert found.areas is not None
        assert found.areas.tolist() == [float(annotation["area"]) for annotation in own]
        if all(len(annotation["bbox"]) for annotation in own):  # it leaves an empty list as it is
            assert found.boxes.tolist() == [list(annotation["bbox"]) for annotation in own]
        if results.has_masks:
            assert found.masks == [annotation["rle"] for annotation in own]
        else:
            assert found.masks is None


def test_what_is_written_is_read_back_with_all_digits(tmp_path: Path) -> None:
    masks = [coco.encode(np.asfortranarray(np.full(SIZE, value, np.uint8)))["counts"] for value in (0, 1)]
    scores = np.array([0.1, 1 / 3], np.float32).astype(np.float64)
    boxes = np.array([[0.1, 0.2, 1 / 3, 4], [0, 0, 6, 4]])
    first = FoundInstances(SIZE, np.array([1, 3]), scores, boxes, masks)
    second = FoundInstances(SIZE, np.array([3]), np.ones(1), boxes[:1], masks[:1])
    path = tmp_path / "new" / "results.json"
    with writing_results(path) as writer:
        writer.add("a b", second)
        writer.add(7, first)
    assert path.read_text().count("\n") == 3 + 2  # a line for each result and bracket
    assert json.loads(path.read_text())[0] == {
        "image_id": "a b",
        "category_id": 3,
        "bbox": [0.1, 0.2, 1 / 3, 4],
        "score": 1.0,
        "segmentation": {"size": [4, 6], "counts": "h0"},
    }
    results = read_instance_results(path, {7: SIZE, "a b": SIZE, 8: SIZE}, [1, 3], "truth.json")
    found = results.of(7)
    assert (found.scores == scores).all() and (found.boxes == boxes).all() and found.masks == masks
    assert len(results.of("a b")) == 1 and len(results.of(8)) == 0 and set(results.images) == {7, "a b"}


def test_an_error_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with writing_results(path):
        pass
    assert json.loads(path.read_text()) == []
    with pytest.raises(KeyError), writing_results(path) as writer:
        writer.append([result()])
        raise KeyError
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    assert json.loads(path.read_text()) == []


def test_boxes_alone_are_written_without_masks(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with writing_results(path) as writer:
        writer.add(9, FoundInstances(SIZE, np.array([1]), np.ones(1), np.array([BOX]), None))
    assert json.loads(path.read_text()) == [{"image_id": 9, "category_id": 1, "bbox": BOX, "score": 1.0}]
    results = read_instance_results(path, SIZES, [1], "truth.json")
    assert not results.has_masks and results.of(9).masks is None


def test_results_of_other_images_and_categories_are_counted_and_left_out(tmp_path: Path) -> None:
    results = read(tmp_path, [result(image_id=5), result(), result(category_id=2), result(image_id=5)])
    assert (dict(results.additional), dict(results.unknown)) == ({5: 2}, {2: 1})
    assert len(results.of(7)) == 1 and set(results.images) == {7} and results.positions(7).tolist() == [1]


def test_an_empty_list_has_no_detections(tmp_path: Path) -> None:
    assert len(read(tmp_path, []).of(7)) == 0


def test_ids_may_be_whole_floats(tmp_path: Path) -> None:
    assert read(tmp_path, [result(image_id=7.0, category_id=3.0)]).of(7).category_ids.tolist() == [3]


RLE = "an RLE that covers 23 pixels in a picture of 24; correct the program that wrote it"
REFUSED = [
    ({"images": [], "annotations": []}, "is an object with `images`, `annotations`; COCO results are a list with a "),
    ("3", "is no list; COCO results are a list with a record for each detection: image_id, category_id, score, bbox "),
    ([result(), {"score": 1}], "results[1] has no `image_id`; COCO results are a list"),
    ([result(of=result())], "records with an `image_id` stand inside of others; COCO results are a list"),
    ([result(), [1]], "results[1] has no `image_id`; COCO results are a list"),
    ([result(score=None)], "results[0] has no `score`; each result needs one (annotations of a data set have none)"),
    ([result(score="0.9")], "results[0]: `score` is '0.9', not a finite number; write it as a number, without quotes"),
    ([result(score=float("nan"))], "results[0]: `score` is nan, not a finite number; correct it"),
    ([result(), result(score=10**400)], "results[1]: `score` is 1000"),
    ([result(category_id="3")], "results[0]: `category_id` is the text '3'; write it as a number, without quotes"),
    ([result(category_id=3.5)], "results[0]: `category_id` is 3.5, not a whole number; correct it"),
    ([result(bbox=[1, 2, 3])], "results[0]: `bbox` is [1, 2, 3], not four numbers x, y, width, height; correct it"),
    ([result(bbox=[1, 2, 3, "4"])], "results[0]: `bbox` is [1, 2, 3, '4'], not four numbers"),
    ([result(), result(bbox=None)], "results[1] has no `bbox`, and the first result has one; write it for all or none"),
    (
        [result(), result(segmentation=[])],
        "results[1] has no `segmentation`, unlike the first",
    ),
    ([result(segmentation=[]), result()], "results[1] has a `segmentation`, and the first has none"),
    (
        [result(bbox=None, segmentation=None)],
        "results[0] has neither a `bbox` nor a `segm",
    ),
    ([result(image_id="000000000007")], "image ids are texts, such as '000000000007', and those of truth.json numbers"),
    (
        [result(image_id=8)],
        "no result is of an image of truth.json: image ids are such as 8 here and 7 there; check",
    ),
    ([result(category_id=0)], "no result has a category of truth.json: theirs are 0 and those of the truth 1, 3; "),
    (
        [result(segmentation={"size": [4, 6], "counts": "b'48<'"})],
        "results[0]: `counts` are bytes printed",
    ),
    (
        [result(segmentation={"size": [6, 4], "counts": [4, 8, 12]})],
        "results[0] has an RLE of [height, width] [6, 4]",
    ),
    ([result(segmentation={"size": [4, 6], "counts": [4, 8, 11]})], f"results[0] has {RLE}"),
    ([compressed(result()), result(segmentation={"size": [4, 6], "counts": "48;"})], f"results[1] has {RLE}"),
    (
        [result(segmentation={"size": [4, 6], "counts": "48ä"})],
        "results[0] has an RLE with unreadable `counts`; correct",
    ),
    (
        [result(segmentation={"size": [4, 6], "counts": "48n"})],
        "results[0] has an RLE with unreadable `counts`; correct",
    ),
    ([result(segmentation={"size": [4, 6], "counts": ""})], "results[0] has an RLE that covers 0 pixels"),
    ([result(segmentation=[[1, 0, 3]])], "results[0] has a polygon of 3 numbers; correct the program that wrote it"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_malformed_results_are_refused_in_one_line(
    content: Any, message: str, tmp_path: Path, refused: Refused
) -> None:
    assert refused(read, tmp_path, content).removeprefix("results.json: ").startswith(message)
