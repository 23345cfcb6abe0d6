"""Small valid inputs of the converters that read annotation tools, and of what exports and edits data sets."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from evaluation.fuzz.readers import HEIGHT, WIDTH, no_progress, segment_ids, write_panoptic, write_picture_files
from evaluation.fuzz.runner import Reader
from panoptic_blend.convert.ade20k import read_ade20k
from panoptic_blend.convert.cvat import read_cvat
from panoptic_blend.convert.id_masks import MaskFolders, read_id_masks
from panoptic_blend.convert.label_studio import read_label_studio
from panoptic_blend.convert.supervisely import read_supervisely
from panoptic_blend.convert.vistas import read_vistas, vistas_version
from panoptic_blend.convert.voc import read_voc, voc_splits
from panoptic_blend.convert.writing import ConversionOptions, LabeledSource
from panoptic_blend.convert.writing import write as write_data_set
from panoptic_blend.convert.yolo import read_yolo, require_yolo, yolo_splits
from panoptic_blend.formats.images import write_picture, write_values
from panoptic_blend.interchange.data_sets import Edit, edited_splits
from panoptic_blend.interchange.exporting import WRITERS, drawing, export
from panoptic_blend.interchange.source import open_source, read_list

IN = "in"
"""The folder that is read, beside that which is written."""


def write_exported(form: str, folder: Path) -> None:
    """Write the maps of two pictures in one of the formats of ``data export``, exactly."""
    write_panoptic(folder / "own")
    drawn = drawing(form, 0 if WRITERS[form].has_polygons else None, masks=False)
    source = open_source(folder / "own")
    export(source, form, folder / "out", drawn, no_progress, link=False, with_pictures=True)
    shutil.rmtree(folder / "own")


def read_tasks(folder: Path) -> None:
    """What ``data convert label-studio`` does."""
    interface = folder / "out/config.xml"
    _convert(read_label_studio(folder / "out/tasks.json", folder / "out/images", interface=interface), folder)


def read_masks(folder: Path) -> None:
    """What ``data convert masks`` does."""
    folders = MaskFolders(folder / "out/classes", folder / "out/instances")
    _convert(read_id_masks(folders, folder / "out/classes.json", folder / "out/images"), folder)


def read_outlines(folder: Path) -> None:
    """What ``data convert yolo`` does."""
    description = require_yolo(folder / "out")
    for split in yolo_splits(description):
        _convert(read_yolo(description, split), folder, split)


def read_xml_file(folder: Path) -> None:
    """What ``data convert cvat`` does."""
    _convert(read_cvat(folder / "out/annotations.xml"), folder)


def write_voc(folder: Path) -> None:
    """Write Pascal VOC with a map by indices; `write_colored_voc` has one by colors."""
    folder = folder / IN
    write_picture_files(folder / "JPEGImages", "a.jpg")
    classes = np.where(segment_ids() == 70_000, 15, np.where(segment_ids() == 0, 255, 7)).astype(np.uint8)
    write_values(folder / "SegmentationClass/a.png", classes)
    write_values(folder / "SegmentationObject/a.png", (segment_ids() % 251).astype(np.uint8))
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/train.txt").write_text("a\n")


def write_colored_voc(folder: Path) -> None:
    """Write Pascal VOC as CVAT does."""
    write_voc(folder)
    folder = folder / IN
    (folder / "labelmap.txt").write_text("background:0,0,0::\ncat:128,0,0::\nsky:0,128,0::\n")
    colors = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colors[segment_ids() == 300], colors[segment_ids() == 70_000] = (128, 0, 0), (0, 128, 0)
    for name in ("SegmentationClass", "SegmentationObject"):
        write_picture(folder / name / "a.png", colors)


def read_voc_files(folder: Path) -> None:
    """What ``data convert voc`` does."""
    for split in voc_splits(folder / IN):
        _convert(read_voc(folder / IN, split), folder, split)


def write_scenes(folder: Path) -> None:
    """Write ADE20K and Mapillary Vistas in one folder."""
    folder = folder / IN
    write_picture_files(folder / "images/training", "a.jpg")
    write_picture_files(folder / "training/images", "a.jpg")
    values = (segment_ids() % 3).astype(np.uint16)
    write_values(folder / "annotations/training/a.png", values.astype(np.uint8))
    write_values(folder / "training/v2.0/instances/a.png", values * 256 + values)
    write_picture(folder / "annotations_instance/training/a.png", np.repeat(values[:, :, None], 3, 2).astype(np.uint8))
    (folder / "objectInfo150.txt").write_text("1\t0.1\t1\t1\t1\tsky\n2\t0.1\t1\t1\t0\tcat, puss\n")
    labels = [{"readable": f"class {i}", "instances": i > 1, "evaluate": i > 0, "color": [i, i, i]} for i in range(3)]
    (folder / "config_v2.0.json").write_text(json.dumps({"labels": labels}))


def read_ade20k_files(folder: Path) -> None:
    """What ``data convert ade20k`` does."""
    _convert(read_ade20k(folder / IN, "training"), folder)


def read_vistas_files(folder: Path) -> None:
    """What ``data convert vistas`` does."""
    _convert(read_vistas(folder / IN, "training", vistas_version(folder / IN)), folder)


def write_project(folder: Path) -> None:
    """Write a project of Supervisely with a bitmap, a polygon with a hole and a rectangle."""
    folder = folder / IN
    write_picture_files(folder / "ds/img", "a.jpg")
    png = cv2.imencode(".png", np.full((3, 4), 255, np.uint8))[1].tobytes()
    square, hole = [[0, 0], [9, 0], [9, 9], [0, 9]], [[2, 2], [4, 2], [4, 4]]
    objects = [
        {"geometryType": "bitmap", "bitmap": {"data": base64.b64encode(zlib.compress(png)).decode(), "origin": [2, 3]}},
        {"geometryType": "polygon", "points": {"exterior": square, "interior": [hole]}},
        {"geometryType": "rectangle", "points": {"exterior": [[3, 4], [8, 9]], "interior": []}},
    ]
    content = {"size": {"height": HEIGHT, "width": WIDTH}, "objects": [{"classTitle": "cat", **o} for o in objects]}
    (folder / "ds/ann").mkdir()
    (folder / "ds/ann/a.jpg.json").write_text(json.dumps(content))
    (folder / "meta.json").write_text(json.dumps({"classes": [{"title": "cat", "shape": "any"}]}))


def read_project(folder: Path) -> None:
    """What ``data convert supervisely`` does."""
    _convert(read_supervisely(folder / IN), folder)


def write_edited(folder: Path) -> None:
    """Write a data set whose segments have scores, and a list of pictures."""
    write_panoptic(folder)
    path = folder / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        for info in annotation["segments_info"]:
            info["score"] = 0.5
    path.write_text(json.dumps(content))
    (folder / "list.txt").write_text("1.jpg\n2\n")


def read_edited(folder: Path) -> None:
    """What ``data export`` does with a list, in every format, and ``data filter``."""
    source = open_source(folder)
    chosen = source.only(read_list(folder / "list.txt"), folder / "list.txt")
    for form in WRITERS:
        drawn = drawing(form, None, masks=False)
        export(chosen, form, folder / "out" / form, drawn, no_progress, link=False, with_pictures=True)
    for split, found in edited_splits([folder], Edit({}, (), "width > 1 or cat")).items():
        _convert(found, folder, split)


def _convert(source: LabeledSource, folder: Path, split: str = "train") -> None:
    with TemporaryDirectory(dir=folder.parent) as out:  # beside the folder, as nothing may be written into that
        write_data_set(source, ConversionOptions(Path(out) / "new", split, keep_empty=True), no_progress)


READERS = (
    Reader("label-studio", partial(write_exported, "label-studio"), read_tasks),
    Reader("masks", partial(write_exported, "masks"), read_masks),
    Reader("yolo", partial(write_exported, "yolo-seg"), read_outlines),
    Reader("cvat", partial(write_exported, "cvat"), read_xml_file),
    Reader("voc", write_voc, read_voc_files),
    Reader("voc-colors", write_colored_voc, read_voc_files),
    Reader("ade20k", write_scenes, read_ade20k_files),
    Reader("vistas", write_scenes, read_vistas_files),
    Reader("supervisely", write_project, read_project),
    Reader("exported", write_edited, read_edited),
)
