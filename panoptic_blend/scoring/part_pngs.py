"""The PNGs that a part of a run has scored, by which ``pq merge`` notices that one has changed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoptic_blend.formats.archives import Folder
from panoptic_blend.scoring.file_pairs import ScoredPng
from panoptic_blend.structures import PanopticBlendError, Progress


@dataclass(frozen=True)
class PartPngs:
    """The folders or zips of the PNGs of the truth and of S result sets, and what was found in them.

    ``sizes`` are `FilePairs.map_digests` of each set, of all images; ``scored`` has, for each image of the part, the
    PNG in each of the S + 1 ``folders``, None for an image without a prediction.
    """

    folders: Sequence[Path]
    sizes: Sequence[Sequence[str]]
    scored: Sequence[Sequence[ScoredPng | None]]

    def record(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"folders": [str(path) for path in self.folders], "sizes": self.sizes, "scored": self.scored}

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> PartPngs:
        """Read what `record` returned; ValueError, TypeError or LookupError for anything else."""
        folders = [Path(path) for path in record["folders"]]
        scored = [[None if png is None else ScoredPng(*png) for png in pngs] for pngs in record["scored"]]
        for pngs in scored:
            if len(pngs) != len(folders) or not all(isinstance(png.name, str) for png in pngs if png):
                raise ValueError("PNGs")
        return cls(folders, record["sizes"], scored)


def require_unchanged(parts: Mapping[Path, PartPngs], progress: Progress | None = None) -> str | None:
    """Compare the PNGs that parts, by their files, have scored with those that are in the folders now.

    Returns a remark about PNGs that are not there any more, so that they cannot be compared; None if all are there.

    Raises:
        PanopticBlendError: a PNG has changed.
    """
    absent: Counter[Path] = Counter()
    done, total = 0, sum(len(part.scored) for part in parts.values())
    for file, part in parts.items():
        folders = [_opened(path, [pngs[place] for pngs in part.scored]) for place, path in enumerate(part.folders)]
        for pngs in part.scored:
            for path, folder, png in zip(part.folders, folders, pngs, strict=True):
                now = folder.checksum(png.name) if folder and png else None
                if png and now is None:
                    absent[path] += 1
                elif png and now != png.checksum:
                    raise PanopticBlendError(
                        f"{path / png.name}: has changed since it was scored for {file}; run that part again"
                    )
            done += 1
            if progress:
                progress(done, total)
    found = ", ".join(f"{count} PNGs of {path}" for path, count in absent.items())
    return f"not checked for changes, as they are not there any more: {found}" if found else None


def _opened(path: Path, pngs: Sequence[ScoredPng | None]) -> Folder | None:
    """The folder or zip of ``pngs``; None if there is none."""
    try:
        exists = path.exists()
    except OSError:  # a name that is too long, in a damaged file
        exists = False
    return Folder(path, next((png.name for png in pngs if png), None)) if exists else None
