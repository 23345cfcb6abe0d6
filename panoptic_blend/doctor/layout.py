"""Locate the JSON files and folders of each split below a COCO root."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.kinds import Finding
from panoptic_blend.doctor.records import Contents
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.coco_layout import maps_of
from panoptic_blend.formats.json_fields import file_name
from panoptic_blend.structures import PanopticBlendError

PREFIX = "panoptic_"


@dataclass(frozen=True)
class SplitPaths:
    """The files and folders of one split, whether they exist or not; ``maps`` is a folder or a zip."""

    name: str
    json: Path
    pictures: Path
    maps: Path
    instances: Path

    def inputs(self) -> Iterator[Path]:
        """The paths that a check reads and never writes to."""
        yield from (self.json, self.pictures, self.maps, self.instances)


def find_splits(root: Path, only: str | None = None) -> list[SplitPaths]:
    """Find all splits that have a panoptic JSON, training splits first; or only the split named ``only``.

    Raises:
        PanopticBlendError: the folder does not exist, has no panoptic JSON or only one of instances, or lacks the split
            ``only``.
    """
    if not root.is_dir():
        raise PanopticBlendError(f"{root}: no such folder; give the root of a COCO panoptic data set")
    found = sorted(path.stem.removeprefix(PREFIX) for path in (root / "annotations").glob(f"{PREFIX}*.json"))
    others = sorted((root / "annotations").glob(f"instances_{only or '*'}.json"))
    if others and (not found or (only and only not in found)):
        raise PanopticBlendError(
            f"{others[0]}: COCO instances are not checked; make a panoptic data set of them with `panoptic-blend data "
            "convert coco-instances`, which says what is malformed, and check that"
        )
    if not found:
        raise PanopticBlendError(f"{root}: has no annotations/{PREFIX}*.json; give the root of a COCO data set")
    if only is not None and only not in found:
        raise PanopticBlendError(f"{root}: has no annotations/{PREFIX}{only}.json; choose from {', '.join(found)}")
    names = sorted(found, key=lambda name: (not is_training(name), name)) if only is None else [only]
    return [_split_paths(root, name) for name in names]


def is_training(split: str) -> bool:
    """Whether a split is for training, judged by its name."""
    return split.lower().startswith("train")


def _split_paths(root: Path, split: str) -> SplitPaths:
    annotations = root / "annotations"
    json_path = annotations / f"{PREFIX}{split}.json"
    return SplitPaths(
        name=split,
        json=json_path,
        pictures=root / split,
        maps=maps_of(json_path),
        instances=annotations / f"instances_{split}.json",
    )


def open_folders(paths: SplitPaths, contents: Contents) -> tuple[Folder | None, Folder | None, list[Finding]]:
    """Open the folders of pictures and of PNGs; a folder that cannot be opened is None and gives a finding."""
    findings: list[Finding] = []
    examples = (next(filter(None, map(file_name, r)), None) for r in (contents.images, contents.annotations))
    pictures, maps = (
        _open(path, content, example, findings)
        for path, content, example in zip((paths.pictures, paths.maps), ("pictures", "PNGs"), examples, strict=True)
    )
    return pictures, maps, findings


def _open(path: Path, content: str, example: str | None, findings: list[Finding]) -> Folder | None:
    if not path.exists():
        other = path.parent / "images" / path.name  # as Datumaro and YOLO have it
        place = f", but there is {other}; move it to {path}" if other.is_dir() else ""
        findings.append(Finding(kinds.FOLDER_MISSING, f"{path}: no folder of {content}{place}"))
        return None
    try:
        return Folder(path, example)
    except PanopticBlendError as error:
        findings.append(Finding(kinds.FOLDER_MISSING, str(error)))
        return None
