"""Pictures as callers of `Predictor` have them: paths, bytes, arrays, tensors, PIL images, and many of these."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard, Union

import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.images import Picture, decode_picture, eight_bits, read_picture
from panoptic_blend.structures import OVERSHOOT, Output, PanopticBlendError, PanopticMap

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

GivenPicture: TypeAlias = Union[str, os.PathLike[str], bytes, npt.NDArray[Any], "Tensor", "Image"]
"""One picture, as `picture_of` takes it."""

GivenPictures: TypeAlias = list[GivenPicture] | tuple[GivenPicture, ...] | Iterator[GivenPicture]
"""Several pictures."""


def are_many(given: object) -> bool:
    """Whether ``given`` is a batch or an iterable of pictures, not one picture."""
    if isinstance(given, np.ndarray) or _is_tensor(given):
        return given.ndim == 4
    is_one = isinstance(given, (str, os.PathLike, bytes, bytearray, memoryview, Mapping)) or _is_pil(given)
    return isinstance(given, Iterable) and not is_one and not hasattr(given, "read")


class _Predicts(Protocol):
    def output(self, picture: GivenPicture) -> Output[Any]: ...


def maps_of(pictures: GivenPictures, predictor: _Predicts) -> list[PanopticMap]:
    """The panoptic maps of several pictures; an error says which one it is about, counted from 0."""
    maps = []
    for number, item in enumerate(pictures):
        try:
            maps.append(predictor.output(item).panoptic)
        except PanopticBlendError as error:
            raise PanopticBlendError(f"picture {number}: {error}") from None
    return maps


def require_picture(pixels: Picture) -> None:
    """Raise an error unless an array is a picture (H, W, 3) uint8."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        seen = f"an array of shape {pixels.shape} and type {pixels.dtype}"
        raise PanopticBlendError(f"{seen} is not a picture; give (H, W, 3) uint8 RGB")


def picture_of(given: Any) -> Picture:
    """One picture as (H, W, 3) uint8 RGB.

    Args:
        given: a path; the bytes of a picture file; an array (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, or a
            tensor with its channels first, uint8, float in [0, 1] or uint16; or a PIL image. Gray is repeated, alpha
            dropped, 16 bits reduced to 8 and the orientation tag applied as `read_picture` does.

    Raises:
        PanopticBlendError: it is anything else, or a file cannot be read.
    """
    if isinstance(given, (str, os.PathLike)):
        return read_picture(_local(given))
    if isinstance(given, (bytes, bytearray, memoryview)):
        return decode_picture(bytes(given), "bytes of a picture")
    if _is_tensor(given):
        return _from_tensor(given)
    if isinstance(given, np.ndarray):
        return _from_array(given, f"an array of shape {given.shape} and type {given.dtype}")
    if _is_pil(given):
        return _from_pil(given)
    if given is None:
        raise PanopticBlendError(
            "None is not a picture, but what cv2.imread returns for a path that it cannot read; pass the path itself"
        )
    hint = ", such as file.read()" if hasattr(given, "read") else ""
    raise PanopticBlendError(
        f"a {type(given).__name__} is not a picture; give a path, bytes{hint}, an array or a tensor"
    )


def _local(path: str | os.PathLike[str]) -> Path:
    local = Path(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(path)) and not local.exists():
        raise PanopticBlendError(f"{path}: is a URL, and nothing is fetched from the network; download it first")
    return local


def _is_pil(given: object) -> bool:
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(given).__mro__)


def _from_pil(image: Image) -> Picture:
    from PIL import ImageOps

    seen = f"a PIL image of mode {image.mode}"
    try:
        upright = ImageOps.exif_transpose(image)
        is_deep = upright.mode.startswith("I") or upright.mode == "F"
        pixels = np.asarray(upright if is_deep else upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise PanopticBlendError(f"{seen} cannot be decoded ({error}); open its file again") from None
    if upright.mode == "I" and pixels.size and 0 <= pixels.min() <= pixels.max() < 2**16:
        pixels = pixels.astype(np.uint16)  # as older versions of PIL read gray PNGs of 16 bits
    return _from_array(pixels, seen)


def _is_tensor(given: object) -> TypeGuard[Tensor]:
    torch = sys.modules.get("torch")  # None where it is not loaded, or where its import is blocked
    return torch is not None and isinstance(given, torch.Tensor)


def _from_tensor(tensor: Tensor) -> Picture:
    import torch  # whoever has a tensor has loaded it

    seen = f"a tensor of shape {tuple(tensor.shape)} and type {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.dim() == 3 and tensor.shape[0] not in (1, 3, 4):
        hint = "turn it with permute(2, 0, 1)" if tensor.shape[2] in (1, 3, 4) else "give (3, H, W) RGB"
        raise PanopticBlendError(f"{seen} is not a picture; {hint}")
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        raise PanopticBlendError(f"{seen} is sparse, or without values; give a dense tensor of pixels")
    plain = tensor.detach().cpu().as_subclass(torch.Tensor)
    array = (plain.float() if plain.is_floating_point() else plain).numpy()
    return _from_array(array.transpose(1, 2, 0) if array.ndim == 3 else array, seen)


def _from_array(array: npt.NDArray[Any], seen: str) -> Picture:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        turned = array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.size
        hint = "turn it with transpose(1, 2, 0)" if turned else "give (H, W, 3) uint8 RGB"
        raise PanopticBlendError(f"{seen} is not a picture; {hint}")
    colors = array.repeat(3, axis=2) if array.shape[2] == 1 else array[:, :, :3]
    if colors.dtype == np.uint16:
        return eight_bits(colors, seen)
    if colors.dtype.kind == "f":
        return _from_floats(colors, seen)
    if colors.dtype != np.uint8:
        call = ".to(torch.uint8)" if seen.startswith("a tensor") else ".astype(np.uint8)"
        is_whole = colors.dtype.kind in "biu" and not seen.startswith("a PIL")
        hint = f"; if its values go from 0 to 255, convert it with {call}" if is_whole else ""
        raise PanopticBlendError(f"{seen} is not a picture; give (H, W, 3) uint8 RGB{hint}")
    return np.ascontiguousarray(colors)


def _from_floats(colors: npt.NDArray[Any], seen: str) -> Picture:
    if not np.isfinite(colors).all():
        raise PanopticBlendError(f"{seen} holds values that are not finite; replace NaN and infinity")
    lowest, highest = colors.min(), colors.max()
    if not -OVERSHOOT <= lowest <= highest <= 1 + OVERSHOOT:
        remedy = "divide it by its largest possible value" if lowest >= -OVERSHOOT else "undo its normalization"
        values = f"holds {lowest:.4g} to {highest:.4g}, but floats go from 0 to 1"
        raise PanopticBlendError(f"{seen} {values}; {remedy}, or give uint8")
    return (colors.clip(0, 1) * 255 + 0.5).astype(np.uint8)
