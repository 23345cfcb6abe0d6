"""Measure the gain of each optimization of inference: the whole is timed in turn with and without it.

    python -m evaluation.speed_steps --precision bf16-mixed

Picture and model are those of ``evaluation.speed``. docs/speed.md describes the optimizations and the gains expected.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from evaluation.speed import CPU, PICTURE, input_size, model_with_detections
from evaluation.timing import best_of_each
from panoptic_blend.config.precisions import Precision
from panoptic_blend.models import panoptic_blend
from panoptic_blend.models.backbones import resnet as backbone
from panoptic_blend.models.blender import TopLayer
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.precision import autocast
from panoptic_blend.structures import Cutout, Size
from panoptic_blend.terminal import right_aligned

Variant = Callable[[], Any]
"""Returns a context manager that disables an optimization and yields the model to run."""


def main() -> None:
    """Parse the options, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="panoptic/blendmask_r50_3x")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with torch.inference_mode(), autocast(options.precision, CPU):
        seconds = measure(options.config, options.precision, input_size(options.config), PICTURE, options.repeats)
    Console().print(table(f"{options.config}, {options.precision}", seconds))


def measure(name: str, precision: Precision, size: Size, output_size: Size, repeats: int) -> dict[str, float]:
    """Seconds per picture with all optimizations, and without each one."""
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    runs = []
    for variant in (variants := variants_without_each_step(name, precision, output_size)).values():

        def run(variant: Variant = variant) -> None:
            with variant() as model:
                model([image], output_sizes=[output_size])

        runs.append(run)
    return dict(zip(variants, best_of_each(repeats, runs), strict=True))


def variants_without_each_step(name: str, precision: Precision, output_size: Size) -> dict[str, Variant]:
    """The model with all optimizations, and without each one, by name of the missing one."""
    model = model_with_detections(name, precision)
    with patch("evaluation.speed.fold_norms"):
        unfolded = model_with_detections(name, precision)
    planes = model_with_detections(name, precision).to(memory_format=torch.contiguous_format)
    result = {
        "all steps": lambda: _patched(model),
        "channels last in memory": lambda: _patched(planes),
        "frozen norms inside convolutions": lambda: _patched(unfolded, (backbone, "normed", convolution_then_norm)),
        "attentions at detections only": lambda: _patched(model, (TopLayer, "at", attentions_everywhere)),
        "semantic classes in tiles": lambda: _patched(
            model, (panoptic_blend, "semantic_classes", panoptic_blend.classes_at_once)
        ),
        "masks pasted in their boxes": lambda: _patched(model, (panoptic_blend, "paste", paste_over_picture)),
    }
    if precision != "32-true":
        with patch("evaluation.speed.round_weights"):
            rounded_each_time = model_with_detections(name, precision)
        result["weights rounded once"] = lambda: _patched(rounded_each_time)
    return result


@contextmanager
def _patched(model: PanopticBlend, *patches: tuple[Any, str, Callable[..., Any]]) -> Iterator[PanopticBlend]:
    replaced = [patch.object(*each) for each in patches]
    for each in replaced:
        each.start()
    try:
        yield model
    finally:
        for each in replaced:
            each.stop()


def convolution_then_norm(conv: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """A convolution followed by its norm, not folded into one."""
    normalized: Tensor = norm(conv(x))
    return normalized


def attentions_everywhere(
    layer: TopLayer, features: Sequence[Tensor], places: Tensor, counts: Sequence[int] | None = None
) -> Tensor:
    """Attentions at ``places``, taken from the convolution at all locations."""
    maps = [layer(feature) for feature in features]
    level, image, row, column = places.unbind(1)
    taken = [maps[k][i, :, y, x] for k, i, y, x in zip(*(v.tolist() for v in (level, image, row, column)), strict=True)]
    return torch.stack(taken).unflatten(1, layer.shape)


def paste_over_picture(probabilities: Tensor, boxes: Tensor, size: Size) -> list[Cutout]:
    """Masks that are sampled at every pixel of the picture, not only in their boxes."""
    height, width = size
    x0, y0, x1, y1 = boxes.float().split(1, dim=1)
    x = (torch.arange(width) + 0.5 - x0) / (x1 - x0) * 2 - 1
    y = (torch.arange(height) + 0.5 - y0) / (y1 - y0) * 2 - 1
    shape = len(boxes), height, width
    grid = torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], dim=-1)
    values = F.grid_sample(probabilities.float()[:, None], grid, align_corners=False)[:, 0]
    return [Cutout(mask, 0, 0) for mask in (values >= 0.5).numpy()]


def table(title: str, seconds: dict[str, float]) -> Table:
    """A table of milliseconds, and of the time lost without each optimization."""
    result = right_aligned("without", "ms", "more", title=title)
    whole = seconds["all steps"]
    for name, value in seconds.items():
        lost = "" if name == "all steps" else f"{100 * (value / whole - 1):+.1f} %"
        result.add_row("(nothing)" if name == "all steps" else name, f"{1000 * value:.0f}", lost)
    return result


if __name__ == "__main__":
    main()
