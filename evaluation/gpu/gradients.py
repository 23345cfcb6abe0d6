"""Losses and gradients on the device: against the CPU's, without instances, and twice the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evaluation.gpu.bench import Bench, Finding
from evaluation.gpu.workload import DEFORMABLE, PANOPTIC_FPN, R50, SHARED, pictures, predicted
from evaluation.step_speed import generated_target
from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.models.build import build_model
from panoptic_blend.runtime.precision import autocast, tf32_convolutions
from panoptic_blend.structures import Size

_LOSS_SCALE = 65536
"""Keeps gradients in the range of float16, as in training."""


@dataclass(frozen=True)
class Gradients:
    """The losses of a batch, and the gradient of every trained parameter in float64 on the CPU; None without one."""

    losses: dict[str, float]
    values: dict[str, Tensor | None]


def nothing_to_find(bench: Bench) -> Finding:
    """Without a single thing, every parameter has a finite gradient, as DDP needs, and nothing is found."""
    size = bench.size((256, 320))
    found: dict[str, Any] = {}
    precisions: list[Precision] = ["32-true", *bench.half]
    for name in (R50, PANOPTIC_FPN):
        for precision in precisions:
            result = gradients(name, bench.device, torch.float32, precision, size, is_empty=True)
            found[f"{_short(name)} {precision}"] = {
                "losses": {term: round(value, 4) for term, value in result.losses.items()},
                "no_gradient": [n for n, g in result.values.items() if g is None][:5],
                "not_finite": [n for n, g in result.values.items() if g is not None and not g.isfinite().all()][:5],
            }
    torch.manual_seed(0)
    untrained = build_model(load_config(R50)).eval().to(bench.device).to(memory_format=torch.channels_last)
    seen = [len(predicted(untrained, precision, pictures(1, size), size)[0].scores) for precision in precisions]
    is_right = not any(x["no_gradient"] or x["not_finite"] for x in found.values()) and not any(seen)
    return Finding({"instances of an untrained model": seen, **found}, is_right)


def gradients_like_cpu(bench: Bench) -> Finding:
    """Losses and gradients of every precision against those of the CPU in float64."""
    size = bench.size((256, 320))
    full = torch.float32
    cases: list[tuple[str, torch.dtype, Precision, bool, float]] = [
        ("float64", torch.float64, "32-true", False, 1e-7),
        ("float32", full, "32-true", False, 1e-3),
    ]
    rough: list[tuple[str, torch.dtype, Precision, bool, float]] = [
        ("tf32", full, "32-true", True, 0.1),
        *((name, full, name, True, 0.5) for name in bench.half),
    ]
    found, is_right = {}, True
    for name in [R50] if bench.is_tiny else [R50, SHARED, DEFORMABLE]:
        truth = gradients(name, torch.device("cpu"), torch.float64, "32-true", size)
        for label, dtype, precision, is_rounded, most in [*cases, *(rough if name == R50 else [])]:
            with tf32_convolutions(is_rounded):
                other = gradients(name, bench.device, dtype, precision, size)
            result = _compared(truth, other)
            found[f"{_short(name)} {label}"] = {key: float(f"{value:.3g}") for key, value in result.items()}
            is_right &= result["losses"] <= most and result["gradient"] <= most
    needed = "relative differences of at most 1e-7 in float64, 1e-3 in float32, 0.1 in TF32, 0.5 in half precision"
    return Finding(found, is_right, needed)


def same_twice(bench: Bench) -> Finding:
    """Whether two equal steps give equal bits. Nothing is promised on a GPU, it is only told."""
    size = bench.size((256, 320))
    first, second = (gradients(R50, bench.device, torch.float32, "32-true", size) for _ in range(2))
    different = [name for name, value in first.values.items() if not _equal(value, second.values[name])]
    counts = {"layers_that_differ": len(different), "of": len(first.values), "first": different[:3]}
    is_right = bench.is_cuda or (first.losses == second.losses and not different)
    return Finding({"losses_equal": first.losses == second.losses, **counts}, is_right)


def gradients(
    name: str, device: torch.device, dtype: torch.dtype, precision: Precision, size: Size, is_empty: bool = False
) -> Gradients:
    """Gradients of two pictures by a model of the config ``name`` with seeded weights."""
    torch.manual_seed(0)
    model = build_model(load_config(name)).to(dtype).to(device).to(memory_format=torch.channels_last).train()
    images = [image.to(device) for image in pictures(2, size)]
    targets = [_target(size, seed, is_empty, device, dtype) for seed in range(2)]
    with autocast(precision, device):
        losses: dict[str, Tensor] = model(images, targets)
    scale = _LOSS_SCALE if precision == "16-mixed" else 1
    (torch.stack(list(losses.values())).sum() * scale).backward()
    return Gradients(
        {term: float(value.detach()) for term, value in losses.items()},
        {
            parameter: None if value.grad is None else value.grad.double().cpu() / scale
            for parameter, value in model.named_parameters()
            if value.requires_grad
        },
    )


def _target(size: Size, seed: int, is_empty: bool, device: torch.device, dtype: torch.dtype) -> Mapping[str, Tensor]:
    target: dict[str, Any] = dict(generated_target(size, 80, 53, seed))
    if is_empty:
        nothing = torch.zeros_like(target["instance_map"])
        target |= {"boxes": target["boxes"][:0], "labels": target["labels"][:0], "instance_map": nothing}
    target["boxes"] = target["boxes"].to(dtype)
    return {key: value.to(device) for key, value in target.items()}


def _compared(truth: Gradients, other: Gradients) -> dict[str, float]:
    """Relative differences: the largest of a loss, of the whole gradient, the largest of a layer; and the cosine."""
    pairs = [(g, other.values[name]) for name, g in truth.values.items()]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    assert len(known) == len(pairs), "a parameter has no gradient"
    a, b = (torch.cat([part.flatten() for part in side]) for side in zip(*known, strict=True))
    losses = [abs(value - other.losses[term]) / max(abs(value), 1e-6) for term, value in truth.losses.items()]
    return {
        "losses": max(losses),
        "gradient": float((a - b).norm() / a.norm()),
        "worst_layer": max(float((a - b).norm() / a.norm().clamp(min=1e-9)) for a, b in known),
        "cosine": float(a @ b / (a.norm() * b.norm())),
    }


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and torch.equal(a, b)


def _short(name: str) -> str:
    return name.split("/")[1]
