"""Read what `data export` writes by the libraries of the tools that it is for, as classes and masks of segments."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Shapes = list[tuple[str, Mask]]
"""Class and mask (H, W) of each segment of a picture."""


def labelme(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """By ``labelme.LabelFile`` and its own rasterization."""
    library, utils = import_module("labelme"), import_module("labelme.utils")
    for path in sorted(folder.glob("*.json")):
        file, parts = library.LabelFile(str(path)), dict[Any, tuple[str, Mask]]()
        size = json.loads(path.read_text())["imageHeight"], json.loads(path.read_text())["imageWidth"]
        for i, shape in enumerate(file.shapes):
            mask = np.zeros(size, bool)
            points = np.asarray(shape["points"])
            if shape["shape_type"] == "mask":
                (left, top), (right, bottom) = points.astype(int)
                mask[top : bottom + 1, left : right + 1] = shape["mask"]
            else:
                mask |= utils.shape_to_mask(size, shape["points"], shape["shape_type"])
            key = i if shape["group_id"] is None else ("group", shape["group_id"])
            parts[key] = shape["label"], mask | parts.get(key, ("", np.zeros(size, bool)))[1]
        yield path.stem, list(parts.values())


def coco(path: Path) -> Iterator[tuple[str, Shapes]]:
    """By ``pycocotools.coco.COCO``."""
    data = import_module("pycocotools.coco").COCO(str(path))
    for image in data.dataset["images"]:
        found = data.loadAnns(data.getAnnIds(imgIds=[image["id"]]))
        shapes = [(data.cats[each["category_id"]]["name"], data.annToMask(each).astype(bool)) for each in found]
        yield Path(image["file_name"]).stem, shapes


def supervision_coco(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """By ``supervision.DetectionDataset.from_coco``."""
    library = import_module("supervision")
    data = library.DetectionDataset.from_coco(str(folder), str(folder / "_annotations.coco.json"), force_masks=True)
    yield from _detections(data)


def supervision_yolo(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """By ``supervision.DetectionDataset.from_yolo``."""
    library, split = import_module("supervision"), "val"
    places = folder / "images" / split, folder / "labels" / split, folder / "data.yaml"
    yield from _detections(library.DetectionDataset.from_yolo(*map(str, places), force_masks=True))


def _detections(data: Any) -> Iterator[tuple[str, Shapes]]:
    for path, _, found in data:
        masks = found.mask if found.mask is not None else []
        yield Path(path).stem, [(data.classes[i], m.astype(bool)) for i, m in zip(found.class_id, masks, strict=True)]


def ultralytics(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """By the function that reads labels for training, and the one that fills polygons."""
    utils, yaml = import_module("ultralytics.data.utils"), import_module("yaml")
    names = yaml.safe_load((folder / "data.yaml").read_text())["names"]
    for path in sorted((folder / "images/val").iterdir()):
        label = folder / "labels/val" / f"{path.stem}.txt"
        _, rows, size, outlines, *_ = utils.verify_image_label(
            (str(path), str(label), "", False, len(names), 0, 0, False)
        )
        shapes = []
        for row, outline in zip(rows, outlines, strict=True):
            points = (outline * size[::-1]).reshape(1, -1)
            shapes.append((names[int(row[0])], utils.polygon2mask(size, points, 1, 1).astype(bool)))
        yield path.stem, shapes


def datumaro(kind: str) -> Callable[[Path], Iterator[tuple[str, Shapes]]]:
    """By ``datumaro.Dataset.import_from`` as the format ``kind``; polygons are filled by pycocotools, as there."""

    def read(folder: Path) -> Iterator[tuple[str, Shapes]]:
        library, masks = import_module("datumaro"), import_module("pycocotools.mask")
        data = library.Dataset.import_from(str(folder), kind)
        names = [label.name for label in data.categories()[library.AnnotationType.label]]
        for item in data:
            size, parts = item.media.size, dict[Any, tuple[str, Mask]]()
            for i, each in enumerate(item.annotations):
                if each.type == library.AnnotationType.polygon:
                    mask = masks.decode(masks.merge(masks.frPyObjects([each.points], *size))).astype(bool)
                elif each.type == library.AnnotationType.mask:
                    mask = np.asarray(each.image, bool)
                else:
                    continue
                key = ("group", each.group) if each.group else i
                parts[key] = names[each.label], mask | parts.get(key, ("", np.zeros(size, bool)))[1]
            yield Path(item.id).stem, list(parts.values())

    return read


def label_studio(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """Brush masks by the decoder of Label Studio's converter; polygons, of which it has none, by pycocotools."""
    brush, masks = import_module("label_studio_sdk.converter.brush"), import_module("pycocotools.mask")
    for task in json.loads((folder / "tasks.json").read_text()):
        shapes = []
        for each in task["annotations"][0]["result"]:
            size, value = (each["original_height"], each["original_width"]), each["value"]
            if each["type"] == "brushlabels":
                mask = brush.decode_rle(value["rle"]).reshape(*size, 4)[:, :, 3] > 0
            else:
                points = (np.array(value["points"]) * size[::-1] / 100).ravel().tolist()
                mask = masks.decode(masks.merge(masks.frPyObjects([points], *size))).astype(bool)
            shapes.append((value[each["type"]][0], mask))
        yield Path(task["data"]["image"]).stem, shapes


