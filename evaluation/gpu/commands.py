"""Trainings by the command line: their speed and memory, what they learn, and that they survive being killed."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation.gpu.bench import Bench, Finding
from evaluation.gpu.workload import R50
from panoptic_blend.config.precisions import Precision
from panoptic_blend.training.log import read_log

_ROOT = Path(__file__).parents[2]
_WAITING, _PEAK_GB = 0.02, 32.0
_SHAPES = "demo/shapes_r18"
_PQ_OF_ITERATIONS = ((1800, 0.63), (500, 0.2))
"""The PQ that a training on Shapes reaches at least after so many iterations."""
_WARM = 8
_SECONDS, _TINY_SECONDS = 90.0, 900.0
"""The longest time of a training; a tiny one may run on a busy processor."""

_WITH_PEAK = """
import sys, torch
from panoptic_blend.cli.main import application
try:
    application("train")(["train", *sys.argv[1:]], standalone_mode=False)
finally:
    if torch.cuda.is_available():
        print("PEAK", torch.cuda.max_memory_allocated() / 1e9, torch.cuda.max_memory_reserved() / 1e9)
"""


def train_coco_sized(bench: Bench) -> Finding:
    """``train`` with batches of 16 pictures of COCO's size: time of a step, waiting for the loader, memory."""
    cases: list[tuple[Precision, int]] = [("bf16-mixed", 8), ("bf16-mixed", 14), ("32-true", 8)]
    found: dict[str, Any] = {}
    for precision, workers in cases[: bench.times(3)]:
        output = bench.folder / f"coco_{precision}_{workers}"
        options = _coco_options(bench, precision, bench.times(workers))
        code, text = _finished(_started(bench, "-c", _WITH_PEAK, R50, *options, "--output", output), _seconds(bench))
        steps = [record for record in read_log(output) if "step_seconds" in record]
        found[f"{precision}, {workers} workers"] = (
            {"code": code, "end": text[-1200:]} if code or not steps else _speeds(bench, steps, text)
        )
    good = [case for case in found.values() if "waiting" in case]
    is_met = len(good) == len(found)
    if bench.has_targets and is_met:
        is_met = good[0]["waiting"] <= _WAITING and good[0]["peak_gb"] <= _PEAK_GB
    needed = f"in bf16 with 8 workers waiting at most {100 * _WAITING:.0f} %, and {_PEAK_GB:.0f} GB"
    return Finding(found, is_met, needed)


def _coco_options(bench: Bench, precision: Precision, workers: int) -> list[str]:
    tiny = ["data.short_sides=[96]", "data.long_side=160", "test.short_side=96", "test.long_side=160"]
    return [
        f"data.root={bench.coco}",
        f"data.workers={workers}",
        f"train.device={bench.device.type}",
        f"train.precision={precision}",
        f"train.batch_size={bench.times(16, 2)}",
        f"train.iterations={bench.times(24, 2)}",
        *("train.weights=null", "train.rescale=false", "train.log_every=1", "train.evaluate_every=0"),
        *("train.warmup_iterations=1", "train.steps=[]"),
        *(tiny if bench.is_tiny else []),
    ]


def _speeds(bench: Bench, steps: list[dict[str, Any]], text: str) -> dict[str, Any]:
    warm = steps[min(_WARM, len(steps) - 1) :]
    total, waited = (sum(record[key] for record in warm) for key in ("step_seconds", "data_seconds"))
    memory = re.search(r"PEAK (\S+) (\S+)", text)
    return {
        "step_ms": round(1000 * total / len(warm), 1),
        "images_s": round(bench.times(16, 2) * len(warm) / total, 1),
        "waiting": round(waited / total, 3),
        "peak_gb": round(float(memory[1]), 2) if memory else None,
        "reserved_gb": round(float(memory[2]), 2) if memory else None,
    }


