"""Pack a data set on disk in the archives of the COCO server."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

from file_server import Served

APPLE = {"__MACOSX/._x.json": b"\0\5\x16\7", "annotations/.DS_Store": b"\0"}
PANOPTIC = "/annotations/panoptic_annotations_trainval2017.zip"
INSTANCES = "/annotations/annotations_trainval2017.zip"


def packed(files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """The bytes of a zip archive with the given files."""
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
    """The files of a folder as NAME/FILE, after an entry for the folder itself."""
    return {f"{path.name}/": b"", **{f"{path.name}/{x.name}": x.read_bytes() for x in sorted(path.iterdir())}}


def official(root: Path, *splits: str) -> dict[str, Served]:
    """The files of a server that serves the data set in ``root`` as COCO is served, by path."""
    annotations, panoptic, instances = root / "annotations", dict(APPLE), dict(APPLE)
    pictures = {}
    for split in splits:
        name = f"panoptic_{split}"
        panoptic[f"annotations/{name}.json"] = (annotations / f"{name}.json").read_bytes()
        panoptic[f"annotations/{name}.zip"] = packed({**folder_of(annotations / name), **APPLE})
        instances[f"annotations/instances_{split}.json"] = b'{"annotations": []}'
        instances[f"annotations/captions_{split}.json"] = b"{}"
        pictures[f"/zips/{split}.zip"] = Served(packed(folder_of(root / split)))
    archives = {
        path: Served(packed(files, zipfile.ZIP_DEFLATED))
        for path, files in ((PANOPTIC, panoptic), (INSTANCES, instances))
    }
    return {**archives, **pictures}