def fiftyone(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """By the parser of ``COCODetectionDataset``, which needs no data base; masks are crops to boxes."""
    os.environ.setdefault("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:9")  # else it would start MongoDB
    library = import_module("fiftyone.utils.coco")
    _, classes, _, images, annotations = library.load_coco_detection_annotations(str(folder / "labels.json"))
    for key, image in images.items():
        size, shapes = (image["height"], image["width"]), Shapes()
        for each in annotations.get(key, ()):
            found = each.to_detection(size[::-1], classes, load_segmentation=True)
            mask = np.zeros(size, bool)
            left, top = (round(start * side) for start, side in zip(found.bounding_box[:2], size[::-1], strict=True))
            mask[top : top + found.mask.shape[0], left : left + found.mask.shape[1]] = found.mask
            shapes.append((found.label, mask))
        yield Path(image["file_name"]).stem, shapes


def torchvision(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """By ``torchvision.datasets.Cityscapes``: the class by ``labelIds``, segments by ``instanceIds``."""
    library = import_module("torchvision.datasets")
    data, names = library.Cityscapes(str(folder), "val", target_type=["semantic", "instance"]), _label_names(folder)
    for path, (_, (labels, ids)) in zip(data.images, data, strict=True):
        found, classes = np.asarray(ids), np.asarray(labels)
        shapes = [(names[int(classes[found == value][0])], found == value) for value in np.unique(found[classes > 0])]
        yield Path(path).stem.removesuffix("_leftImg8bit"), shapes


def cityscapesscripts(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """By ``instances2dict``, with which Cityscapes' scripts evaluate instances."""
    library, names = import_module("cityscapesscripts.evaluation.instances2dict"), _label_names(folder)
    for path in sorted(folder.glob("gtFine/val/*/*_instanceIds.png")):
        [found], ids = library.instances2dict(str(path)).values(), np.asarray(import_module("PIL.Image").open(path))
        instances = [each for listed in found.values() for each in listed if each["labelID"]]
        shapes = [(names[each["labelID"]], ids == each["instID"]) for each in instances]
        yield path.name.removesuffix("_gtFine_instanceIds.png"), shapes


def _label_names(folder: Path) -> dict[int, str]:
    content = json.loads((folder / "gtFine/cityscapes_panoptic_val.json").read_text())
    return {category["id"]: category["name"] for category in content["categories"]}


def pillow(folder: Path) -> Iterator[tuple[str, Shapes]]:
    """The maps of classes and instances by Pillow."""
    library = import_module("PIL.Image")
    names = {each["id"]: each["name"] for each in json.loads((folder / "classes.json").read_text())["categories"]}
    for path in sorted((folder / "classes").rglob("*.png")):
        classes, numbers = (np.asarray(library.open(folder / kind / path.name)) for kind in ("classes", "instances"))
        pairs = np.unique(np.stack([classes, numbers])[:, classes > 0], axis=1).T.tolist()
        yield path.stem, [(names[label], (classes == label) & (numbers == number)) for label, number in pairs]


@dataclass(frozen=True)
class Reader:
    """A library that reads a format; ``fills_as_we_do`` if it fills polygons by the rule that they are drawn for."""

    form: str
    package: str
    read: Callable[[Path], Iterator[tuple[str, Shapes]]]
    fills_as_we_do: bool = True


READERS = (
    Reader("labelme", "labelme", labelme),
    Reader("coco-instances", "pycocotools", lambda folder: coco(folder / "annotations/instances_val.json")),
    Reader("coco-instances", "datumaro", datumaro("coco_instances")),
    Reader("yolo-seg", "ultralytics", ultralytics, fills_as_we_do=False),
    Reader("yolo-seg", "supervision", supervision_yolo, fills_as_we_do=False),
    Reader("cvat", "datumaro", datumaro("cvat")),
    Reader("label-studio", "label_studio_sdk", label_studio),
    Reader("fiftyone", "fiftyone", fiftyone),
    Reader("fiftyone", "pycocotools", lambda folder: coco(folder / "labels.json")),
    Reader("supervision", "supervision", supervision_coco, fills_as_we_do=False),
    Reader("cityscapes", "torchvision", torchvision),
    Reader("cityscapes", "cityscapesscripts", cityscapesscripts),
    Reader("masks", "PIL", pillow),
)
