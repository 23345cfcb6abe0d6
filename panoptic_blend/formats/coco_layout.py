"""Find the files of a COCO panoptic data set in the usual layouts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.formats.archives import Folder, first_existing
from panoptic_blend.formats.coco_panoptic import Annotations
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class Split:
    """Paths of the parts of one split."""

    pictures: Path
    json: Path
    maps: Path
    """A folder of PNGs, or a zip, which is read without extracting it."""


def find_root(root: str | None) -> Path:
    """Root of the data set: ``root``, else $PANOPTIC_BLEND_DATA, $DETECTRON2_DATASETS/coco, or ./datasets/coco."""
    if root is not None:
        return Path(root)
    if "PANOPTIC_BLEND_DATA" in os.environ:
        return Path(os.environ["PANOPTIC_BLEND_DATA"])
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "coco"


def find_split(root: Path, split: str) -> Split:
    """Find a split in the layout of COCO, detectron2 or mmdetection.

    Raises:
        PanopticBlendError: the folder or one of its parts is missing.
    """
    if not root.is_dir():
        raise PanopticBlendError(f"{root}: no such folder; set data.root or PANOPTIC_BLEND_DATA to your data set")
    json_path = _panoptic_json(root, split)
    parts = Split(root / split, json_path, maps_of(json_path))
    for path in (parts.json, parts.pictures, parts.maps):
        if not path.exists():
            remedy = f"a COCO panoptic split `{split}` needs it"
            if path == parts.json and find_instances(root, split):
                remedy += (
                    ": make it with `panoptic-blend data convert coco-instances`; only a model of instances alone "
                )
                remedy += "(model.semantic.enabled=false) needs none, with data.things=instances"
            elif path == parts.json and (others := _panoptic_splits(root)):
                remedy += f"; the data set has {', '.join(others)}"
            raise PanopticBlendError(f"{path}: missing; {remedy}")
    return parts


def _panoptic_splits(root: Path) -> list[str]:
    return sorted(path.stem.removeprefix("panoptic_") for path in (root / "annotations").glob("panoptic_*.json"))


def find_instances(root: Path, split: str) -> Path | None:
    """The COCO instances JSON of a split; None if there is none."""
    path = root / "annotations" / f"instances_{split}.json"
    return path if path.exists() else None


def has_panoptic(root: Path, split: str) -> bool:
    """Whether a split has a COCO panoptic JSON."""
    return _panoptic_json(root, split).exists()


def _panoptic_json(root: Path, split: str) -> Path:
    return root / "annotations" / f"panoptic_{split}.json"


def maps_of(json_path: Path) -> Path:
    """The folder or zip of PNGs named as the JSON is, beside it or beside ``annotations``, whether it exists or not."""
    name = json_path.stem
    return first_existing([json_path.parent / name, json_path.parent.parent / name])


def maps_folder(json_path: Path, folder: str | Path | None, annotations: Annotations) -> Folder:
    """Open the folder or zip of the PNGs: ``folder``, else `maps_of` the JSON."""
    path = maps_of(json_path) if folder is None else Path(folder)
    if not path.exists():
        raise PanopticBlendError(f"{path}: no such folder; say where the PNGs of {json_path.name} are")
    return Folder(path, example=next(iter(annotations.pngs), None))
