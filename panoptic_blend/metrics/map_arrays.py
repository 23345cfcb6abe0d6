"""Read the arrays and tensors of panoptic maps, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import PanopticBlendError

Ids = npt.NDArray[np.integer]


def read_ids(value: Any, name: str) -> Ids:
    """Read the ids (H, W) of a map as integers; see `read_whole_numbers`."""
    ids = read_whole_numbers(value, name)
    if ids.ndim != 2:
        raise PanopticBlendError(f"{name}: ids have shape {ids.shape}, not (height, width); give the map of one image")
    return ids


def read_whole_numbers(value: Any, name: str) -> Ids:
    """Read an array or a tensor on any device; floats must be whole, anything else is a PanopticBlendError."""
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError):  # bfloat16, which numpy lacks, and lists of unequal length
        raise PanopticBlendError(
            f"{name}: a map of {getattr(value, 'dtype', type(value).__name__)}; give an integer array"
        ) from None
    return _whole(array, name) if array.dtype.kind == "f" else _require_integers(array, name)


def _whole(array: npt.NDArray[np.floating[Any]], name: str) -> Ids:
    """Convert whole floats; transformers gives a float map of -1 where it has found nothing."""
    if not (np.isfinite(array) & (array == np.floor(array))).all():
        raise PanopticBlendError(f"{name}: a map of {array.dtype} with fractions; give an integer array")
    if (abs(array) > 2 ** (np.finfo(array.dtype).nmant + 1)).any():
        raise PanopticBlendError(
            f"{name}: a map of {array.dtype} with ids that this type cannot tell apart; give an integer array"
        )
    return array.astype(np.int64)


def _require_integers(array: npt.NDArray[Any], name: str) -> Ids:
    if array.dtype.kind not in "iu":
        raise PanopticBlendError(f"{name}: a map of {array.dtype}; give an integer array")
    return array


def unique_pairs(first: Ids, second: Ids) -> tuple[Ids, npt.NDArray[np.intp]]:
    """The distinct pairs (m, 2) of two arrays (n,), in ascending order, and the index (n,) of each pair among them."""
    starts, lengths = _runs(first, second)  # regions are compact, so that there are far fewer runs than pixels
    first, second = first[starts], second[starts]
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    distinct, _ = _runs(first, second)
    numbers = np.zeros(len(order), dtype=np.intp)
    numbers[distinct[1:]] = 1
    inverse = np.empty_like(numbers)
    inverse[order] = np.cumsum(numbers)
    return np.stack([first[distinct], second[distinct]], axis=1), np.repeat(inverse, lengths)


def _runs(first: Ids, second: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Starts and lengths of the runs of equal pairs in two arrays (n,)."""
    is_start = np.ones(len(first), dtype=np.bool_)
    is_start[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    starts = np.flatnonzero(is_start)
    return starts, np.diff(starts, append=len(first))
