"""The images that callers give to `PanopticBlend`, checked; `targets` does the same for targets.

Types and shapes are checked at once. What the values of a tensor decide is collected in `Doubts` and read together,
because on a GPU every single reading waits for all work before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from panoptic_blend.structures import OVERSHOOT, PanopticBlendError

_PIXELS = {torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64}


class Doubts:
    """Conditions on the values of tensors that refuse an input; nothing is computed until they are settled."""

    def __init__(self) -> None:
        self._flags: list[Callable[[], Tensor]] = []
        self._messages: list[Callable[[Tensor], str]] = []

    def add(self, wrong: Callable[[], Tensor], message: Callable[[Tensor], str]) -> None:
        """Refuse an input of which any element of ``wrong``, a boolean tensor, is true, with the message for it."""
        self._flags.append(wrong)
        self._messages.append(message)

    def settle(self) -> None:
        """Raise PanopticBlendError for the first condition that holds; all are read from their device at once."""
        if not self._flags:
            return
        wrong = [flag() for flag in self._flags]
        held = torch.stack([flags.any().to(wrong[0].device) for flags in wrong]).tolist()
        if any(held):
            first = held.index(True)
            raise PanopticBlendError(self._messages[first](wrong[first]))


def checked_images(images: Any, doubts: Doubts) -> list[Tensor]:
    """The images of a batch as a list of (3, H, W); a tensor (N, 3, H, W) counts as a list."""
    if isinstance(images, Tensor) and images.dim() != 4:
        refuse(f"images are one tensor of shape {shape_of(images)}", "give a list of images (3, H, W), such as [image]")
    if not isinstance(images, (Tensor, Sequence)):
        refuse(f"images are a {type(images).__name__}", "give a list of tensors (3, H, W)")
    if not len(images):
        refuse("the list of images is empty", "leave out batches without images")
    for number, image in enumerate(images):
        _check_image(image, f"image {number}", doubts)
    return [image.as_subclass(Tensor) for image in images]


def _check_image(image: Any, where: str, doubts: Doubts) -> None:
    if not isinstance(image, Tensor):
        to_tensor = "torchvision.transforms.v2.functional.to_image"
        refuse(f"{where} is a {type(image).__name__}", f"give a tensor (3, H, W) RGB, which {to_tensor} makes of it")
    if image.dim() != 3 or image.shape[0] != 3 or not image.numel():
        refuse(f"{where} has the shape {shape_of(image)}, not (3, H, W)", _to_three_channels(image))
    if image.layout is not torch.strided or image.device.type == "meta":
        refuse(f"{where} is sparse, or without values", "give a dense tensor of pixels")
    if image.dtype not in _PIXELS:
        refuse(f"{where} is of type {dtype_of(image)}", "give uint8 from 0 to 255, or float from 0 to 1")
    if image.is_floating_point():
        doubts.add(lambda: _is_out_of_range(image.detach()), lambda _: _out_of_range(image, where))


def _to_three_channels(image: Tensor) -> str:
    if image.dim() == 3 and image.shape[2] == 3:
        return "turn it with image.permute(2, 0, 1)"
    if image.dim() == 3 and image.shape[0] == 1:
        return "repeat its gray with image.expand(3, -1, -1)"
    if image.dim() == 3 and image.shape[0] == 4:
        return "drop its alpha with image[:3]"
    return "give RGB with the channels first"


def _is_out_of_range(image: Tensor) -> Tensor:
    low, high = image.aminmax()
    return ~((low >= -OVERSHOOT) & (high <= 1 + OVERSHOOT))


def _out_of_range(image: Tensor, where: str) -> str:
    low, high = (float(x) for x in image.aminmax())
    scaled = low >= -OVERSHOOT and high > 1 + OVERSHOOT
    remedy = "divide it by 255" if scaled else "give it as it is in the file: the model normalizes it by itself"
    return f"{where} holds {low:.4g} to {high:.4g}, but a float image goes from 0 to 1; {remedy}"


def shape_of(tensor: Tensor) -> str:
    """The shape of a tensor, as messages write it."""
    return str(tuple(tensor.shape))


def dtype_of(tensor: Tensor) -> str:
    """The type of the numbers in a tensor, as messages write it."""
    return str(tensor.dtype).removeprefix("torch.")


def refuse(seen: str, remedy: str) -> NoReturn:
    """Raise PanopticBlendError."""
    raise PanopticBlendError(f"{seen}; {remedy}")
