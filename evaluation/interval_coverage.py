"""How often bootstrap intervals of PQ cover the true PQ, for several methods and kinds of data sets.

    python -m evaluation.interval_coverage --output evaluation/results/interval_coverage.json

A design is a model of a data set and of the predictions for it, of which the true PQ is known. From each design, data
sets are drawn, and the intervals of each method computed on the same resamples. An interval should cover the truth in
95 % of the sets. It is measured for PQ of all classes, for the difference between two result sets for the same images,
and for PQ of four single classes. Exits with 1 if the studentized intervals, which `resampling` uses, cover fewer than
88 % of the true PQs or differences in a design of which at least half of the classes have enough images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from scipy.stats import norm

from panoptic_blend.cli.running import guarded
from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.resampling import ENOUGH_IMAGES, Bootstrap
from panoptic_blend.metrics.sparse import Floats
from panoptic_blend.metrics.weighted_quality import WeightedQuality
from panoptic_blend.structures import Category
from panoptic_blend.terminal import progress_line, right_aligned

LEVEL, LEAST = 0.95, 0.88  # no method covers 90 % where few images have most of the segments
GAIN = 0.3
"""By how much the second result set is better, in logits of the probability to find a segment."""


@dataclass(frozen=True)
class Design:
    """A model of a data set.

    A class occurs in an image with its ``presence``, in ``instances`` segments on average. A segment is found with
    a probability, and with an IoU, whose logits vary by class and, with ``spread``, by image. Spurious predictions are
    ``spurious`` times as many as segments and lie in any image. ``dominance`` is the standard deviation of the
    logarithm of the number of segments in an image, beyond the first of each class.
    """

    name: str
    images: int
    presence: tuple[float, ...]
    instances: float = 2
    found: float = 1
    iou: float = 0.5
    spurious: float = 0.5
    spread: float = 0.7
    dominance: float = 0

    @property
    def has_enough_images(self) -> bool:
        """Whether at least half of the classes are expected in enough images for an interval."""
        return float(np.median(self.presence)) * self.images >= ENOUGH_IMAGES

    def truth(self, gain: float = 0) -> Floats:
        """The true PQ (C,) of the classes; with ``gain``, that of the better predictions."""
        found, iou = self._rates(norm.ppf((np.arange(1000) + 0.5) / 1000), gain)
        return (found * iou).mean(axis=0) / ((1 + found.mean(axis=0) + self.spurious) / 2)

    def draw(self, generator: np.random.Generator) -> tuple[Tallies, Tallies]:
        """Two result sets for a data set; the second is better."""
        shape = self.images, len(self.presence)
        image = generator.standard_normal(self.images)
        scale = np.exp(self.dominance * generator.standard_normal((self.images, 1)) - self.dominance**2 / 2)
        more = generator.poisson(np.broadcast_to((self.instances - 1) * scale, shape))
        segments = (generator.random(shape) < self.presence) * (1.0 + more)
        expected = self.spurious * np.array(self.presence) * (1 + (self.instances - 1) * scale)
        return (
            self._predict(segments, expected, self._rates(image, 0), generator),
            self._predict(segments, expected, self._rates(image, GAIN), generator),
        )

    def _rates(self, image: Floats, gain: float) -> tuple[Floats, Floats]:
        """Probability to find a segment, and mean IoU of a match, (images, C), for images of standard normal ease."""
        by_class = np.random.default_rng(99).standard_normal((2, len(self.presence)))
        ease = self.spread * image[:, None] + gain
        return expit(self.found + 0.7 * by_class[0] + ease), 0.5 + expit(self.iou + 0.35 * by_class[1] + ease / 2) / 2

    def _predict(
        self, segments: Floats, spurious: Floats, rates: tuple[Floats, Floats], generator: np.random.Generator
    ) -> Tallies:
        tp = generator.binomial(segments.astype(np.int64), rates[0]).astype(np.float64)
        fp = generator.poisson(np.broadcast_to(spurious, segments.shape)).astype(np.float64)
        mean, count = 2 * rates[1] - 1, 8 * np.maximum(tp, 1)
        iou_sum = tp * (0.5 + generator.beta(mean * count, (1 - mean) * count) / 2)
        categories = tuple(Category(id, f"class {id}", is_thing=True) for id in range(1, len(self.presence) + 1))
        return Tallies(tuple(range(self.images)), categories, iou_sum, tp, fp, segments - tp)


DESIGNS = (
    Design("ordinary: 200 images, 20 classes", 200, (0.3,) * 20),
    Design("many: 1,000 images, 20 classes", 1000, (0.3,) * 20),
    Design("few: 15 images, 10 classes", 15, (0.6,) * 10),
    Design("30 images, 2 classes", 30, (0.7,) * 2),
    Design("rare: 500 images, 40 classes in 10 each", 500, (0.02,) * 40, instances=1),
    Design("too rare: 500 images, 40 classes in 3 each", 500, (0.006,) * 40, instances=1),
    Design("once: 500 images, 40 classes in 1 each", 500, (0.002,) * 40, instances=1),
    Design("long tail: 400 images, 80 classes in 240 to 3", 400, tuple(0.6 / rank for rank in range(1, 81))),
    Design("dominated: 200 images, a few with most segments", 200, (0.3,) * 10, instances=4, dominance=2),
    Design("near perfect: 100 images, PQ 97", 100, (0.4,) * 10, found=5, iou=3, spurious=0.01),
    Design("hopeless: 100 images, PQ 2", 100, (0.4,) * 10, found=-4, iou=-2),
)


@dataclass(frozen=True)
class Coverage:
    """Fractions of sets whose interval covers the truth, is too low and is too high, and the mean width in points."""

    design: str
    of: str
    method: str
    covered: float
    too_low: float
    too_high: float
    width: float


def bounds(bootstrap: Bootstrap, column: int, lowest: float) -> dict[str, tuple[float, float]]:
    """Bounds of a statistic within ``lowest`` to 1 by each of the methods."""
    value, values = bootstrap.value[column], bootstrap.values[:, column]
    values, tails = np.sort(values[~np.isnan(values)]), np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.quantile(values, tails)
    found = {
        "percentile": (low, high),
        "basic": (2 * value - high, 2 * value - low),
        "BCa": tuple(np.quantile(values, _accelerated(value, values, bootstrap.influence[:, column], tails))),
        "studentized": bootstrap.bounds(column, LEVEL) or (lowest, 1.0),
    }
    return {name: (max(low, lowest), min(high, 1.0)) for name, (low, high) in found.items()}


def _accelerated(value: float, values: Floats, influence: Floats, tails: Floats) -> Floats:
    """The quantiles of BCa: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation 14.10."""
    below = ((values < value).mean() + (values <= value).mean()) / 2
    bias = norm.ppf(np.clip(below, 1 / len(values), 1 - 1 / len(values)))
    acceleration = (influence**3).sum() / max(6 * (influence**2).sum() ** 1.5, 1e-30)
    shifted = bias + norm.ppf(tails)
    quantiles: Floats = norm.cdf(bias + shifted / (1 - acceleration * shifted))
    return quantiles


def study(design: Design, sets: int, resamples: int, seed: int) -> Iterator[Coverage]:
    """Yield the coverage of each statistic by each method."""
    generator, first, second = np.random.default_rng(seed), design.truth(), design.truth(GAIN)
    classes = np.unique(np.linspace(0, len(first) - 1, 4).astype(int)).tolist()
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    with progress_line(design.name, "sets") as progress:
        for number in range(sets):
            one, two = design.draw(generator)
            quality = Bootstrap(WeightedQuality(one), resamples, seed=number)
            gain = Bootstrap(WeightedQuality(two, minus=one), resamples, seed=number)
            statistics = [("PQ", quality, 0, first.mean(), 0), ("difference", gain, 0, (second - first).mean(), -1)]
            statistics += [("class", quality, 3 + c, first[c], 0) for c in classes if quality.occurrences[3 + c] > 0]
            for of, bootstrap, column, truth, lowest in statistics:
                for method, (low, high) in bounds(bootstrap, column, lowest).items():
                    found.setdefault((of, method), []).append((low, high, truth))
            progress(number + 1, sets)
    for (of, method), rows in found.items():
        low, high, truth = np.array(rows).T
        too_low, too_high, width = (high < truth).mean(), (low > truth).mean(), 100 * (high - low).mean()
        figures = 1 - too_low - too_high, too_low, too_high, width
        yield Coverage(design.name, of, method, *(round(float(figure), 4) for figure in figures))


def table(found: list[Coverage], of: str) -> Table:
    """Percent of intervals that cover the truth, with those that are too low and too high, and their mean width."""
    title = f"Intervals of {of}: covering the truth (too low, too high), % of the sets; mean width, points"
    rows = [row for row in found if row.of == of]
    methods = list(dict.fromkeys(row.method for row in rows))
    result = right_aligned("design", *methods, title=title)
    for design in dict.fromkeys(row.design for row in rows):
        cells = {
            row.method: f"{100 * row.covered:.1f} ({100 * row.too_low:.1f}, {100 * row.too_high:.1f}); {row.width:.1f}"
            for row in rows
            if row.design == design
        }
        result.add_row(design, *(cells[method] for method in methods))
    return result


def missed(found: list[Coverage]) -> list[str]:
    """One line for each interval that covers too rarely."""
    judged = {design.name for design in DESIGNS if design.has_enough_images}
    return [
        f"{row.design}: the interval of {row.of} covers the truth in {100 * row.covered:.1f} % of the sets"
        for row in found
        if row.design in judged and row.of != "class" and row.method == "studentized" and row.covered < LEAST
    ]


def interval_coverage(
    sets: Annotated[int, typer.Option(min=1, help="Data sets drawn from each design.")] = 1000,
    resamples: Annotated[int, typer.Option(min=1, help="Resamples of each data set.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the data sets.")] = 0,
    output: Annotated[Path | None, typer.Option(help="JSON file for the results.")] = None,
) -> None:
    """Measure how often intervals of PQ cover the truth."""
    found = [row for design in DESIGNS for row in study(design, sets, resamples, seed)]
    if output:
        rows = ",\n  ".join(json.dumps(asdict(row)) for row in found)
        options = f'"sets": {sets},\n "resamples": {resamples},\n "seed": {seed}'
        output.write_text(f'{{{options},\n "coverage": [\n  {rows}\n ]}}\n', encoding="utf-8")
    Console(width=180).print(*(table(found, of) for of in ("PQ", "difference", "class")))
    problems = missed(found)
    print(*problems, sep="\n")
    raise typer.Exit(int(bool(problems)))


if __name__ == "__main__":
    guarded(lambda: typer.run(interval_coverage))
