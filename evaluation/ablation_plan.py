"""Which trial `evaluation.ablations` runs next, and what two rows of a table are compared by.

First every row is trained with seed 0, then all rows of a table are timed in one run. Where rows differ in time, the
reference is trained with other input sizes too: between two of them, its figure at the time of another row is
interpolated, over the logarithm of the time. Then rows get further seeds by the value of information: first the pairs
whose interval includes 0, those with the fewest seeds before others, and among these the pair that is nearest to a
decision; then pairs of one seed, whose intervals are of pictures only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from evaluation.ablation_runs import Times
from evaluation.ablation_tables import PAPER, Experiment, Scale, Trial
from evaluation.fit_rows import Floats, Key, Row, estimate

SAME = 0.05
"""Times that differ by less than this share count as equal."""


@dataclass(frozen=True)
class Training:
    """A trial to train and judge."""

    trial: Trial
    seed: int


@dataclass(frozen=True)
class Timing:
    """Trials of a table to time in one run."""

    experiment: Experiment
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Contrast:
    """The figure of ``own`` minus a weighted mean of others, as pairs of a trial and its weight."""

    own: Trial
    others: tuple[tuple[Trial, float], ...]

    @property
    def trials(self) -> list[Trial]:
        """All trials that it is of."""
        return [self.own, *(trial for trial, _ in self.others)]


class Results:
    """The rows and times of a setting, as the files of results have them.

    Args:
        digest_of: the digest that rows of a trial must have; without it, that of the row with seed 0.
    """

    def __init__(
        self,
        setting: str,
        size: Scale,
        rows: Mapping[Key, Row],
        times: Mapping[tuple[str, str], Times],
        digest_of: Callable[[Trial], str] | None = None,
    ) -> None:
        self.size = size
        self._rows: dict[str, dict[int, Row]] = {}
        for row in sorted(rows.values(), key=lambda row: row.seed):
            if row.experiment == setting:
                self._rows.setdefault(row.variant, {})[row.seed] = row
        self._times = {table: found for (of, table), found in times.items() if of == setting}
        self._digest_of = digest_of

    def rows(self, trial: Trial) -> dict[int, Row]:
        """The rows of a trial by their seeds, without those of another config that had its name."""
        found = self._rows.get(trial.name, {})
        if not found:
            return {}
        digest = self._digest_of(trial) if self._digest_of else next(iter(found.values())).digest
        return {seed: row for seed, row in found.items() if row.digest == digest}

    def row(self, trial: Trial, seed: int) -> Row | None:
        """The row of a trial with a seed, if there is one."""
        return self.rows(trial).get(seed)

    def times(self, experiment: Experiment) -> Times | None:
        """The times of a table, if they were measured."""
        return self._times.get(experiment.number)

    def values(self, contrast: Contrast, figure: str) -> list[Floats]:
        """The contrast on all pictures and on each resample, for every seed that all its trials have."""
        by_trial = [self.rows(trial) for trial in contrast.trials]
        seeds = [seed for seed in by_trial[0] if all(seed in rows for rows in by_trial)]
        weights = [1.0, *(-weight for _, weight in contrast.others)]
        return [
            np.sum([w * rows[seed].values(figure) for w, rows in zip(weights, by_trial, strict=True)], axis=0)
            for seed in seeds
        ]


def next_step(experiments: Sequence[Experiment], results: Results, seeds: int) -> Training | Timing | None:
    """What to do next; None if every row is there and no pair needs another of ``seeds`` seeds."""
    for experiment in experiments:
        for trial in experiment.trials.values():
            if results.row(trial, 0) is None:
                return Training(trial, 0)
    for experiment in experiments:
        for trial in as_long(experiment, results).values():
            if results.row(trial, 0) is None:
                return Training(trial, 0)
    for experiment in experiments:
        if step := _timing(experiment, [*experiment.trials.values()], results):
            return step
        on_curve = curve(experiment, results)
        for trial in on_curve:
            if results.row(trial, 0) is None:
                return Training(trial, 0)
        if step := _timing(experiment, [*experiment.trials.values(), *on_curve], results):
            return step
    return _further_seed(experiments, results, seeds)


def as_long(experiment: Experiment, results: Results) -> dict[str, Trial]:
    """Trials that are trained for as long as the reference, by rows; the row's own where it takes as long."""
    if not experiment.same_training:
        return {}
    found, reference = {}, results.row(experiment.trials[experiment.reference], 0)
    for name, trial in experiment.trials.items():
        row = results.row(trial, 0)
        if row and reference and name != experiment.reference:
            ratio = reference.seconds / row.seconds
            steps = round(trial.length.iterations * ratio)
            length = replace(trial.length, iterations=steps)
            longer = replace(trial, name=f"{trial.name}, {steps} steps", length=length)
            found[name] = longer if abs(ratio - 1) > SAME else trial
    return found


