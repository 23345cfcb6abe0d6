"""A network in int8 of which parts can stay in float32, in the format of any engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from torch import nn

from panoptic_blend.formats.images import Picture
from panoptic_blend.postprocessing.interpolation import Floats

PARTS = {
    "backbone": "backbone",
    "fpn": "fpn",
    "class tower": "instances.fcos.class_tower",
    "box tower": "instances.fcos.box_tower",
    "shared tower": "instances.fcos.shared_tower",
    "classes": "instances.fcos.class_logits",
    "boxes": "instances.fcos.distances",
    "centerness": "instances.fcos.centerness",
    "bottom": "instances.bottom",
    "semantic": "semantic",
}
"""The parts of a network that are quantized, or not, as a whole, and their modules."""


class Int8Graph(Protocol):
    """A graph in int8, made from one in float32: activations are rounded by tensor, weights by channel.

    Args:
        path: the graph in float32.
        network: the network of the graph, whose weights show which layers make up a part.
        images: the calibration pictures, resized.
        pixels: makes the input of the graph of one.
    """

    def __init__(
        self, path: Path, network: nn.Module, images: Sequence[Picture], pixels: Callable[[Picture], Floats]
    ) -> None: ...

    parts: list[str]
    """Those of `PARTS` that have layers in the graph."""

    def write(self, float32: Collection[str], path: Path) -> None:
        """Write the graph, with the layers of some parts in float32."""


def parts_of_weights(network: nn.Module) -> dict[bytes, str]:
    """The part that each weight of a network belongs to, by its bytes, which graphs keep, unlike names."""
    return {
        value.detach().numpy().tobytes(): part
        for name, value in network.named_parameters()
        if value.ndim >= 2
        for part, module in PARTS.items()
        if name.startswith(f"{module}.")
    }
