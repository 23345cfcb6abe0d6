"""Small valid inputs of every converter and of COCO instances, and the functions that read them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from evaluation.fuzz.readers import (
    CATEGORIES,
    HEIGHT,
    WIDTH,
    no_progress,
    records,
    segment_ids,
    write_json,
    write_picture_files,
)
from evaluation.fuzz.runner import Reader
from panoptic_blend.convert.cityscapes import read_cityscapes
from panoptic_blend.convert.cityscapes_folders import read_cityscapes_folder
from panoptic_blend.convert.coco_instances import Stuff, read_coco_instances
from panoptic_blend.convert.labelme import Classes, read_labelme
from panoptic_blend.convert.writing import ConversionOptions, LabeledSource
from panoptic_blend.convert.writing import write as write_data_set
from panoptic_blend.formats.coco_instances import read_instances_json
from panoptic_blend.formats.images import write_segment_ids, write_values
from panoptic_blend.instances import run_lengths


def write_instances(folder: Path) -> None:
    """Write COCO instances with polygons and run lengths, and stuff maps with their table."""
    write_picture_files(folder / "pictures", "1.jpg")
    write_picture_files(folder / "stuff", "1.png")
    (folder / "stuff" / "1.png").write_bytes(cv2.imencode(".png", np.full((HEIGHT, WIDTH), 9, np.uint8))[1].tobytes())
    (folder / "stuff.json").write_text(json.dumps({"9": "grass", "200": "water", "255": None}))
    mask = np.asfortranarray(segment_ids() == 300).astype(np.uint8)
    segmentations: list[Any] = [
        [[1, 1, 6, 1, 6, 6, 1, 6], [8, 1, 10, 1, 10, 4]],
        {"size": [HEIGHT, WIDTH], "counts": [20, 50, HEIGHT * WIDTH - 70]},
        {"size": [HEIGHT, WIDTH], "counts": coco.encode(mask)["counts"].decode()},
    ]
    annotations = [
        {"id": i, "image_id": 1, "category_id": 5, "iscrowd": i % 2, "area": 25, "segmentation": segmentation}
        for i, segmentation in enumerate(segmentations)
    ]
    images = [{"id": 1, "file_name": "1.jpg", "height": HEIGHT, "width": WIDTH}]
    categories = [{"id": 5, "name": "cat"}]
    write_json(folder / "instances.json", images, annotations, categories)


def read_instances(folder: Path) -> None:
    """What ``data convert coco-instances`` does."""
    stuff = Stuff(folder / "stuff", folder / "stuff.json")
    _convert(read_coco_instances(folder / "instances.json", folder / "pictures", (), stuff), folder)


def read_true_instances(folder: Path) -> None:
    """What ``train`` and ``ap`` do with instances."""
    for instances in read_instances_json(folder / "instances.json").images:
        coco.decode(run_lengths(instances.size, instances.masks))


def write_labelme(folder: Path) -> None:
    """Write LabelMe files of every shape, with the picture beside and inside."""
    write_picture_files(folder / "labels", "a.jpg", "b.png")
    forms = {
        "polygon": [[1, 1], [6, 1], [6, 6]],
        "rectangle": [[2, 2], [9, 8]],
        "circle": [[8, 6], [8, 9]],
        "line": [[0, 0], [9, 9]],
        "linestrip": [[0, 0], [5, 3], [9, 9]],
        "point": [[3, 3]],
    }
    shapes: list[dict[str, Any]] = [
        {"label": name, "points": points, "group_id": None, "shape_type": name, "flags": {}}
        for name, points in forms.items()
    ]
    mask = cv2.imencode(".png", np.full((3, 4), 255, np.uint8))[1].tobytes()
    shapes.append(
        {
            "label": "mask",
            "points": [[2, 2], [5, 4]],
            "group_id": 1,
            "shape_type": "mask",
            "mask": base64.b64encode(mask).decode(),
        }
    )
    embedded = base64.b64encode((folder / "labels" / "b.png").read_bytes()).decode()
    (folder / "labels" / "b.png").unlink()
    for name, data in (("a.jpg", None), ("b.png", embedded)):
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": name,
            "imageData": data,
        }
        text = json.dumps(content | {"imageHeight": HEIGHT, "imageWidth": WIDTH})
        (folder / "labels" / name).with_suffix(".json").write_text(text)


def read_labelme_files(folder: Path) -> None:
    """What ``data convert labelme`` does."""
    _convert(read_labelme(folder / "labels", Classes(stuff=("rectangle",)), None), folder)


def write_cityscapes(folder: Path) -> None:
    """Write the panoptic JSON and PNGs of Cityscapes for one picture."""
    name = "ulm_000001_000019"
    write_picture_files(folder / "leftImg8bit" / "val" / "ulm", f"{name}_leftImg8bit.png")
    write_segment_ids(folder / "panoptic" / f"{name}_gtFine_panoptic.png", segment_ids())
    image, annotation = records(1, (f"{name}_gtFine_leftImg8bit.png", f"{name}_gtFine_panoptic.png"))
    image["id"] = annotation["image_id"] = name
    write_json(folder / "panoptic.json", [image], [annotation], CATEGORIES)


def read_cityscapes_files(folder: Path) -> None:
    """What ``data convert cityscapes`` does."""
    _convert(read_cityscapes(folder / "panoptic.json", folder / "leftImg8bit"), folder)


def write_cityscapes_folder(folder: Path) -> None:
    """Write the label ids of Cityscapes for one picture, and the polygons of another."""
    labels = folder / "gtFine" / "val" / "ulm"
    for name in ("ulm_1", "ulm_2"):
        write_picture_files(folder / "leftImg8bit" / "val" / "ulm", f"{name}_leftImg8bit.png")
    write_values(labels / "ulm_1_gtFine_instanceIds.png", np.full((HEIGHT, WIDTH), 26000, np.uint16))
    objects = [{"label": "cargroup", "polygon": [[0, 0], [9, 0], [9, 9]]}, {"label": "sky", "polygon": [[9, 0]]}]
    content = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}
    (labels / "ulm_2_gtFine_polygons.json").write_text(json.dumps(content))


def read_cityscapes_labels(folder: Path) -> None:
    """What ``data convert cityscapes`` does with a folder."""
    _convert(read_cityscapes_folder(folder / "gtFine" / "val"), folder)


def _convert(source: LabeledSource, folder: Path) -> None:
    write_data_set(source, ConversionOptions(folder / "out", rest="rest"), no_progress)


READERS = (
    Reader("coco-instances", write_instances, read_instances),
    Reader("instances", write_instances, read_true_instances),
    Reader("labelme", write_labelme, read_labelme_files),
    Reader("cityscapes", write_cityscapes, read_cityscapes_files),
    Reader("cityscapes-folder", write_cityscapes_folder, read_cityscapes_labels),
)