def curve(experiment: Experiment, results: Results) -> list[Trial]:
    """The reference with the input sizes whose times are needed: a larger one if a row takes longer, and a smaller."""
    times, reference = results.times(experiment), experiment.trials[experiment.reference]
    if times is None:
        return []
    known = [name for trial in experiment.trials.values() if (name := trial.name) in times.milliseconds]
    ratios = [times.ratio(name, reference.name) for name in known]
    sides = [
        side
        for side in results.size.other_sides
        if (side > reference.side and max(ratios) > 1 + SAME) or (side < reference.side and min(ratios) < 1 - SAME)
    ]
    return [replace(reference, name=f"{reference.name}, side {side}", side=side) for side in sides]


def contrasts(experiment: Experiment, results: Results) -> Iterator[Contrast]:
    """The pairs that the paper orders, and every row against the reference, at equal steps, time and training."""
    trials = experiment.trials
    reference = trials[experiment.reference]
    for better, worse in experiment.orders:
        yield Contrast(trials[better], ((trials[worse], 1.0),))
    if experiment.number not in PAPER:
        for trial in trials.values():
            if trial != reference:
                yield Contrast(trial, ((reference, 1.0),))
                if same := same_time(experiment, trial, results):
                    yield same
    for trial in as_long(experiment, results).values():
        yield Contrast(trial, ((reference, 1.0),))


def same_time(experiment: Experiment, trial: Trial, results: Results) -> Contrast | None:
    """A trial minus the reference at the same time of a picture; None if its time is not on the reference's curve."""
    times, reference = results.times(experiment), experiment.trials[experiment.reference]
    if times is None or trial.name not in times.milliseconds:
        return None
    if abs(times.ratio(trial.name, reference.name) - 1) <= SAME:
        return Contrast(trial, ((reference, 1.0),))
    points = [point for point in (reference, *curve(experiment, results)) if point.name in times.milliseconds]
    places = sorted((math.log(times.ratio(point.name, reference.name)), point.side, point) for point in points)
    place = math.log(times.ratio(trial.name, reference.name))
    for (low, _, faster), (high, _, slower) in pairwise(places):
        if low <= place <= high:
            weight = (place - low) / (high - low)
            return Contrast(trial, ((faster, 1 - weight), (slower, weight)))
    return None


def _timing(experiment: Experiment, trials: Sequence[Trial], results: Results) -> Timing | None:
    times = results.times(experiment)
    unique = tuple({trial.name: trial for trial in trials}.values())
    is_known = times is not None and all(trial.name in times.milliseconds for trial in unique)
    return None if is_known else Timing(experiment, unique)


def _further_seed(experiments: Sequence[Experiment], results: Results, seeds: int) -> Training | None:
    found: list[tuple[tuple[bool, int, float], Training]] = []
    for experiment in experiments:
        for contrast in contrasts(experiment, results):
            values = results.values(contrast, experiment.figure)
            mean, spread = estimate(values)
            is_open = not abs(mean) > spread  # also where nothing is known
            if len(values) >= seeds or not (is_open or len(values) == 1):
                continue
            seed = next(
                number for number in range(seeds) if any(results.row(t, number) is None for t in contrast.trials)
            )
            trial = next(trial for trial in contrast.trials if results.row(trial, seed) is None)
            closeness = abs(mean) / spread if spread > 0 else 0.0
            found.append(((not is_open, len(values), -closeness), Training(trial, seed)))
    return min(found, key=lambda item: item[0])[1] if found else None
