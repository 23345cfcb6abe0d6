"""Read what `data export` writes by the libraries of the tools that it is for, and compare every segment with its mask.

    python -m evaluation.roundtrips --pictures 20

Each format is read by every library that is installed: labelme, pycocotools, supervision, datumaro, ultralytics,
label-studio-sdk and fiftyone, none of which the library needs. Pictures are of Shapes, with holes, crowds, void and
segments in several parts. The exit code is 1 if a segment is lost, or has another class, or if pixels differ although
masks or a tolerance of 0 were asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from panoptic_blend.interchange.exporting import drawing, export
from panoptic_blend.interchange.source import open_source
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.terminal import print_tables

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


@dataclass(frozen=True)
class Reader:
    """A library that reads a format; ``fills_as_we_do`` if it fills polygons by the rule that they are drawn for."""

    form: str
    package: str
    read: Callable[[Path], Iterator[tuple[str, Shapes]]]
    fills_as_we_do: bool = True


READERS = (
    Reader("labelme", "labelme", labelme),
    Reader("coco-instances", "pycocotools", lambda folder: coco(folder / "annotations/instances_val2017.json")),
    Reader("coco-instances", "datumaro", datumaro("coco_instances")),
    Reader("yolo-seg", "ultralytics", ultralytics, fills_as_we_do=False),
    Reader("yolo-seg", "supervision", supervision_yolo, fills_as_we_do=False),
    Reader("cvat", "datumaro", datumaro("cvat")),
    Reader("label-studio", "label_studio_sdk", label_studio),
    Reader("fiftyone", "fiftyone", fiftyone),
    Reader("fiftyone", "pycocotools", lambda folder: coco(folder / "labels.json")),
    Reader("supervision", "supervision", supervision_coco, fills_as_we_do=False),
)
WAYS: dict[str, dict[str, Any]] = {
    "masks": {"tolerance": None, "masks": True},
    "polygons, 0": {"tolerance": 0.0, "masks": False},
    "polygons, 1": {"tolerance": 1.0, "masks": False},
}


@dataclass(frozen=True)
class Verdict:
    """How the segments of one export were read: all, those with the very same pixels, and the lowest and mean IoU."""

    form: str
    reader: str
    way: str
    segments: int
    missing: int
    exact: int
    lowest: float
    mean: float
    error: str = ""

    def is_right(self, reader: Reader) -> bool:
        """Whether nothing is lost, and no pixel differs where none may."""
        may_differ = self.way == "polygons, 1" or (self.way != "masks" and not reader.fills_as_we_do)
        return not self.error and not self.missing and (may_differ or self.exact == self.segments)


def compared(truth: dict[str, Shapes], found: dict[str, Shapes]) -> tuple[int, int, list[float]]:
    """The number of true segments, of those without a counterpart of their class, and the IoU of each with its own."""
    missing, ious = 0, []
    for name, shapes in truth.items():
        left = list(found.get(name, ()))
        for label, mask in shapes:
            own = [
                (float((mask & m).sum() / max((mask | m).sum(), 1)), i) for i, (n, m) in enumerate(left) if n == label
            ]
            best, place = max(own, default=(0.0, -1))
            missing += best == 0
            if best:
                ious.append(best)
                del left[place]
        missing += len(left)
    return sum(map(len, truth.values())), missing, ious


def judged(reader: Reader, way: str, root: Path, folder: Path) -> Verdict:
    """Export, read and compare."""
    source = open_source(root, "val2017")
    drawn = drawing(reader.form, **WAYS[way])
    export(source, reader.form, folder, drawn, lambda done, total: None, link=False, with_pictures=True)
    truth = dict[str, Shapes]()
    for place in source.places:
        picture, shapes = source.read(place), Shapes()
        for region in picture.regions:
            if reader.form != "yolo-seg" or not region.segment.is_crowd:
                mask = np.zeros(picture.size, bool)
                mask[region.cutout.window] = region.cutout.mask
                shapes.append((region.category.name, mask))
        truth[Path(picture.name).stem] = shapes
    try:
        segments, missing, ious = compared(truth, dict(reader.read(folder)))
    except Exception as error:  # of any library
        return Verdict(reader.form, reader.package, way, 0, 0, 0, 0, 0, f"{type(error).__name__}: {error}"[:200])
    exact = sum(iou == 1 for iou in ious)
    lowest, mean = (min(ious), float(np.mean(ious))) if ious else (0.0, 0.0)
    return Verdict(
        reader.form, f"{reader.package} {_version(reader.package)}", way, segments, missing, exact, lowest, mean
    )


def _version(package: str) -> str:
    return version(package.replace("_", "-"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge all formats and libraries that are installed; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20, help="number of generated pictures")
    parser.add_argument("--only", nargs="*", help="only these libraries")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    given = parser.parse_args(arguments)
    chosen = [reader for reader in READERS if not given.only or reader.package in given.only]
    absent = sorted({reader.package for reader in chosen if find_spec(reader.package) is None})
    verdicts, are_right = list[Verdict](), True
    with TemporaryDirectory() as name:
        write_shapes(Path(name) / "shapes", train=1, val=given.pictures, seed=0)
        for number, reader in enumerate(reader for reader in chosen if reader.package not in absent):
            for way in WAYS:
                if way == "masks" and reader.form == "yolo-seg":
                    continue
                folder = Path(name) / f"{number} {way}"
                verdicts.append(judged(reader, way, Path(name) / "shapes", folder))
                are_right &= verdicts[-1].is_right(reader)
    table = Table(
        "format", "read by", "written as", "segments", "lost", "same pixels", "lowest IoU", "mean IoU", "error"
    )
    for each in verdicts:
        figures = [str(each.segments), str(each.missing), str(each.exact), f"{each.lowest:.3f}", f"{each.mean:.4f}"]
        table.add_row(each.form, each.reader, each.way, *figures, each.error)
    print_tables(table, remarks=[f"not installed: {', '.join(absent)}"] if absent else [])
    if given.output:
        given.output.write_text(json.dumps([vars(each) for each in verdicts], indent=1) + "\n")
    return 0 if are_right else 1


if __name__ == "__main__":
    sys.exit(main())
