"""The verdicts of a self-test as a table, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from panoptic_blend.files import printable, without_nan
from panoptic_blend.scoring.self_test import Outcome, Verdict
from panoptic_blend.table_formats import NOTHING
from panoptic_blend.terminal import percent, right_aligned


def verdict_table(verdicts: Sequence[Verdict], evaluator: str) -> Table:
    """What the rules give for all classes of each case, and what the evaluator gives, in percent."""
    names = "PQ", "SQ", "RQ", "classes"
    table = right_aligned(
        *("case", *names, *names, "agrees"), title=f"The rules, and {printable(evaluator, 100)}", words=1
    )
    for verdict in verdicts:
        cells = *_cells(verdict.case.outcome), *_cells(verdict.found)
        table.add_row(verdict.case.name, *cells, "no" if verdict.differences else "yes")
    return table


def disagreements(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each case with a wrong outcome, with the reason of the right one, and how many cases agree."""
    wrong = [verdict for verdict in verdicts if verdict.differences]
    lines = [f"{v.case.name}: {', '.join(v.differences)}. {v.case.reason}" for v in wrong]
    return [*lines, f"{len(verdicts) - len(wrong)} of {len(verdicts)} cases agree with the rules"]


def verdicts_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The verdicts by the name of the case, as JSON values."""
    return {
        verdict.case.name: {
            "expected": verdict.case.outcome,
            "found": without_nan(verdict.found),
            "agrees": not verdict.differences,
            "reason": verdict.case.reason,
        }
        for verdict in verdicts
    }


def _cells(outcome: Outcome | None) -> list[str]:
    if outcome is None or isinstance(outcome, str):
        return [outcome or NOTHING, "", "", ""]
    means = without_nan(outcome["All"])
    figures = [NOTHING if means.get(key) is None else percent(means[key]) for key in ("pq", "sq", "rq")]
    return [*figures, NOTHING if means.get("n") is None else format(means["n"], "g")]
