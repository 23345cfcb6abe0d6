"""Results of `evaluation.fit_quality`: one line of JSON for each trained model, and tables made of these lines alone.

A line holds the figures of a model on a split of a data set, and the same figures on a fixed list of resamples of its
pictures. The list depends on the number of pictures only, so that the resamples of two models are the same and their
differences are paired.

The intervals are over pictures and seeds: normal intervals whose standard deviation is that of a bootstrap which draws
a resample of the pictures, and seeds with replacement, independently, as every seed is judged on all pictures (Owen,
The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007). Of n seeds the bootstrap shows a variance that is (n -
1) / n times what it should be, which is corrected; of one seed it shows none, so that such intervals are of pictures
only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from rich.table import Table

from evaluation.result_lines import read_lines
from panoptic_blend.files import without_nan
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.resampling import draws
from panoptic_blend.metrics.weighted_precision import WeightedPrecision
from panoptic_blend.metrics.weighted_quality import WeightedQuality
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.table_formats import NOTHING
from panoptic_blend.terminal import right_aligned

FIGURES = "PQ", "things", "stuff", "AP"
"""PQ of all, thing and stuff classes, and AP of masks."""
RESAMPLES = 400
_DRAWS = 4000
_IN = 10_000
"""Figures of resamples are whole numbers of ten-thousandths, to keep lines short."""

Floats = npt.NDArray[np.float64]
Key = tuple[str, str, int, str]


@dataclass(frozen=True)
class Row:
    """A trained model, judged on a split.

    ``options`` are what distinguishes the variant, as ``key=value`` or arguments; ``digest`` is that of the whole
    config. ``seconds`` and ``iterations`` are those of the training; for ``fit``, ``seconds`` are those of everything.
    ``figures`` are fractions, None over nothing, and ``resampled`` the same of each resample in ten-thousandths.
    """

    experiment: str
    variant: str
    seed: int
    split: str
    options: list[str]
    digest: str
    machine: str
    cores: int
    torch: str
    date: str
    seconds: float
    iterations: int
    images: int
    figures: dict[str, float | None]
    resampled: dict[str, list[int | None]]

    @property
    def key(self) -> Key:
        """What the row is of; there is one row of each."""
        return self.experiment, self.variant, self.seed, self.split

    def values(self, figure: str) -> Floats:
        """A figure of all pictures, then of each resample: (1 + RESAMPLES,); NaN over nothing."""
        whole, parts = self.figures.get(figure), self.resampled.get(figure) or [None] * RESAMPLES
        return np.array([_number(whole), *(_number(part) / _IN for part in parts)])


def figures_of(
    details: PanopticDetails | None, instances: AveragePrecision
) -> tuple[dict[str, float | None], dict[str, list[int | None]]]:
    """The ``figures`` and ``resampled`` of a `Row`, for a model that was run over all pictures.

    Without ``details``, only AP is known.
    """
    masks = WeightedPrecision(instances.tallies()["mask"])
    weights = np.concatenate([np.ones((1, masks.images)), *draws(masks.images, RESAMPLES, seed=0)])
    columns = {"AP": masks.estimate(weights)[:, 0]}
    if details is not None:
        quality = WeightedQuality(details.tallies()).estimate(weights).value
        columns |= {name: quality[:, i] for i, name in enumerate(FIGURES[:3])}
    figures = {name: float(column[0]) for name, column in columns.items()}
    rounded = {name: np.rint(_IN * column[1:]) for name, column in columns.items()}
    whole = {name: [None if math.isnan(x) else int(x) for x in column.tolist()] for name, column in rounded.items()}
    return without_nan(figures), whole


def read_rows(path: Path) -> dict[Key, Row]:
    """The rows of a file by their keys, none if there is no file; a later row replaces an earlier one of its key.

    Raises:
        PanopticBlendError: a line is no row.
    """
    return read_lines(path, lambda fields: Row(**fields))


def table(rows: Iterable[Row], experiment: str, split: str, reference: str) -> Table:
    """The variants of an experiment on a split, with intervals, and their differences from the reference."""
    by_variant: dict[str, list[Row]] = {}
    for row in rows:
        if (row.experiment, row.split) == (experiment, split):
            by_variant.setdefault(row.variant, []).append(row)
    columns = ["seeds", "cores", "min", "steps", *FIGURES, *(f"{name} - {reference}" for name in ("PQ", "AP"))]
    found = right_aligned("variant", *columns, title=f"{experiment}, {split}: % with 95% intervals")
    for variant, own in by_variant.items():
        others = by_variant.get(reference, []) if variant != reference else []
        cells = [interval([row.values(name) for row in own]) for name in FIGURES]
        cells += [interval(_differences(own, others, name), sign="+") for name in ("PQ", "AP")]
        seconds, steps = (np.mean([getattr(row, name) for row in own]) for name in ("seconds", "iterations"))
        cores = ", ".join(map(str, sorted({row.cores for row in own})))
        found.add_row(variant, str(len(own)), cores, f"{seconds / 60:.1f}", f"{steps:.0f}", *cells)
    return found


def interval(values: Sequence[Floats], sign: str = "") -> str:
    """The mean over seeds in percent with its interval; ``values`` (1 + RESAMPLES,) of each seed as from `Row`."""
    mean, spread = estimate(values)
    if math.isnan(mean):
        return NOTHING
    if math.isnan(spread):
        return f"{100 * mean:{sign}.1f}"
    return f"{100 * mean:{sign}.1f} ({100 * (mean - spread):{sign}.1f} to {100 * (mean + spread):{sign}.1f})"


def estimate(values: Sequence[Floats]) -> tuple[float, float]:
    """The mean over seeds and half the width of its 95% interval, of values as for `interval`; NaN if unknown."""
    if not values or np.isnan([value[0] for value in values]).any():
        return math.nan, math.nan
    table = np.stack(values)
    return float(table[:, 0].mean()), NormalDist().inv_cdf(0.975) * deviation(table[:, 1:])


def deviation(resampled: Floats) -> float:
    """The standard deviation of the mean over seeds, of ``resampled`` (seeds, resamples); NaN if nothing is known."""
    known = resampled[:, ~np.isnan(resampled).any(axis=0)]
    seeds, count = known.shape
    if not count:
        return math.nan
    rng = np.random.default_rng(0)
    pictures, chosen = rng.integers(0, count, _DRAWS), rng.integers(0, seeds, (seeds, _DRAWS))
    of_all = known.mean(axis=0)[pictures]
    moved = known[chosen, pictures].mean(axis=0) - of_all
    return float((of_all + math.sqrt(seeds / max(seeds - 1, 1)) * moved).std())


def _differences(own: Sequence[Row], others: Sequence[Row], figure: str) -> list[Floats]:
    """A figure minus that of the reference with the same seed, for the seeds that both have."""
    by_seed = {row.seed: row for row in others}
    pairs = [(row, by_seed[row.seed]) for row in own if row.seed in by_seed]
    if any(row.images != other.images for row, other in pairs):
        raise PanopticBlendError(
            f"{own[0].experiment}: {own[0].variant} and {others[0].variant} were judged on other pictures; "
            "remove the lines of one"
        )
    return [row.values(figure) - other.values(figure) for row, other in pairs]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def of_experiments(rows: Mapping[Key, Row]) -> list[tuple[str, str]]:
    """The experiments and splits that occur, in the order of the rows."""
    return list(dict.fromkeys((row.experiment, row.split) for row in rows.values()))
