"""Recognize the format of a folder of labeled pictures by its content, and read it with its converter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from panoptic_blend.convert.coco_annotations import Rules
from panoptic_blend.convert.coco_instances import read_coco_instances
from panoptic_blend.convert.cvat import cvat_subsets, read_cvat
from panoptic_blend.convert.labelme import Classes, read_labelme
from panoptic_blend.convert.picture_folder import PictureFolder
from panoptic_blend.convert.writing import LabeledSource
from panoptic_blend.convert.yolo import find_yolo, read_yolo, require_yolo, yolo_splits
from panoptic_blend.formats.json_fields import are_records
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.listing import list_files
from panoptic_blend.structures import PanopticBlendError

WHOLE = "all"
"""The name of the split of a folder that has none."""
_INSTANCES = "instances_"
_ROBOFLOW = "_annotations.coco"
_CVAT_SUBSET = "default"


@dataclass(frozen=True)
class Source:
    """A folder in a format that has to be converted: what it is, and a reader for each of its splits."""

    kind: str
    splits: Mapping[str, Callable[[], LabeledSource]]


def recognize(folder: Path, stuff: Sequence[str] = ()) -> Source | None:
    """The format of a folder of labeled pictures; None if it is COCO panoptic.

    Args:
        stuff: the names of the classes that are stuff, for the formats that do not say it.

    Raises:
        PanopticBlendError: the folder does not exist, or has labels of no known format.
    """
    if not folder.is_dir():
        raise PanopticBlendError(f"{folder}: no such folder; give the folder of your labeled pictures")
    if any((folder / "annotations").glob("panoptic_*.json")):
        return None
    for find in (_yolo, _cvat, _coco, _labelme):
        if source := find(folder, stuff):
            return source
    raise PanopticBlendError(
        f"{folder}: no labels were found, of COCO (panoptic or instances), LabelMe, YOLO (data.yaml) or CVAT "
        "(annotations.xml); give the folder that has them, or convert them to one of these"
    )


def _yolo(folder: Path, stuff: Sequence[str]) -> Source | None:
    if find_yolo(folder) is None:
        return None
    path = require_yolo(folder)
    return Source("YOLO", {split: partial(read_yolo, path, split, stuff) for split in yolo_splits(path)})


def _cvat(folder: Path, stuff: Sequence[str]) -> Source | None:
    path = folder / "annotations.xml"
    if not path.is_file():
        return None
    subsets = cvat_subsets(path)
    if len(subsets) < 2:
        return Source("CVAT", {WHOLE: partial(read_cvat, path, stuff=stuff)})
    return Source("CVAT", {name: partial(read_cvat, path, stuff=stuff, subset=name) for name in subsets})


def _coco(folder: Path, stuff: Sequence[str]) -> Source | None:
    """Instances, each file of which is a split: those called ``instances_``, else all that have the lists of COCO."""
    paths = sorted((folder / "annotations").glob(f"{_INSTANCES}*.json"))
    if not paths:
        places = [*folder.glob("*.json"), *folder.glob("annotations/*.json"), *folder.glob(f"*/{_ROBOFLOW}.json")]
        paths = [path for path in sorted(places) if _is_coco(path)]
    if not paths:
        return None
    names = [_split_name(path, folder) for path in paths]
    if len(paths) == 1:
        names = [WHOLE if names[0] == _CVAT_SUBSET else names[0]]
    readers = {
        name: partial(_read_instances, path, folder, name, stuff) for name, path in zip(names, paths, strict=True)
    }
    return Source("COCO instances", readers)


def _is_coco(path: Path) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and all(are_records(content.get(key)) for key in ("images", "annotations"))


def _split_name(path: Path, folder: Path) -> str:
    if path.stem == _ROBOFLOW:
        return path.parent.name if path.parent != folder else WHOLE
    return path.stem.removeprefix(_INSTANCES)


def _read_instances(path: Path, folder: Path, split: str, stuff: Sequence[str]) -> LabeledSource:
    pictures = _picture_folder(path, folder, split)
    annotations = read_json(path).get("annotations", [])
    if not annotations or not all(annotation.get("iscrowd") == 1 for annotation in annotations):
        return read_coco_instances(path, pictures, stuff, None)
    source = read_coco_instances(path, pictures, stuff, None, Rules(crowds_as_instances=True))
    remark = "annotations are all crowds, as CVAT writes masks of its brush, and are taken as one object each"
    source.notes.add(remark, count=len(annotations))
    return source


def _picture_folder(path: Path, folder: Path, split: str) -> Path:
    """The folder in which the first picture of a COCO JSON is."""
    content = read_json(path)
    names = [str(image.get("file_name")) for image in content["images"][:1]] if _is_coco(path) else []
    split = path.stem.removeprefix(_INSTANCES) if split == WHOLE else split
    places = [folder / split, folder / "images" / split, folder / "images", path.parent, folder]
    others = sorted(place for place in folder.iterdir() if place.is_dir())
    for place in [place for place in (*places, *others) if place.is_dir()]:
        if all(PictureFolder(place).find(name) for name in names):
            return place
    raise PanopticBlendError(f"{path}: its picture {names[0]} is in no folder beside it; put the pictures there")


def _labelme(folder: Path, stuff: Sequence[str]) -> Source | None:
    files = [path for path in list_files(folder, recursive=True).paths if path.suffix.lower() == ".json"]
    if not files or not _is_labelme(files[0]):
        return None
    whole = cache(partial(read_labelme, folder, Classes(stuff=stuff)))
    tops = {path.relative_to(folder).parts[0] for path in files if path.parent != folder}
    named = sorted(top for top in tops if top.lower().startswith(("train", "val", "test")))
    if len(named) < 2 or any(path.parent == folder for path in files):
        return Source("LabelMe", {WHOLE: whole})
    return Source("LabelMe", {top: partial(_below, whole, top) for top in named})


def _is_labelme(path: Path) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and are_records(content.get("shapes"))


def _below(read: Callable[[], LabeledSource], top: str) -> LabeledSource:
    """The pictures in one of the folders of a source, with the classes of all."""
    source = read()
    return replace(source, items=[item for item in source.items if item.name.startswith(f"{top}/")])
