"""Measure what follows the network of an exported model, step by step, for a picture of 640 x 480 with 100 instances.

    python -m evaluation.speed_postprocessing

Nothing is predicted: `evaluation.drawn_predictions` draws the outputs of the graph, for the config's test size, so the
same input can be made anywhere. Times are those of the processor, of all threads together, and the median counts.
Exits with 1 if there are not 100 instances, or if a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from evaluation.drawn_predictions import STRIDE, drawn_predictions
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.deploy.resizing import size_for
from panoptic_blend.postprocessing import outputs
from panoptic_blend.postprocessing.blending import TopLayer
from panoptic_blend.postprocessing.outputs import PostProcessing
from panoptic_blend.structures import Size
from panoptic_blend.terminal import right_aligned

PICTURE = (480, 640)
CONFIGS = "panoptic/blendmask_r50_3x", "panoptic/blendmask_lite"
INSTANCES = 100
TARGET = 0.030
"""Seconds for all steps together."""

STEPS = {
    "candidates": (outputs, "decode"),
    "suppression": (outputs, "suppress"),
    "attentions at detections": (TopLayer, "at"),
    "crops of bases": (outputs, "crop"),
    "blending": (outputs, "blend"),
    "pasting": (outputs, "paste"),
    "semantic classes": (outputs, "semantic_classes"),
    "fusion": (outputs, "paint"),
}
WHOLE = "all"


def main() -> None:
    """Parse the options, measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="*", default=CONFIGS)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    missed = False
    for name in options.config:
        instances, seconds = measure(load_config(name), PICTURE, options.repeats)
        Console().print(table(f"{name}: {instances} instances", seconds))
        missed |= instances != INSTANCES or seconds[WHOLE] > TARGET
    sys.exit(int(missed))


def measure(config: Config, picture: Size, repeats: int) -> tuple[int, dict[str, float]]:
    """The number of instances in a picture, and the median seconds of each step, of the rest and of the whole."""
    size = size_for(picture, config.test.short_side, config.test.long_side)
    levels = {f"p{3 + i}": 2 ** (3 + i) for i in range(len(config.model.fcos.size_limits) + 1)}
    raw, top_layer = drawn_predictions(config.model, levels, size)
    semantic_stride = STRIDE if config.model.semantic.enabled else None
    steps = PostProcessing(config.model, levels, STRIDE, semantic_stride, top_layer)
    instances = 0
    rounds: list[dict[str, float]] = []
    with timed_steps() as seconds:
        for _ in range(repeats + 1):
            seconds.update(dict.fromkeys(seconds, 0.0))
            start = time.process_time()
            instances = len(steps(raw, size, picture).scores)
            whole = time.process_time() - start
            rounds.append({**seconds, "rest": whole - sum(seconds.values()), WHOLE: whole})
    return instances, {name: median(one[name] for one in rounds[1:]) for name in rounds[0]}


@contextmanager
def timed_steps() -> Iterator[dict[str, float]]:
    """Add up the seconds of every step within the block."""
    seconds = dict.fromkeys(STEPS, 0.0)

    def timed(step: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            result = run(*arguments, **named)
            seconds[step] += time.process_time() - start
            return result

        return call

    with ExitStack() as stack:
        for step, (owner, name) in STEPS.items():
            stack.enter_context(patch.object(owner, name, timed(step, getattr(owner, name))))
        yield seconds


def table(title: str, seconds: dict[str, float]) -> Table:
    """A line for each step."""
    found = right_aligned("step", "ms", title=title)
    for step, value in seconds.items():
        found.add_row(step, f"{1000 * value:.1f}")
    found.add_row("at most", f"{1000 * TARGET:.1f}")
    return found


if __name__ == "__main__":
    main()
