"""Measure how often bootstrap intervals of AP cover the figure that they should.

    python -m evaluation.ap_coverage --pool 1500 --images 500 --sets 100

Draws data sets from a pool of generated images, as `evaluation.ap_speed` makes them. Of each data set, an interval is
computed from resamples in several ways, and compared with two figures: the mean over many data sets of that size, and
the figure of the whole pool. Prints how many intervals cover each of them; 95% should.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.table import Table

from evaluation.ap_speed import CATEGORIES, generated
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_columns import Bools
from panoptic_blend.metrics.instance_report import TWELVE
from panoptic_blend.metrics.sparse import Floats
from panoptic_blend.metrics.weighted_precision import WeightedPrecision
from panoptic_blend.terminal import percent, right_aligned

FIGURES = ("AP", "AP50", "AP_S", "AP_L", "AR100")
_COLUMNS = [TWELVE.index(name) for name in FIGURES]
_MANY, _RESAMPLES, _TAILS, _ROUNDING = 400, 200, (0.025, 0.975), 1e-9


@dataclass(frozen=True)
class Coverage:
    """Shares of intervals, by method and then by ``FIGURES``, that cover the figure of a size and of the pool.

    ``higher`` are by how much the figures of data sets of that size are above those of the pool on average.
    """

    of_size: dict[str, Floats]
    of_pool: dict[str, Floats]
    higher: Floats


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=int, default=1500)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--sets", type=int, default=100)
    options = parser.parse_args()
    Console().print(table(coverage(options.pool, options.images, options.sets), options.images))


def coverage(pool: int, images: int, sets: int, seed: int = 0) -> Coverage:
    """Coverage of ``sets`` data sets of ``images`` images each, by boxes."""
    metric = AveragePrecision(CATEGORIES)
    for image, (truth, found) in enumerate(generated(pool, seed)):
        metric.update(truth, replace(found, masks=None), image)
    precision, generator = WeightedPrecision(metric.tallies()["box"]), np.random.default_rng(seed)

    def drawn(shares: Floats, number: int) -> Floats:
        weights = generator.multinomial(images, shares, number)
        return precision.estimate(weights.astype(np.float64))[:, _COLUMNS]

    alike = np.full(pool, 1 / pool)
    whole, mean = precision.estimate(np.ones((1, pool)))[0, _COLUMNS], drawn(alike, _MANY).mean(axis=0)
    of_size: defaultdict[str, list[Bools]] = defaultdict(list)
    of_pool: defaultdict[str, list[Bools]] = defaultdict(list)
    for _ in range(sets):
        weights = generator.multinomial(images, alike).astype(np.float64)
        value = precision.estimate(weights[None])[0, _COLUMNS]
        for method, low, high in intervals(value, drawn(weights / images, _RESAMPLES)):
            of_size[method].append(_covers(low, high, mean))
            of_pool[method].append(_covers(low, high, whole))
    return Coverage(_shares(of_size), _shares(of_pool), higher=mean - whole)


def _covers(low: Floats, high: Floats, figure: Floats) -> Bools:
    return (low - _ROUNDING <= figure) & (figure <= high + _ROUNDING)


def _shares(hits: Mapping[str, list[Bools]]) -> dict[str, Floats]:
    return {method: np.mean(sets, axis=0) for method, sets in hits.items()}


def intervals(value: Floats, resamples: Floats) -> Iterator[tuple[str, Floats, Floats]]:
    """Name and bounds (F,) of intervals of 95%, from figures (F,) and those of resamples (R, F)."""
    low, high = np.quantile(resamples, _TAILS, axis=0)
    yield "percentile", low, high
    yield "basic", 2 * value - high, 2 * value - low
    spread = 1.96 * resamples.std(axis=0)
    yield "normal", value - spread, value + spread


def table(found: Coverage, images: int) -> Table:
    """Coverage in percent."""
    result = right_aligned("interval", "of", *FIGURES, title="Intervals of 95% that cover a figure", words=2)
    for target, shares in ((f"{images} images", found.of_size), ("the pool", found.of_pool)):
        for method, share in shares.items():
            result.add_row(method, target, *map(percent, share.tolist()))
    result.add_row("figure", f"{images} images", *(f"{100 * higher:+.1f}" for higher in found.higher.tolist()))
    return result


if __name__ == "__main__":
    main()
