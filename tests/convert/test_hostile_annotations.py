"""Whatever a JSON holds, a conversion works or ends in one line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.convert.cityscapes import read_cityscapes
from panoptic_blend.convert.coco_annotations import Rules
from panoptic_blend.convert.coco_instances import read_coco_instances
from panoptic_blend.convert.labelme import Classes, read_labelme
from panoptic_blend.convert.summary import lines
from panoptic_blend.convert.writing import ConversionOptions, LabeledSource, write
from panoptic_blend.formats.images import write_picture, write_segment_ids
from panoptic_blend.structures import PanopticBlendError

NESTED = json.loads("[" * 300 + "]" * 300)
ODD: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        float("nan"),
        float("-inf"),
        1e308,
        10**400,
        2**63,
        "",
        "x",
        "\n",
        "\ud800",
        "../x",
        "\0",
    ),
    *([], {}, [[]], [{}], {"a": 1}, NESTED, [1, 2], [1e308] * 6, [[0, 0, 1e9, 0, 0, 1e9]], [[0, 0], [1, 1], [0, 1]]),
    *({"size": [10**9] * 2, "counts": [10**18]}, {"size": [10, 12], "counts": "ab`"}, [float("nan")] * 4, "C:\\a.jpg"),
]
IMAGE = {"height": 10, "width": 12}
INSTANCES = {
    "images": [{"id": 1, "file_name": "a.jpg", **IMAGE}],
    "categories": [{"id": 1, "name": "cat", "color": "#ff0000"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "area": 24,
            "bbox": [2, 1, 6, 4],
            "segmentation": [[2, 1, 8, 1, 8, 5]],
        },
        {"image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": {"size": [10, 12], "counts": [0, 30, 90]}},
    ],
}
LABELME = {
    "shapes": [
        {
            "label": "car",
            "points": [[1, 1], [5, 1], [5, 5]],
            "group_id": 1,
            "shape_type": "polygon",
            "flags": {"crowd": 0},
        },
        {"label": "sky", "points": [[1, 1], [5, 5]], "shape_type": "rectangle", "group_id": None, "flags": {}},
        {"label": "car", "points": [[2, 2], [4, 4]], "shape_type": "circle"},
    ],
    **{"imagePath": "a.jpg", "imageData": None, "imageHeight": 10, "imageWidth": 12},
}
SEGMENT = {"id": 7, "category_id": 1, "area": 9, "bbox": [2, 2, 3, 3], "iscrowd": 0}
CITYSCAPES = {
    "images": [{"id": "x", "file_name": "x.png", **IMAGE}],
    "annotations": [{"image_id": "x", "file_name": "x.png", "segments_info": [SEGMENT]}],
    "categories": [{"id": 1, "name": "car", "isthing": 1}],
}


def from_instances(folder: Path, skip: bool) -> LabeledSource:
    return read_coco_instances(folder / "in.json", folder / "pictures", [], None, Rules(skip_malformed=skip))


def from_labelme(folder: Path, skip: bool) -> LabeledSource:
    return read_labelme(folder, Classes(), folder / "pictures")


def from_cityscapes(folder: Path, skip: bool) -> LabeledSource:
    return read_cityscapes(folder / "in.json", folder / "pictures", folder / "maps")


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values in a parsed JSON."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("a.jpg", "x_leftImg8bit.png"):
        write_picture(folder / "pictures" / name, np.zeros((10, 12, 3), np.uint8))
    ids = np.zeros((10, 12), np.int32)
    ids[2:5, 2:5] = 7
    write_segment_ids(folder / "maps/x.png", ids)
    return folder


@pytest.mark.parametrize(
    ("content", "read"),
    [(INSTANCES, from_instances), (LABELME, from_labelme), (CITYSCAPES, from_cityscapes)],
    ids=["instances", "labelme", "cityscapes"],
)
@settings(max_examples=60)
@given(data=st.data())
def test_no_content_of_a_json_raises_another_error(
    folder: Path, content: dict[str, Any], read: Callable[[Path, bool], LabeledSource], data: st.DataObject
) -> None:
    changed = copy.deepcopy(content)
    *path, last = data.draw(st.sampled_from(places(changed)[1:]))
    record: Any = changed
    for key in path:
        record = record[key]
    record[last] = data.draw(st.sampled_from(ODD))
    (folder / "in.json").write_text(json.dumps(changed))
    options = ConversionOptions(folder.parent / "out", keep_empty=True, overwrite=True)
    try:
        lines(write(read(folder, data.draw(st.booleans())), options, lambda done, total: None))
    except PanopticBlendError as error:
        assert len(str(error).splitlines()) == 1
