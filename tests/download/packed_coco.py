"""A data set on disk, packed as the COCO server has its own."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

from file_server import Served

APPLE = {"__MACOSX/._x.json": b"\0\5\x16\7", "annotations/.DS_Store": b"\0"}
PANOPTIC = "/annotations/panoptic_annotations_trainval2017.zip"
THINGS = "/annotations/annotations_trainval2017.zip"


def packed(files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    content = io.BytesIO()
    with ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    """The files of a zip archive."""
    with ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def folder_of(path: Path) -> dict[str, bytes]:
    """The files of a folder, under its name, and the entry of the folder itself."""
    return {f"{path.name}/": b"", **{f"{path.name}/{x.name}": x.read_bytes() for x in sorted(path.iterdir())}}


def official(root: Path, *splits: str) -> dict[str, Served]:
    """What a server has that serves the data set in ``root`` as COCO is served, by path."""
    annotations, panoptic, things = root / "annotations", dict(APPLE), dict(APPLE)
    pictures = {}
    for split in splits:
        name = f"panoptic_{split}"
        panoptic[f"annotations/{name}.json"] = (annotations / f"{name}.json").read_bytes()
        panoptic[f"annotations/{name}.zip"] = packed({**folder_of(annotations / name), **APPLE})
        things[f"annotations/instances_{split}.json"] = b'{"annotations": []}'
        things[f"annotations/captions_{split}.json"] = b"{}"
        pictures[f"/zips/{split}.zip"] = Served(packed(folder_of(root / split)))
    archives = {
        path: Served(packed(files, zipfile.ZIP_DEFLATED)) for path, files in ((PANOPTIC, panoptic), (THINGS, things))
    }
    return {**archives, **pictures}
