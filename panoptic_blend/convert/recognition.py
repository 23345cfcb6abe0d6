"""Recognize the format of a folder of labeled pictures by its content, and read it with its converter."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from panoptic_blend.convert.ade20k import SPLITS as ADE20K_SPLITS
from panoptic_blend.convert.ade20k import TABLE, read_ade20k
from panoptic_blend.convert.cityscapes_folders import FINE, cityscapes_splits, read_cityscapes_folder
from panoptic_blend.convert.coco_annotations import Rules
from panoptic_blend.convert.coco_instances import read_coco_instances
from panoptic_blend.convert.cvat import cvat_subsets, read_cvat
from panoptic_blend.convert.id_masks import MaskFolders, read_id_masks
from panoptic_blend.convert.label_studio import are_tasks, read_label_studio
from panoptic_blend.convert.labelme import Classes, read_labelme
from panoptic_blend.convert.picture_folder import PictureFolder
from panoptic_blend.convert.supervisely import META, read_supervisely
from panoptic_blend.convert.vistas import SPLITS as VISTAS_SPLITS
from panoptic_blend.convert.vistas import VERSIONS, config_of, read_vistas, vistas_version
from panoptic_blend.convert.voc import CLASSES as VOC_CLASSES
from panoptic_blend.convert.voc import read_voc, voc_splits
from panoptic_blend.convert.writing import LabeledSource
from panoptic_blend.convert.yolo import find_yolo, read_yolo, require_yolo, yolo_splits
from panoptic_blend.formats.images import PICTURE_SUFFIXES
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
    """A folder in a format that has to be converted: what it is, and a reader for each of its splits.

    ``tells_stuff`` says that the format itself tells things from stuff.
    """

    kind: str
    splits: Mapping[str, Callable[[], LabeledSource]]
    tells_stuff: bool = False


def recognize(folder: Path, stuff: Sequence[str] = ()) -> Source | None:
    """The format of a folder of labeled pictures; None if it is COCO panoptic.

    Args:
        stuff: the names of the classes that are stuff, for the formats that do not say it.

    Raises:
        PanopticBlendError: the folder does not exist, or has labels of no known format.
    """
    require_folder(folder)
    if any((folder / "annotations").glob("panoptic_*.json")):
        return None
    for find in _FORMATS:
        if source := find(folder, stuff):
            if stuff and source.tells_stuff:
                raise PanopticBlendError(f"{folder}: is {source.kind}, which tells what is stuff; leave --stuff out")
            return source
    raise PanopticBlendError(
        f"{folder}: {_mask_hint(folder) or 'no labels of a known format were found; '}give the folder that has one of "
        + ", ".join(_SIGNS)
    )


def require_folder(folder: Path) -> None:
    """Raise an error unless there is a folder."""
    if not folder.is_dir():
        problem = "is a file; unpack it if it is packed, and" if folder.is_file() else "no such folder;"
        raise PanopticBlendError(f"{folder}: {problem} give the folder of your labeled pictures")


def _cityscapes(folder: Path, stuff: Sequence[str]) -> Source | None:
    if not (folder / FINE).is_dir():
        return None
    readers = {name: partial(read_cityscapes_folder, folder / FINE / name) for name in cityscapes_splits(folder)}
    return Source("Cityscapes", readers, tells_stuff=True)


def _vistas(folder: Path, stuff: Sequence[str]) -> Source | None:
    if not any(config_of(folder, version).is_file() for version in VERSIONS):
        return None
    version = vistas_version(folder)
    present = [split for split in VISTAS_SPLITS if (folder / split / f"v{version}").is_dir()]
    readers = {split: partial(read_vistas, folder, split, version) for split in present}
    return Source("Mapillary Vistas", readers, tells_stuff=True)


def _ade20k(folder: Path, stuff: Sequence[str]) -> Source | None:
    if not (folder / TABLE).is_file():
        return None
    present = [split for split in ADE20K_SPLITS if (folder / "annotations" / split).is_dir()]
    return Source("ADE20K", {split: partial(read_ade20k, folder, split) for split in present}, tells_stuff=True)


def _voc(folder: Path, stuff: Sequence[str]) -> Source | None:
    if not (folder / VOC_CLASSES).is_dir():
        return None
    return Source("Pascal VOC", {split: partial(read_voc, folder, split, stuff) for split in voc_splits(folder)})


def _supervisely(folder: Path, stuff: Sequence[str]) -> Source | None:
    if not (folder / META).is_file():
        return None
    whole = cache(partial(read_supervisely, folder, stuff))
    return Source("Supervisely", _divided(whole, {path.parent for path in folder.rglob("img")}, folder))


def _label_studio(folder: Path, stuff: Sequence[str]) -> Source | None:
    paths = [path for path in sorted(folder.glob("*.json")) if _begins_a_list(path) and are_tasks(read_json(path))]
    if not paths:
        return None
    if len(paths) > 1:
        raise PanopticBlendError(f"{folder}: has several exports of Label Studio, {paths[0].name} and others; keep one")
    pictures, interface = (folder / name for name in ("images", "config.xml"))
    return Source(
        "Label Studio",
        {
            WHOLE: partial(
                read_label_studio,
                paths[0],
                pictures if pictures.is_dir() else folder,
                stuff,
                interface=interface if interface.is_file() else None,
            )
        },
    )


def _begins_a_list(path: Path) -> bool:
    """Whether a JSON is a list, without reading it whole."""
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _id_masks(folder: Path, stuff: Sequence[str]) -> Source | None:
    """Folders as `data export --to masks` names them."""
    table, classes, instances, pictures = (folder / name for name in ("classes.json", "classes", "instances", "images"))
    if not (table.is_file() and classes.is_dir() and pictures.is_dir()):
        return None
    folders = MaskFolders(classes, instances if instances.is_dir() else None)
    return Source("masks of ids", {WHOLE: partial(read_id_masks, folders, table, pictures, stuff)})


def _mask_hint(folder: Path) -> str | None:
    """What to do with a folder that has pictures in one folder and PNGs of the same names in another."""
    stems = {
        place: {path.stem for path in place.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES}
        for place in sorted(folder.iterdir())
        if place.is_dir()
    }
    for maps, found in stems.items():
        if found and all(path.suffix.lower() == ".png" for path in maps.iterdir()):
            for pictures, names in stems.items():
                if pictures != maps and found <= names:
                    words = shlex.join(["panoptic-blend", "data", "convert", "masks", str(maps), "--classes"])
                    return (
                        f"{maps.name} looks like masks of the pictures in {pictures.name}; name their values in a "
                        f"classes.json, and convert them by `{words} classes.json --pictures "
                        f"{shlex.quote(str(pictures))} --output NEW`, with --instances or --divisor; or "
                    )
    return None


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
        paths = [path for path in sorted(places) if _is_coco(read_json(path))]
    if not paths:
        return None
    names = [_split_name(path, folder) for path in paths]
    if len(paths) == 1:
        names = [WHOLE if names[0] == _CVAT_SUBSET else names[0]]
    readers = {
        name: partial(_read_instances, path, folder, name, stuff) for name, path in zip(names, paths, strict=True)
    }
    return Source("COCO instances", readers)


def _is_coco(content: object) -> bool:
    return isinstance(content, dict) and all(are_records(content.get(key)) for key in ("images", "annotations"))


def _split_name(path: Path, folder: Path) -> str:
    if path.stem == _ROBOFLOW:
        return path.parent.name if path.parent != folder else WHOLE
    return path.stem.removeprefix(_INSTANCES)


def _read_instances(path: Path, folder: Path, split: str, stuff: Sequence[str]) -> LabeledSource:
    content = read_json(path)
    pictures = _picture_folder(path, content, folder, split)
    annotations = content.get("annotations", [])
    if not annotations or not all(annotation.get("iscrowd") == 1 for annotation in annotations):
        return read_coco_instances(path, pictures, stuff, None)
    source = read_coco_instances(path, pictures, stuff, None, Rules(crowds_as_instances=True))
    remark = "annotations are all crowds, as CVAT writes masks of its brush, and are taken as one object each"
    source.notes.add(remark, count=len(annotations))
    return source


def _picture_folder(path: Path, content: Any, folder: Path, split: str) -> Path:
    """The folder in which the first picture of a COCO JSON with this ``content`` is."""
    names = [str(image.get("file_name")) for image in content["images"][:1]] if _is_coco(content) else []
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
    return Source("LabelMe", _divided(whole, {path.parent for path in files}, folder))


def _is_labelme(path: Path) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and are_records(content.get("shapes"))


def _divided(
    whole: Callable[[], LabeledSource], places: Collection[Path], folder: Path
) -> dict[str, Callable[[], LabeledSource]]:
    """The splits of labels in ``places``: folders that are named so; or one, of all."""
    tops = {place.relative_to(folder).parts[0] for place in places if place != folder}
    named = sorted(top for top in tops if top.lower().startswith(("train", "val", "test")))
    if len(named) < 2 or folder in places:
        return {WHOLE: whole}
    return {top: partial(_below, whole, top) for top in named}


def _below(read: Callable[[], LabeledSource], top: str) -> LabeledSource:
    """The pictures in one of the folders of a source, with the classes of all."""
    source = read()
    return replace(source, items=[item for item in source.items if item.name.startswith(f"{top}/")])


_FORMATS: Sequence[Callable[[Path, Sequence[str]], Source | None]] = (
    *(_cityscapes, _vistas, _ade20k, _voc, _supervisely, _yolo, _cvat, _label_studio, _id_masks, _coco, _labelme),
)
"""How each format is found; those with a file or folder of a name of its own come first."""
_SIGNS = (
    *("COCO (panoptic or instances)", "LabelMe", "YOLO (data.yaml)", "CVAT (annotations.xml)"),
    *("Label Studio (JSON)", "Supervisely (meta.json)", f"Pascal VOC ({VOC_CLASSES})", "Cityscapes (gtFine)"),
    *(f"ADE20K ({TABLE})", "Mapillary Vistas (config_v2.0.json)", "masks (classes.json, classes, images)"),
)
"""The formats in words."""
