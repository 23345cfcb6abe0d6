"""The network as a graph of plain operators: pixels in, raw predictions out, with any height and width."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from panoptic_blend.failures import first_line
from panoptic_blend.models.batching import STRIDE_LIMIT
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import PanopticBlendError

INPUT = "pixels"
"""The name of the input of the graph."""

NOT_PLAIN = {
    "_local_scalar_dense",
    "argsort",
    "cond",
    "grid_sampler",
    "grid_sampler_2d",
    "index_put",
    "item",
    "masked_select",
    "nms",
    "nonzero",
    "roi_align",
    "roi_pool",
    "scan",
    "sort",
    "topk",
    "unique",
    "while_loop",
}
"""Operators whose result has a shape that depends on values, that branch, or that many engines lack."""


class PixelNetwork(nn.Module):
    """`PanopticBlend.raw` behind the normalization of pixels.

    ``forward`` takes pixels (N, 3, H, W) float32 RGB in 0..255, padded with the mean of each channel; H and W are
    multiples of 32. It returns what `PanopticBlend.raw` does.
    """

    def __init__(self, model: PanopticBlend) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        mean, std = self.model.pixel_mean[:, None, None], self.model.pixel_std[:, None, None]
        return self.model.raw((pixels - mean) / std)


def trace(model: PanopticBlend, stride: int, batch: int = 1) -> ExportedProgram:
    """The graph of a model, with any height and width.

    Args:
        model: in float32, on the CPU.
        stride: that of the coarsest map in the network. torch takes a map of a single cell for a special case, so the
            example has at least two in each direction; the graph holds for one, too.
        batch: N, which is fixed.

    Raises:
        PanopticBlendError: the network cannot be traced, or has operators of `NOT_PLAIN`, as one of timm's may.
    """
    side = max(2 * stride, 2 * STRIDE_LIMIT)
    example = torch.zeros(batch, 3, side, side + STRIDE_LIMIT)
    smallest = math.ceil((stride + 1) / STRIDE_LIMIT)
    sides = {axis: STRIDE_LIMIT * Dim(name, min=max(smallest, 2)) for axis, name in ((2, "rows"), (3, "columns"))}
    network = PixelNetwork(model)
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"), _whole_strides():
            program = torch.export.export(network, (example,), dynamic_shapes={INPUT: sides}, strict=False)
    except Exception as error:  # of torch, for what a foreign network does
        raise PanopticBlendError(
            f"the network cannot be exported: {first_line(error)}; choose another model.backbone"
        ) from error
    if lacking := sorted(operators(program) & NOT_PLAIN):
        raise PanopticBlendError(
            f"the network has operators that many engines lack: {', '.join(lacking)}; choose another model.backbone"
        )
    return program


@contextmanager
def _whole_strides() -> Iterator[None]:
    """Let networks of timm whose padding depends on the size of a map take it for a multiple of the layer's stride.

    It is one, as the sides of pixels are multiples of the backbone's stride. Followed through the network in symbols,
    the size would make torch compute for hours.
    """
    padding = sys.modules.get("timm.layers.padding")
    if padding is None:
        yield
        return
    original = padding.get_same_padding
    padding.get_same_padding = _same_padding  # type: ignore[attr-defined]
    try:
        yield
    finally:
        padding.get_same_padding = original  # type: ignore[attr-defined]


def _same_padding(size: object, kernel_size: int, stride: int, dilation: int) -> int:
    """The cells by which TensorFlow pads a side that is a multiple of ``stride``."""
    return max((kernel_size - 1) * dilation + 1 - stride, 0)


def operators(program: ExportedProgram) -> set[str]:
    """The names of the operators of a program, such as ``conv2d``."""
    return {
        str(getattr(node.target, "__name__", node.target)).partition(".")[0]
        for module in program.graph_module.modules()
        if isinstance(module, GraphModule)
        for node in module.graph.nodes
        if node.op == "call_function"
    }
