"""Read and write results of detection and instance segmentation in COCO's format: a list with a record per detection.

The format is that of https://cocodataset.org/#format-results, read as ``loadRes`` of pycocotools reads it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.files import replacing
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.result_columns import ResultColumns
from panoptic_blend.instances import FoundInstances
from panoptic_blend.structures import ImageId, Size

FILE_NAME = "instances_results.json"
"""The name under which the library writes results."""

Record = dict[str, Any]


def result_records(image_id: ImageId, found: FoundInstances) -> Iterator[Record]:
    """Yield the JSON records of the detections of an image, with all digits of boxes and scores."""
    for i in range(len(found)):
        record: Record = {
            "image_id": image_id,
            "category_id": int(found.category_ids[i]),
            "bbox": found.boxes[i].tolist(),
            "score": float(found.scores[i]),
        }
        if found.masks is not None:
            record["segmentation"] = {"size": list(found.size), "counts": found.masks[i].decode("ascii")}
        yield record


@contextmanager
def writing_results(path: Path) -> Iterator[InstanceResultsWriter]:
    """Write the file ``path``, which replaces an earlier one when the block ends without an error."""
    with replacing(path, durable=True) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write("[")
        yield InstanceResultsWriter(file)
        file.write("\n]\n")


class InstanceResultsWriter:
    """Writes detections to a file as they are added, one record a line; made by `writing_results`."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._separator = file, "\n"

    def add(self, image_id: ImageId, found: FoundInstances) -> None:
        """Write the detections of an image."""
        self.append(result_records(image_id, found))

    def append(self, records: Iterable[Record]) -> None:
        """Write records that `result_records` made, for example in another process."""
        for record in records:
            self._file.write(self._separator + json.dumps(record))
            self._separator = ",\n"


@dataclass(frozen=True, eq=False)
class InstanceResults:
    """The results of the file ``path``, grouped by the images of the truth."""

    path: Path
    total: int
    """The number of results in the file."""
    has_masks: bool
    additional: Counter[ImageId]
    """The number of results that were left out, by their image, which the truth lacks."""
    unknown: Counter[int]
    """The number of results that were left out, by their category, which the truth lacks."""
    _sizes: Mapping[ImageId, Size]
    _rows: Mapping[ImageId, npt.NDArray[np.int64]]
    _columns: ResultColumns

    @property
    def images(self) -> Collection[ImageId]:
        """The images of the truth that have results."""
        return self._rows.keys()

    def box_doubt(self) -> str | None:
        """What the boxes seem to be instead of x, y, width and height in pixels; None if they look sound."""
        return self._columns.box_doubt()

    def of(self, image_id: ImageId) -> FoundInstances:
        """The detections of an image of the truth, in the order of the file, none if it has no results.

        As in ``loadRes``, areas are those of the boxes if the first result of the file has a box, also for masks; else
        areas, and missing boxes, are those of the masks.
        """
        return self._columns.found(self._rows.get(image_id, _NO_ROWS), self._sizes[image_id])

    def positions(self, image_id: ImageId) -> npt.NDArray[np.int64]:
        """The positions (D,) of these detections in the list of the file, from 0."""
        return self._columns.positions(self._rows.get(image_id, _NO_ROWS))


_NO_ROWS = np.zeros(0, np.int64)


def read_instance_results(
    path: Path, sizes: Mapping[ImageId, Size], category_ids: Collection[int], owner: str
) -> InstanceResults:
    """Read COCO results: boxes, or masks as run lengths, compressed or not, or as polygons, or both.

    Args:
        path: the file.
        sizes: height and width of each image of the truth.
        category_ids: those of the truth.
        owner: the name of the file of the truth, for messages.

    Raises:
        PanopticBlendError: the file is not a list of COCO results, a result is malformed, some have masks and others
            have none, or all are of other images or categories than the truth.
    """
    columns = ResultColumns(path.name, sizes, category_ids, owner)
    columns.finish(read_json(path, columns.pack))
    numbers = np.frombuffer(columns.images, np.int64)
    order, ids = np.argsort(numbers, kind="stable"), list(sizes)
    found, starts = np.unique(numbers[order], return_index=True)
    rows = zip([ids[i] for i in found.tolist()], np.split(order, starts)[1:], strict=True)
    return InstanceResults(
        path, columns.total, columns.has_masks, columns.additional, columns.unknown, sizes, dict(rows), columns
    )
