"""Measure a training step and a predicted picture beside busy loops of normal priority.

    python -m evaluation.busy_machine

The demo's model is trained on generated pictures, and predicts one, in a fresh process each time: quiet with a fixed
number of threads, quiet, beside one busy loop, beside one that starts in the middle of the run, and beside two. The
conditions take turns, and the median of the rounds counts. Exits with 1 if a target is missed. The targets are for two
cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from subprocess import Popen
from tempfile import TemporaryDirectory
from threading import Timer
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console

from evaluation.timing import Measurement, measurement_table
from panoptic_blend.config.experiment import load_config
from panoptic_blend.formats.categories import default_categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms
from panoptic_blend.runtime.threads import Threads
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.training.log import read_log
from panoptic_blend.training.loop import train

COUNTED = 10
"""The last steps or pictures of a process, whose mean time counts."""


class Condition(NamedTuple):
    """What runs beside the measured process: ``loops`` busy loops, started ``delay`` seconds after it."""

    name: str
    loops: int = 0
    delay: float = 0
    is_shared: bool = True


CONDITIONS = (
    Condition("quiet, fixed threads", is_shared=False),
    Condition("quiet"),
    Condition("beside one loop", 1),
    Condition("beside one loop from the middle on", 1, delay=12),
    Condition("beside two loops", 2),
)
TARGETS = {"quiet": 1.03, "beside one loop": 2.0, "beside one loop from the middle on": 2.0, "beside two loops": 3.0}
"""The largest time allowed, as a multiple of the quiet time; the quiet time's own is of that with fixed threads."""


def main() -> None:
    """Parse the options, measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=60, help="steps or pictures of each process")
    options = parser.parse_args()
    is_missed = False
    with TemporaryDirectory() as folder:
        write_shapes(Path(folder) / "shapes", 64, 1, 0)
        for name, work in (("a training step", training_step), ("a picture", picture)):
            found: dict[str, list[float]] = {condition.name: [] for condition in CONDITIONS}
            for _ in range(options.rounds):
                for condition in CONDITIONS:
                    with busy(condition), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                        task = process.submit(work, Path(folder), condition.is_shared, options.repeats)
                        found[condition.name].append(task.result())
            measured = measurements({condition: median(times) for condition, times in found.items()})
            Console().print(measurement_table(name, measured))
            is_missed |= any(measurement.is_missed for measurement in measured)
    sys.exit(is_missed)


def measurements(seconds: dict[str, float]) -> list[Measurement]:
    """The seconds of every condition, and its multiple of the quiet time with the target."""
    quiet = dict.fromkeys(TARGETS, seconds["quiet"]) | {"quiet": seconds["quiet, fixed threads"]}
    return [
        *(Measurement(f"{name}, s", value) for name, value in seconds.items()),
        *(Measurement(f"{name}, ratio", seconds[name] / quiet[name], target) for name, target in TARGETS.items()),
    ]


@contextmanager
def busy(condition: Condition) -> Iterator[None]:
    """Run the busy loops of a condition."""
    with ExitStack() as stack:

        def start() -> None:
            for _ in range(condition.loops):
                loop = stack.enter_context(Popen([sys.executable, "-c", "while True: pass"]))
                stack.callback(loop.kill)

        timer = Timer(condition.delay, start)
        timer.start()
        stack.callback(timer.join)
        stack.callback(timer.cancel)
        yield


def training_step(folder: Path, is_shared: bool, repeats: int) -> float:
    """Train the demo's model for ``repeats`` steps, and return the mean time of the last ones in seconds."""
    options = [f"train.iterations={repeats}", "train.log_every=1", "train.warmup_iterations=0", "train.steps=[]"]
    with TemporaryDirectory(dir=folder) as output, redirect_stdout(StringIO()):
        config = load_config("demo/shapes_r18", [f"data.root={folder / 'shapes'}", *options])
        train(config, Path(output), share_cores=is_shared)
        times = [record["step_seconds"] for record in read_log(Path(output)) if "step_seconds" in record]
    return fmean(times[-COUNTED:])


def picture(folder: Path, is_shared: bool, repeats: int) -> float:
    """Predict a picture ``repeats`` times with the demo's model, and return the mean time of the last ones in seconds.

    ``folder`` is not used.
    """
    threads, times = Threads(is_shared), []
    torch.manual_seed(0)
    config = load_config("demo/shapes_r18", ["test.short_side=512", "test.long_side=640"])
    model = build_model(config).eval()
    fold_norms(model)
    predictor = Predictor(model, config, default_categories(config.model.num_things, config.model.num_stuff))
    pixels = np.random.default_rng(0).integers(0, 256, (512, 640, 3), dtype=np.uint8)
    threads.start()
    for _ in range(repeats):
        start = time.perf_counter()
        predictor.predict(pixels)
        threads.follow()
        times.append(time.perf_counter() - start)
    return fmean(times[-COUNTED:])


if __name__ == "__main__":
    main()
