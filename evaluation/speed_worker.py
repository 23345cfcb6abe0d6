"""A model in a process of its own, which predicts one picture whenever it is told to; `evaluation.speed_exports` asks.

    python -m evaluation.speed_worker MODEL PRECISION CORES HEIGHT WIDTH

MODEL is a checkpoint, which torch runs, or an exported folder, whose process never loads torch. The picture has so many
rows and columns. After loading, and then for every line of standard input, a line of JSON is written.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from evaluation.memory import peak_bytes


def main() -> None:
    """Load the model, then predict until standard input ends."""
    model, precision, number, height, width = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(number)])
    clock = Clock()
    predictor = (exported if Path(model).is_dir() else of_torch)(Path(model), precision, clock)
    pixels = picture(int(height), int(width))
    print(json.dumps({"libraries": clock.libraries}), flush=True)
    for _ in sys.stdin:
        before = now()
        output = predictor.output(pixels)
        whole = [after - start for after, start in zip(now(), before, strict=True)]
        (network, network_processor), (seconds, processor) = clock.network, whole
        record = {
            "wall": [network, seconds],
            "processor": [network_processor, processor],
            "instances": len(output.scores),
            "peak": peak_bytes(),
        }
        print(json.dumps(record), flush=True)


def picture(height: int, width: int) -> Any:
    """A picture (height, width, 3) uint8 of smooth colors, always the same."""
    import cv2
    import numpy as np

    coarse = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def now() -> tuple[float, float]:
    """Wall time, and processor time of all threads, in seconds."""
    return time.perf_counter(), time.process_time()


class Clock:
    """The time of the network within the last prediction, as `now` has it, and the memory before the model."""

    network = 0.0, 0.0
    libraries = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take the time of the block."""
        start, processor = now()
        yield
        end = now()
        self.network = end[0] - start, end[1] - processor


def of_torch(checkpoint: Path, precision: str, clock: Clock) -> Any:
    """The `Predictor` of a checkpoint; the time of its network is taken."""
    import torch
    from torch.nn import functional

    from panoptic_blend.inference.predictor import load

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    functional.conv2d(torch.zeros(1, 8, 8, 8), torch.zeros(8, 8, 3, 3))  # loads what torch loads on first use
    clock.libraries = peak_bytes()
    predictor = load(checkpoint, precision="bf16-mixed" if precision == "bfloat16" else "32-true")
    network: Callable[..., Any] = predictor.model.raw

    def timed(batch: Any) -> Any:
        with clock.running():
            return network(batch)

    predictor.model.raw = timed  # type: ignore[method-assign]
    return predictor


class TimedGraph:
    """A `deploy.engines.Graph` whose time is taken."""

    def __init__(self, graph: Any, clock: Clock) -> None:
        self.graph, self.clock = graph, clock

    @contextmanager
    def __call__(self, pixels: Any) -> Iterator[Any]:
        outputs = self.graph(pixels)
        with self.clock.running():
            raw = outputs.__enter__()
        try:
            yield raw
        finally:
            outputs.__exit__(None, None, None)


def exported(folder: Path, precision: str, clock: Clock) -> Any:
    """The predictor of an exported folder; the time of its graph is taken."""
    from panoptic_blend.deploy import predictor
    from panoptic_blend.deploy.engines import open_graph
    from panoptic_blend.deploy.manifest import read_manifest

    name = read_manifest(folder).engine
    engine = import_module({"onnx": "onnxruntime"}.get(name, name))
    clock.libraries = peak_bytes()

    def timed(*arguments: Any) -> TimedGraph:
        return TimedGraph(open_graph(*arguments), clock)

    with (
        patch.object(predictor, "open_graph", timed),
        in_bfloat16(engine) if precision == "bfloat16" else nullcontext(),
    ):
        return predictor.load(folder, threads=len(os.sched_getaffinity(0)))


def in_bfloat16(openvino: Any) -> AbstractContextManager[Any]:
    """Let OpenVINO round to bfloat16 where the processor can, which the library does not let it do."""
    compile_model = openvino.compile_model

    def rounding(path: Path, device: str, settings: dict[str, Any]) -> Any:
        return compile_model(path, device, {**settings, "INFERENCE_PRECISION_HINT": "bf16"})

    found: AbstractContextManager[Any] = patch.object(openvino, "compile_model", rounding)
    return found


if __name__ == "__main__":
    main()
