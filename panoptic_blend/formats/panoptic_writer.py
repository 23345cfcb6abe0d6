"""Write panoptic maps as COCO panoptic JSON + PNG."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType

from panoptic_blend.files import inside, replacing
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import write_segment_ids
from panoptic_blend.structures import Category, ImageId, PanopticMap, Segment


class PanopticWriter:
    """A context manager that writes panoptic maps as COCO panoptic JSON + PNG.

    Each PNG is written when its map is added, and the JSON, atomically, when the block ends without an error. An
    existing JSON is therefore always complete.

    Args:
        json_path: where to write the JSON.
        folder: where to write the PNGs; by default a folder beside the JSON with its stem as the name.
        categories: the categories of the data set.
    """

    def __init__(
        self, json_path: Path, folder: Path | None = None, *, categories: Sequence[Category | Mapping[str, object]]
    ) -> None:
        self.json_path, self.folder = json_path, folder or json_path.with_suffix("")
        self._categories = Categories(categories)
        self._written: set[str] = set()
        self._images: list[dict[str, object]] = []
        self._annotations: list[dict[str, object]] = []

    def __enter__(self) -> PanopticWriter:
        self.json_path.unlink(missing_ok=True)
        return self

    @property
    def records(self) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """The ``images`` and ``annotations`` of the JSON so far."""
        return self._images, self._annotations

    def reserve(self, file_names: Iterable[str]) -> None:
        """Do not use the PNG names of these images, because another writer writes them to the same folder."""
        self._written.update(_png(name) for name in file_names)

    def append(self, images: Iterable[dict[str, object]], annotations: Iterable[dict[str, object]]) -> None:
        """Append `records`, such as those of another writer to the same folder."""
        self._images.extend(images)
        self._annotations.extend(annotations)

    def add(self, image_id: ImageId, file_name: str, panoptic: PanopticMap) -> None:
        """Write the map of one image and append its records; segments without pixels are left out."""
        image, annotation = self.save(image_id, file_name, panoptic)
        self.append([image], [annotation])

    def save(
        self, image_id: ImageId, file_name: str, panoptic: PanopticMap, png: str | None = None
    ) -> tuple[dict[str, object], dict[str, object]]:
        """Write the PNG of one image; returns its ``images`` and ``annotations`` records, for `append`.

        ``png`` is its name, by default that of the image with the suffix ``.png``.
        """
        png = png or _png(file_name)
        if png in self._written:  # for example a.png after a.jpg
            png = f"{file_name}.{image_id}.png"
        write_segment_ids(inside(self.folder, png), panoptic.segment_ids)
        height, width = panoptic.segment_ids.shape
        self._written.add(png)
        image: dict[str, object] = {"id": image_id, "file_name": file_name, "height": height, "width": width}
        return image, {"image_id": image_id, "file_name": png, "segments_info": segment_records(panoptic)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            content = {
                "images": self._images,
                "annotations": self._annotations,
                "categories": self._categories.records(),
            }
            with replacing(self.json_path, durable=True) as temporary:
                temporary.write_text(json.dumps(content), encoding="utf-8")


def segment_records(panoptic: PanopticMap) -> list[dict[str, object]]:
    """The ``segments_info`` of a map; segments without pixels are left out."""
    if not all(segment.box for segment in panoptic.segments):  # maps of other tools are not measured
        panoptic = panoptic.measure()
    return [segment_record(segment) for segment in panoptic.segments if segment.box]


def _png(file_name: str) -> str:
    return str(PurePosixPath(file_name).with_suffix(".png"))


def segment_record(segment: Segment) -> dict[str, object]:
    """The record of a segment in ``segments_info``; that of one without pixels has an empty box."""
    x0, y0, x1, y1 = segment.box or (0, 0, 0, 0)
    record: dict[str, object] = {
        "id": segment.id,
        "category_id": segment.category,
        "iscrowd": int(segment.is_crowd),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": segment.area,
    }
    return record if segment.score is None else record | {"score": round(segment.score, 6)}
