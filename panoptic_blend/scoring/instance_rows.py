"""Rows of the long tables of ``ap --details``: each detection that counts and each true instance, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.instance_columns import Bools
from panoptic_blend.metrics.instance_errors import CAUSES, NOTHING, Diagnosis
from panoptic_blend.metrics.instance_report import Kind
from panoptic_blend.metrics.sparse import Floats, Integers
from panoptic_blend.scoring.csv_tables import Row
from panoptic_blend.scoring.instance_files import InstanceFiles

Cells = npt.NDArray[np.object_]
"""Cells of a column (n,); None is an empty one."""

_DETECTION: dict[str, type] = {
    **dict.fromkeys(("result", "category"), int),
    "class": str,
    **dict.fromkeys(("score", "x", "y", "width", "height"), float),
}
_INSTANCE: dict[str, type] = {"annotation": int, "category": int, "class": str, "area": float, "is_crowd": int}
_OF_DETECTION = {"outcome": str, "annotation": int, "iou": float, "cause": str}
_NEAREST = {"nearest": int, "nearest_class": str, "nearest_iou": float}
_OF_INSTANCE = {"outcome": str, "result": int, "score": float, "iou": float, "cause": str}


def detection_columns(kinds: Sequence[Kind]) -> dict[str, type]:
    """Names and types of the columns of `InstanceRows.detections`."""
    own = {f"{kind}_{name}": cell for kind in kinds for name, cell in (_OF_DETECTION | _NEAREST).items()}
    return _DETECTION | own | {"file_name": str}


def instance_columns(kinds: Sequence[Kind]) -> dict[str, type]:
    """Names and types of the columns of `InstanceRows.instances`."""
    return (
        _INSTANCE
        | {f"{kind}_{name}": cell for kind in kinds for name, cell in _OF_INSTANCE.items()}
        | {"file_name": str}
    )


class InstanceRows:
    """The rows of both tables, with the causes of the errors of the first result set."""

    def __init__(self, files: InstanceFiles, diagnoses: Mapping[Kind, Diagnosis]) -> None:
        first = next(iter(diagnoses.values()))
        images, results = files.truth.images, files.results[0]
        names = {category.id: category.name for category in files.truth.categories}
        self._columns, self._diagnoses = first.columns, diagnoses
        self._ids, self._file_names = images.ids, images.file_names
        numbers = np.arange(len(images) + 1)
        self._found_at = np.searchsorted(first.columns.image, numbers)
        self._true_at = np.searchsorted(first.columns.truth_image, numbers)
        results_of, boxes = [], []
        for image_id, start, stop in zip(images.ids, self._found_at[:-1], self._found_at[1:], strict=True):
            results_of.append(results.positions(image_id)[first.order[start:stop]])
            boxes.append(results.of(image_id).boxes[first.order[start:stop]])
        self._result, self._boxes = np.concatenate(results_of), np.concatenate(boxes)
        ids = np.concatenate([images.annotation_ids(number) for number in range(len(images))])
        self._annotation = _unless(ids < 0, ids)
        self._class = _named(first.columns.category, names)
        self._true_class = _named(first.columns.truth_category, names)

    def detections(self) -> Iterator[Row]:
        """Yield a row for each detection that counts, the best 100 of each class and image, by class and score."""
        columns = self._columns
        cells = [self._result, columns.category, self._class, columns.scores, *self._boxes.T]
        for diagnosis in self._diagnoses.values():
            cells += [*self._of_detections(diagnosis), *self._nearest(diagnosis)]
        return self._rows(self._found_at, cells)

    def instances(self) -> Iterator[Row]:
        """Yield a row for each true instance, in the order of the file."""
        columns = self._columns
        cells = [self._annotation, columns.truth_category, self._true_class, columns.truth_area]
        cells.append(columns.truth_is_crowd.astype(np.int64))
        for diagnosis in self._diagnoses.values():
            cells += self._of_instances(diagnosis)
        return self._rows(self._true_at, cells)

    def _of_detections(self, diagnosis: Diagnosis) -> list[Cells]:
        outcome = np.where(diagnosis.is_ignored, "ignored", np.where(diagnosis.match == NOTHING, "fp", "tp"))
        annotation = _at(self._annotation, diagnosis.match)
        return [
            outcome.astype(object),
            annotation,
            _unless(np.isnan(diagnosis.iou), diagnosis.iou),
            _caused(diagnosis.cause),
        ]

    def _nearest(self, diagnosis: Diagnosis) -> list[Cells]:
        near = diagnosis.nearest
        is_other = near.other_iou > near.own_iou
        rows, iou = np.where(is_other, near.other, near.own), np.where(is_other, near.other_iou, near.own_iou)
        return [_at(self._annotation, rows), _at(self._true_class, rows), iou]

    def _of_instances(self, diagnosis: Diagnosis) -> list[Cells]:
        rows, is_crowd = diagnosis.truth_match, self._columns.truth_is_crowd
        outcome = np.where(is_crowd, "ignored", np.where(rows == NOTHING, "fn", "tp")).astype(object)
        found = [_at(values, rows) for values in (self._result, self._columns.scores, diagnosis.iou)]
        return [outcome, *found, _caused(diagnosis.truth_cause)]

    def _rows(self, starts: Integers, cells: Sequence[npt.NDArray[np.generic]]) -> Iterator[Row]:
        for number, image_id in enumerate(self._ids):
            own = slice(starts[number], starts[number + 1])
            name = self._file_names[number] or None
            for row in zip(*(column[own].tolist() for column in cells), strict=True):
                yield image_id, *row, name


def _named(category_ids: Integers, names: Mapping[int, str]) -> Cells:
    return np.array([names[category_id] for category_id in category_ids.tolist()], dtype=object)


def _at(values: Cells | Integers | Floats, rows: Integers) -> Cells:
    """The cells of ``values`` (m,) at ``rows`` (n,), empty for `NOTHING`."""
    return _unless(rows == NOTHING, values[np.maximum(rows, 0)]) if len(values) else np.full(len(rows), None)


def _unless(is_empty: Bools, values: Cells | Integers | Floats) -> Cells:
    cells = values.astype(object)
    cells[is_empty] = None
    return cells


_CAUSES = np.array([*CAUSES, None], dtype=object)


def _caused(causes: Integers) -> Cells:
    cells: Cells = _CAUSES[causes]
    return cells
