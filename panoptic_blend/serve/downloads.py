"""What the page shows and offers of one picture: its map and segments, and files to download."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any

from panoptic_blend.drawing.overlay import draw
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import Picture, encode_picture, encode_segment_ids
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.interchange.label_writer import Context, Drawing
from panoptic_blend.interchange.labelme import LabelMe
from panoptic_blend.interchange.source import LabeledPicture, regions_of
from panoptic_blend.pages.pictures import bounded, index_runs, packed
from panoptic_blend.structures import PanopticMap

VIEW_SIDE = 1280
"""The maximum long side of the photo and the map on the page, in pixels."""


def view(panoptic: PanopticMap, categories: Categories) -> dict[str, Any]:
    """The map for the page, and its segments as rows: id, class (from 1), area, score or None."""
    places = categories.places
    shown = [segment for segment in panoptic.segments if segment.area]
    height, width = bounded(panoptic.segment_ids.shape, VIEW_SIDE)
    return {
        "width": width,
        "height": height,
        "map": packed(index_runs(panoptic.with_segments(shown), (height, width))),
        "segments": [[s.id, places[s.category] + 1, s.area, s.score and round(s.score, 4)] for s in shown],
    }


@dataclass(frozen=True)
class Source:
    """What the files are made of: the name of the picture, a function that decodes it, its map, and the categories."""

    name: str
    picture: Callable[[], Picture]
    panoptic: PanopticMap
    categories: Categories


@dataclass(frozen=True)
class Download:
    """A file of a picture; ``ending`` is added to the name of the picture without its suffix."""

    ending: str
    media_type: str
    make: Callable[[Source], bytes]

    def name_for(self, picture: str) -> str:
        """The name of the file for the picture of this name."""
        return f"{PurePath(picture).stem}{self.ending}"


def _map(source: Source) -> bytes:
    return encode_segment_ids(source.panoptic.segment_ids)


def _coco(source: Source) -> bytes:
    """``panoptic.json`` and the folder ``panoptic``, as `PanopticWriter` writes them, in one file."""
    with tempfile.TemporaryDirectory(prefix="panoptic-blend-") as temporary:
        path = Path(temporary) / "panoptic.json"
        with PanopticWriter(path, categories=source.categories) as writer:
            writer.add(1, source.name, source.panoptic)
        content = BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in (path, *writer.folder.iterdir()):
                archive.write(file, file.relative_to(path.parent))
    return content.getvalue()


def _labelme(source: Source) -> bytes:
    """Polygons and masks to correct in LabelMe, which looks for the picture beside the file."""
    with tempfile.TemporaryDirectory(prefix="panoptic-blend-") as temporary:
        context = Context(Path(temporary), "", source.categories, Drawing(), has_scores=True, are_found=True)
        size, regions = source.panoptic.segment_ids.shape, regions_of(source.panoptic, source.categories)
        LabelMe(context).add(LabeledPicture(1, source.name, size, source.panoptic, regions))
        [path] = context.folder.iterdir()
        return path.read_bytes()


def _drawing(source: Source) -> bytes:
    return encode_picture(Path("drawing.jpg"), draw(source.picture(), source.panoptic, source.categories))


FILES = {
    "map.png": Download(".png", "image/png", _map),
    "coco.zip": Download("_coco.zip", "application/zip", _coco),
    "labelme.json": Download(".json", "application/json", _labelme),
    "drawing.jpg": Download("_drawing.jpg", "image/jpeg", _drawing),
}
"""What can be downloaded of a picture, by the last part of its address."""
