"""Prediction as a function of columns, for engines that spread collections of any size: Ray Data, Spark and others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.config.precisions import Precision
from panoptic_blend.formats.addresses import location_of, read_picture_at
from panoptic_blend.formats.images import Picture, decode_picture, encode_segment_ids
from panoptic_blend.formats.panoptic_writer import segment_records
from panoptic_blend.inference.predictor import Predictor, load
from panoptic_blend.structures import PanopticBlendError

PNG, SEGMENTS, ERROR = "panoptic_png", "segments_info", "error"
"""The columns that `PredictBatches` adds."""

_BYTES = (bytes, bytearray, memoryview)


@dataclass
class PredictBatches:
    """A picklable function that predicts batches of pictures, given as columns; the first call loads the model.

    It is made for ``map_batches`` of Ray Data in the format ``numpy``, and takes and gives a dictionary of columns. To
    the given ones it adds ``panoptic_png``, the panoptic map as the bytes of a COCO PNG; ``segments_info``, the JSON
    text of its segments as in COCO panoptic files; and ``error``, empty unless the picture cannot be predicted, in
    which case the PNG is empty and there are no segments. The column of pictures is left out if it holds bytes.

    Args:
        model: a checkpoint or anything else that `predictor.load` takes; every machine must see it.
        weights: as in `predictor.load`.
        column: the column of the pictures: bytes of picture files, paths, or addresses that fsspec knows.
        device: as in `predictor.load`, but by default the best there is.
        overrides: ``key=value`` changes to the config.
        precision: arithmetic of the network.
    """

    model: str | Path
    weights: str | Path | None = None
    column: str = "bytes"
    device: str = "auto"
    overrides: Iterable[str] = ()
    precision: Precision = "32-true"
    _predictor: Predictor | None = field(default=None, init=False, repr=False, compare=False)

    def __call__(self, batch: Mapping[str, Sequence[Any] | npt.NDArray[Any]]) -> dict[str, Any]:
        """Predict a batch; returns its columns and the new ones.

        Raises:
            PanopticBlendError: the model cannot be loaded, or the batch lacks the column.
        """
        if self.column not in batch:
            raise PanopticBlendError(f"the batch has no column {self.column!r}; give one of {', '.join(batch)}")
        if self._predictor is None:
            self._predictor = load(self.model, self.weights, self.device, tuple(self.overrides), self.precision)
        pictures = batch[self.column]
        rows = [_predicted(self._predictor, picture) for picture in pictures]
        holds_bytes = any(isinstance(picture, _BYTES) for picture in pictures)
        kept = {name: values for name, values in batch.items() if not (holds_bytes and name == self.column)}
        return {**kept, **{name: _column([row[name] for row in rows]) for name in (PNG, SEGMENTS, ERROR)}}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_predictor": None}


def _predicted(predictor: Predictor, given: Any) -> dict[str, bytes | str]:
    try:
        pixels = _picture(given)
        panoptic = predictor.run(predictor.prepare(pixels), pixels.shape[:2]).panoptic
    except PanopticBlendError as error:
        return {PNG: b"", SEGMENTS: "[]", ERROR: str(error)}
    segments = json.dumps(segment_records(panoptic))
    return {PNG: encode_segment_ids(panoptic.segment_ids), SEGMENTS: segments, ERROR: ""}


def _picture(given: Any) -> Picture:
    if isinstance(given, _BYTES):
        return decode_picture(bytes(given), "bytes of a picture")
    if isinstance(given, str | Path):
        return read_picture_at(location_of(str(given)))
    raise PanopticBlendError(f"a {type(given).__name__} is not a picture; give bytes, a path or an address")


def _column(values: list[bytes | str]) -> npt.NDArray[np.object_]:
    """Values as objects: an array of bytes would lose zeros at their ends."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
