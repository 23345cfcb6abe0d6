"""Check on a GPU what the library promises there: that it is right, how fast it is, and what it needs.

    python -m evaluation.gpu --output gpu
    python -m evaluation.gpu --only machine,latency
    python -m evaluation.gpu --device cpu --tiny       # the same checks on tiny pictures, without targets

Prints a line of JSON for each check, then a table in Markdown, and writes both to ``checks.jsonl`` and ``checks.md``. A
check that needs more than what is left of the budget is left out; all of them fit 540 seconds on an H100. Exits with 1
if a check fails.
"""

from __future__ import annotations

import json
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from evaluation.gpu.bench import Bench, Check, Finding
from evaluation.gpu.commands import resume_after_kill, train_coco_sized, train_shapes
from evaluation.gpu.gradients import gradients_like_cpu, nothing_to_find, same_twice
from evaluation.gpu.latency import compiled, latency
from evaluation.gpu.machine import machine
from evaluation.gpu.outputs import outputs_like_cpu
from evaluation.gpu.predictions import evaluate_folder, memory_is_flat, predict_folder
from evaluation.gpu.steps import step_at_16, waits
from panoptic_blend.cli.running import guarded
from panoptic_blend.runtime.precision import present_device
from panoptic_blend.structures import PanopticBlendError

CHECKS = [
    Check(8, machine),
    Check(12, nothing_to_find),
    Check(35, gradients_like_cpu),
    Check(45, outputs_like_cpu),
    Check(25, waits),
    Check(45, step_at_16),
    Check(45, latency),
    Check(70, train_coco_sized),
    Check(60, train_shapes),
    Check(35, predict_folder),
    Check(25, memory_is_flat),
    Check(45, resume_after_kill),
    Check(20, evaluate_folder),
    Check(10, same_twice),
    Check(60, compiled),
]
"""All checks, the most important first."""

_SHORTEST = 0.6
"""The share of its time that a check may have left at least, because the times are estimates."""
_SHOWN = 700
"""The letters of a check in the table."""


def gpu(
    device: Annotated[str, typer.Option(help="cuda, cuda:1, mps or cpu.")] = "cuda",
    tiny: Annotated[bool, typer.Option("--tiny", help="Tiny pictures, few repetitions, no targets.")] = False,
    only: Annotated[str, typer.Option(metavar="NAME,NAME", help="Only these checks.")] = "",
    budget: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Time for all checks.")] = 360.0,
    shapes_iterations: Annotated[int, typer.Option(min=1, help="Iterations of the training on Shapes.")] = 500,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("gpu"),
) -> None:
    """Run the checks."""
    checks, until = _checks(only), time.monotonic() + budget
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder, (output / "checks.jsonl").open("w", encoding="utf-8") as log:
        bench = Bench(present_device(device, "--device"), Path(folder), tiny, shapes_iterations)
        for check in checks:
            rows.append(_row(check, bench, until - time.monotonic()))
            line = json.dumps(rows[-1])
            print(line, flush=True)
            log.write(f"{line}\n")
            log.flush()
    text = table(rows)
    (output / "checks.md").write_text(text, encoding="utf-8")
    print(text)
    raise typer.Exit(int(any(row["ok"] is False for row in rows)))


def _checks(only: str) -> list[Check]:
    known = {check.name: check for check in CHECKS}
    names = only.split(",") if only else list(known)
    if unknown := [name for name in names if name not in known]:
        raise PanopticBlendError(f"there is no check {unknown[0]!r}; give some of {', '.join(known)}")
    return [known[name] for name in names]


def _row(check: Check, bench: Bench, left: float) -> dict[str, Any]:
    """The record of a check; ``ok`` is None if it was left out."""
    if left < _SHORTEST * check.seconds and not bench.is_tiny:
        return {"check": check.name, "ok": None, "took_s": 0.0, "left_out": f"{max(left, 0):.0f} s were left"}
    start = time.monotonic()
    try:
        found = check.run(bench)
    except Exception as error:  # the other checks go on
        trace = traceback.format_exc().splitlines()[-8:]
        found = Finding({"error": f"{type(error).__name__}: {error}"[:600], "trace": trace}, is_met=False)
    with suppress(RuntimeError):  # after an error of the device
        bench.forget()
    needed = {"needed": found.needed} if found.needed else {}
    took = round(time.monotonic() - start, 1)
    return {"check": check.name, "ok": bool(found.is_met), "took_s": took, **needed, **found.figures}


def table(rows: list[dict[str, Any]]) -> str:
    """The records as a table in Markdown."""
    lines = ["| check | ok | s | found |", "|---|---|---|---|"]
    for row in rows:
        found = {key: value for key, value in row.items() if key not in ("check", "ok", "took_s")}
        text = json.dumps(found).replace("|", "/")[:_SHOWN]
        verdict = {None: "left out", True: "yes", False: "NO"}[row["ok"]]
        lines.append(f"| {row['check']} | {verdict} | {row['took_s']} | {text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    guarded(lambda: typer.run(gpu))
