"""A drawing of a table of `evaluation.ablations`: each row's difference from the reference, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from evaluation.ablation_plan import Contrast, Results
from evaluation.ablation_tables import Experiment
from evaluation.fit_rows import estimate
from evaluation.speed_curve import framed

_LEFT, _RIGHT, _LINE, _TOP, _BOTTOM = 150, 570, 26, 34, 46


@dataclass(frozen=True)
class Difference:
    """A row minus the reference in points, and half the width of the interval."""

    row: str
    mean: float
    spread: float


def differences(experiment: Experiment, results: Results) -> list[Difference]:
    """The rows that share a seed with the reference, in their order."""
    reference, found = experiment.trials[experiment.reference], []
    for name, trial in experiment.trials.items():
        values = results.values(Contrast(trial, ((reference, 1.0),)), experiment.figure)
        mean, spread = estimate(values)
        if trial != reference and not math.isnan(mean + spread):
            found.append(Difference(name, 100 * mean, 100 * spread))
    return found


def svg(shown: Sequence[Difference], title: str, axis: str) -> str:
    """The drawing, as wide as the largest bound of an interval on either side of zero."""
    reach = max(1, math.ceil(max(abs(one.mean) + one.spread for one in shown)))
    height = _TOP + _LINE * len(shown) + _BOTTOM
    bottom = height - _BOTTOM

    def x(points: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (points + reach) / (2 * reach)

    parts = [f'<text x="8" y="18">{escape(title)}</text>']
    for points in (-reach, -reach / 2, 0, reach / 2, reach):
        kind = "grid" if points else "zero"
        parts.append(f'<path class="{kind}" d="M{x(points):.1f} {_TOP - 6}V{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{x(points):.1f}" y="{bottom + 16}" text-anchor="middle">{points:+g}</text>'
        )
    for number, one in enumerate(shown):
        y = _TOP + _LINE * number + 8
        ends = x(one.mean - one.spread), x(one.mean + one.spread)
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(one.row)}</text>')
        parts.append(f'<path class="interval" d="M{ends[0]:.1f} {y}H{ends[1]:.1f}"/>')
        parts.append(f'<circle class="point" cx="{x(one.mean):.1f}" cy="{y}" r="4.5"/>')
    parts.append(f'<text x="{x(0):.1f}" y="{height - 10}" text-anchor="middle">{escape(axis)}</text>')
    return framed(parts, (height, _RIGHT + 30), title)
