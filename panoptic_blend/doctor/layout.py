"""Where the parts of the splits of a COCO root lie, whether they are there or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.kinds import Finding
from panoptic_blend.doctor.records import Contents, file_name
from panoptic_blend.formats.archives import Folder, first_present
from panoptic_blend.structures import PanopticBlendError

PREFIX = "panoptic_"


@dataclass(frozen=True)
class Parts:
    """The parts of one split; ``maps`` is a folder or a zip."""

    name: str
    json: Path
    pictures: Path
    maps: Path
    instances: Path

    def inputs(self) -> Iterator[Path]:
        """What is never written to."""
        yield from (self.json, self.pictures, self.maps, self.instances)


def find_splits(root: Path, only: str | None = None) -> list[Parts]:
    """All splits with a panoptic JSON, training first; or one by name.

    Raises:
        PanopticBlendError: there is no such folder, nothing to check in it, or no such split.
    """
    if not root.is_dir():
        raise PanopticBlendError(f"{root}: no such folder; give the root of a COCO panoptic data set")
    found = sorted(path.stem.removeprefix(PREFIX) for path in (root / "annotations").glob(f"{PREFIX}*.json"))
    if not found:
        raise PanopticBlendError(f"{root}: no annotations/{PREFIX}*.json in it; give the root of a COCO data set")
    if only is not None and only not in found:
        raise PanopticBlendError(f"{root}: no annotations/{PREFIX}{only}.json; the splits are {', '.join(found)}")
    names = sorted(found, key=lambda name: (not is_training(name), name)) if only is None else [only]
    return [_parts(root, name) for name in names]


def is_training(split: str) -> bool:
    """Whether a model learns from it, by its name."""
    return split.startswith("train")


def _parts(root: Path, split: str) -> Parts:
    annotations, name = root / "annotations", f"{PREFIX}{split}"
    maps = first_present([annotations / name, root / name])
    return Parts(split, annotations / f"{name}.json", root / split, maps, annotations / f"instances_{split}.json")


def open_folders(parts: Parts, contents: Contents) -> tuple[Folder | None, Folder | None, list[Finding]]:
    """The folders of pictures and of PNGs, None with a finding for one that is not there."""
    findings: list[Finding] = []
    examples = (next(filter(None, map(file_name, r)), None) for r in (contents.images, contents.annotations))
    pictures, maps = (
        _open(path, what, example, findings)
        for path, what, example in zip((parts.pictures, parts.maps), ("pictures", "PNGs"), examples, strict=True)
    )
    return pictures, maps, findings


def _open(path: Path, what: str, example: str | None, findings: list[Finding]) -> Folder | None:
    if not path.exists():
        findings.append(Finding(kinds.FOLDER_MISSING, f"{path}: no folder of {what}"))
        return None
    try:
        return Folder(path, example)
    except PanopticBlendError as error:
        findings.append(Finding(kinds.FOLDER_MISSING, str(error)))
        return None
