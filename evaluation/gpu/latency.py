"""The time from a picture to its map: in every precision, by stage, compiled, and beside torchvision's Mask R-CNN."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from evaluation.gpu.bench import Bench, Finding
from evaluation.gpu.workload import R50, finding_model, peer, pictures, placed, predicted
from evaluation.timing import wait_for_device
from panoptic_blend.config.precisions import Precision
from panoptic_blend.models import panoptic_blend
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.precision import autocast, tf32_convolutions
from panoptic_blend.structures import Size

_TARGET_MS, _COMPILED_MS = 15.0, 8.0
_STAGED = ("tf32", "bf16-mixed")


def latency(bench: Bench) -> Finding:
    """A picture of 800 x 1333 pixels to its map of 480 x 800."""
    image, output, model = *_picture(bench), finding_model(R50)
    found: dict[str, Any] = {}
    for label, precision, is_rounded in bench.precisions:
        bench.forget()
        own = placed(model, bench.device, precision)
        with tf32_convolutions(is_rounded):
            ms = bench.milliseconds(partial(predicted, own, precision, [image], output), 10)
            found[label] = {"ms": ms, **bench.peak()}
            if label in _STAGED:
                found[label]["stages_ms"] = _stages(bench, own, precision, image, output)
    half: Precision = "bf16-mixed"
    found[f"torchvision {half}"] = _peer_latency(bench, half, (image.shape[1], image.shape[2]))
    found["instances"] = len(predicted(own, precision, [image], output)[0].scores)
    is_met = not bench.has_targets or found[half]["ms"] <= _TARGET_MS
    return Finding(found, is_met, f"{_TARGET_MS:.0f} ms in bf16")


def compiled(bench: Bench) -> Finding:
    """The same picture with the fixed part compiled: seconds to compile, then milliseconds."""
    image, output = _picture(bench)
    model = placed(finding_model(R50), bench.device, "bf16-mixed")

    def run() -> Any:
        return predicted(model, "bf16-mixed", [image], output)

    found: dict[str, Any] = {"eager_ms": bench.milliseconds(run, 6)}
    backend: dict[str, Any] = {"backend": "eager"} if bench.is_tiny else {}
    raw = model.raw
    for mode in ("default", "reduce-overhead"):
        torch.compiler.reset()
        model.raw = torch.compile(raw, **(backend or {"mode": mode}))  # type: ignore[method-assign]
        start = time.perf_counter()
        run()
        wait_for_device()
        found[f"{mode}_seconds_to_compile"] = round(time.perf_counter() - start, 1)
        found[f"{mode}_ms"] = bench.milliseconds(run, 6)
    best = min(value for name, value in found.items() if name.endswith("_ms"))
    return Finding(found, not bench.has_targets or best <= _COMPILED_MS, f"{_COMPILED_MS:.0f} ms")


def _picture(bench: Bench) -> tuple[Tensor, Size]:
    """The picture as the network's input, and the size of its map."""
    [image] = pictures(1, bench.size((800, 1333), (96, 160)))
    return image, bench.size((480, 800), (96, 160))


def _stages(bench: Bench, model: PanopticBlend, precision: Precision, image: Tensor, size: Size) -> dict[str, float]:
    """Milliseconds of each stage, waiting before and after each, so that their sum is more than the whole."""
    branch = model.instances
    assert isinstance(branch, BlendMask)
    parts: dict[str, tuple[Any, str]] = {
        "batch": (model, "batch"),
        "backbone, pyramid, semantic trunk": (model, "features"),
        "detector": (branch, "detect"),
        "bases": (branch.bottom, "forward"),
        "decode, suppress, attend, blend": (branch, "select"),
        "semantic classes": (panoptic_blend, "semantic_classes"),
        "paste, a part of compose": (panoptic_blend, "paste"),
        "compose": (model, "compose"),
    }
    spent: dict[str, list[float]] = {name: [] for name in parts}
    with _watched(bench, parts, spent):
        for _ in range(bench.times(4)):
            predicted(model, precision, [image], size)
    return {name: round(1000 * statistics.median(times), 2) for name, times in spent.items() if times}


@contextmanager
def _watched(bench: Bench, parts: Mapping[str, tuple[Any, str]], spent: Mapping[str, list[float]]) -> Iterator[None]:
    """Replace functions by ones that note their time."""

    def timed(original: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            wait_for_device()
            start = time.perf_counter()
            result = original(*arguments, **options)
            wait_for_device()
            times.append(time.perf_counter() - start)
            return result

        return run

    with ExitStack() as replaced:
        for name, (owner, attribute) in parts.items():
            replaced.enter_context(patch.object(owner, attribute, timed(getattr(owner, attribute), spent[name])))
        yield


def _peer_latency(bench: Bench, precision: Precision, size: Size) -> dict[str, Any]:
    model = peer(bench.device, size, bench.is_tiny).eval()
    image = pictures(1, size)[0].float().div(255)

    @torch.inference_mode()
    def run() -> Tensor:
        with autocast(precision, bench.device):
            [found] = model([image.to(bench.device)])
        masks: Tensor = found["masks"] > 0.5
        return masks.cpu()

    with torch.inference_mode(), autocast(precision, bench.device):  # as many candidates as a trained one has
        [found] = model([image.to(bench.device)])
    model.roi_heads.score_thresh = float(found["scores"].min()) if len(found["scores"]) else 0.0
    return {"ms": bench.milliseconds(run, 6), "instances": len(run())}