def train_shapes(bench: Bench) -> Finding:
    """``train`` on Shapes to a PQ, from random weights."""
    iterations = bench.times(bench.shapes_iterations, 2)
    least = -1.0 if bench.is_tiny else next((pq for number, pq in _PQ_OF_ITERATIONS if iterations >= number), 0.0)
    output = bench.folder / "shapes_run"
    start = time.perf_counter()
    process = _started(
        bench,
        *_shapes_training(bench, output, iterations),
        f"train.steps=[{iterations * 4 // 5},{iterations * 47 // 50}]" if iterations > 10 else "train.steps=[]",
        f"train.warmup_iterations={max(iterations // 10, 1)}",
        f"train.log_every={bench.times(10, 1)}",
    )
    code, text = _finished(process, 2 * _seconds(bench))
    log = read_log(output)
    scores = [record["PQ"] for record in log if "PQ" in record]
    if code or not scores:
        return Finding({"code": code, "end": text[-1500:]}, is_met=False)
    steps = [record for record in log if "step_seconds" in record]
    found = {
        "pq": round(100 * scores[-1], 2),
        "iterations": iterations,
        "seconds": round(time.perf_counter() - start, 1),
        "step_ms": round(1000 * statistics.median(record["step_seconds"] for record in steps), 1),
        "wait_ms": round(1000 * statistics.median(record["data_seconds"] for record in steps), 1),
        "said": text.splitlines()[0],
    }
    return Finding(found, scores[-1] >= least, f"PQ {100 * max(least, 0):.0f}")


def resume_after_kill(bench: Bench) -> Finding:
    """A training that is killed, resumed, interrupted and resumed again has every iteration in its log once."""
    output, total = bench.folder / "resumed", bench.times(60, 8)
    precision = "16-mixed" if bench.is_cuda else "32-true"
    options = ["train.log_every=1", f"train.checkpoint_every={bench.times(15, 3)}", "train.rescale=false"]
    options += [f"train.precision={precision}", "train.warmup_iterations=1", "train.steps=[]"]
    arguments = [*_shapes_training(bench, output, total), *options]

    killed = _signaled(bench, _started(bench, *arguments), signal.SIGKILL, lambda: any(output.glob("state_*.pt")))
    reached = _last(output)
    resumed = [*arguments, "--resume", "auto"]
    stopped = _signaled(bench, _started(bench, *resumed), signal.SIGTERM, lambda: _last(output) > reached + 1)
    code, text = _finished(_started(bench, *resumed), _seconds(bench))
    iterations = [record["iteration"] for record in read_log(output) if "loss" in record]
    is_right = code == 0 and iterations == list(range(1, total + 1)) and stopped[0] in (75, 0)
    starts = output / "run.json"
    found = {
        "killed_at": reached,
        "code_after_sigterm": stopped[0],
        "code": code,
        "iterations": len(iterations),
        "starts": len(json.loads(starts.read_text())) if starts.exists() else 0,
        **({} if is_right else {"end": (killed[1] + stopped[1] + text)[-1500:]}),
    }
    return Finding(found, is_right, "every iteration once, and code 75 after SIGTERM")


def _last(output: Path) -> int:
    return max((record["iteration"] for record in read_log(output)), default=0)


def _shapes_training(bench: Bench, output: Path, iterations: int) -> list[Any]:
    tiny = ["data.short_sides=[64]", "data.long_side=96", "test.short_side=64", "test.long_side=96"]
    return [
        *(_ROOT / "tools" / "train.py", _SHAPES, f"data.root={bench.shapes}", f"train.iterations={iterations}"),
        *(f"train.device={bench.device.type}", f"data.workers={bench.times(4)}"),
        *([*tiny, "train.batch_size=2", "train.rescale=false"] if bench.is_tiny else []),
        *("--output", output),
    ]


def _started(bench: Bench, *arguments: Any) -> subprocess.Popen[str]:
    """A Python process that imports the library of this clone."""
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=bench.folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _seconds(bench: Bench) -> float:
    return _TINY_SECONDS if bench.is_tiny else _SECONDS


def _finished(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Exit code and output; the process is killed if it takes longer, and its code is then 124."""
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return 124, process.communicate()[0]
    return process.returncode, text


def _signaled(
    bench: Bench, process: subprocess.Popen[str], number: signal.Signals, is_time: Callable[[], bool]
) -> tuple[int, str]:
    """Send a signal to the process when ``is_time``, and wait for its end."""
    until = time.monotonic() + _seconds(bench)
    while not is_time() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    return _finished(process, _seconds(bench))
