"""What limits a model, in plain words: the causes that cost most PQ, and the classes with few examples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.details import SIZES, PanopticDetails, SegmentRow
from panoptic_blend.metrics.instance_budget import InstanceErrorBudget
from panoptic_blend.metrics.instance_errors import InstanceCause
from panoptic_blend.metrics.panoptic_quality import PanopticReport
from panoptic_blend.scoring.details import Findings
from panoptic_blend.scoring.instance_findings import InstanceFindings
from panoptic_blend.structures import Category
from panoptic_blend.terminal import percent

FEW_EXAMPLES = 50
"""A class with fewer training segments has few."""

MOST_LISTED = 3
"""The number of causes that are listed, and of classes in one line."""

_COSTLY = 0.005
"""The least loss of PQ, as a fraction, that is listed."""

_WORDS = {
    Cause.WRONG_CLASS: "{} of the wrong class",
    Cause.DUPLICATE: "{} found twice",
    Cause.SPLIT: "{} found in pieces",
    Cause.MERGED: "neighboring {} taken for one",
    Cause.POOR_OUTLINE: "{} with a poor outline (IoU from 0.3 to 0.5)",
    Cause.SWALLOWED: "{} covered by another class",
    Cause.MISSED: "missed {}",
    Cause.BACKGROUND: "{} seen where none is",
    Cause.INEXACT: "outlines of found {} that are not exact",
}
_INSTANCE_WORDS = {
    InstanceCause.DUPLICATE: "things found twice",
    InstanceCause.CLASSIFICATION: "things of the wrong class",
    InstanceCause.LOCALIZATION: "things with a poor outline (IoU from 0.1 to 0.5)",
    InstanceCause.BOTH: "things of the wrong class with a poor outline",
    InstanceCause.BACKGROUND: "things seen where none is",
    InstanceCause.MISSED: "missed things",
}


@dataclass(frozen=True)
class Limit:
    """A cause that costs ``points`` of the PQ of all classes, as a fraction, among things or stuff."""

    cause: Cause
    is_thing: bool
    points: float
    detail: str

    @property
    def words(self) -> str:
        """The cause in words, with what it costs."""
        what = _WORDS[self.cause].format("things" if self.is_thing else "stuff")
        return f"{what} {f'({self.detail}) ' if self.detail else ''}cost {percent(self.points)} points"


def limits(details: PanopticDetails, findings: Findings, *, has_stuff: bool = True) -> list[Limit]:
    """What costs most, the most expensive cause first; causes that cost little are left out.

    ``has_stuff`` is false for a model that predicts things only.
    """
    rows = list(details.segments())
    kinds = (True, False) if has_stuff else (True,)
    classes = {id: x for id, x in findings.budget.per_class.items() if details.categories[id].is_thing in kinds}
    found = []
    for is_thing in kinds:
        budgets = [classes[c.id] for c in findings.report.categories if c.is_thing == is_thing and c.id in classes]
        for cause in Cause:
            points = sum(budget.lost[cause] for budget in budgets) / max(len(classes), 1)
            if points >= _COSTLY:
                of_kind = [r for r in rows if r.cause == cause and details.categories[r.category].is_thing == is_thing]
                found.append(Limit(cause, is_thing, points, _detail(cause, of_kind, details.categories)))
    return sorted(found, key=lambda limit: -limit.points)[:MOST_LISTED]


def _detail(cause: Cause, rows: Sequence[SegmentRow], categories: Mapping[int, Category]) -> str:
    """The most frequent confusion, or the share of small segments among the missed ones."""
    missed = [row for row in rows if row.side == "truth"]
    if cause in (Cause.WRONG_CLASS, Cause.SWALLOWED):
        pairs = Counter((row.category, row.nearest_category) for row in missed if row.nearest_category is not None)
        if pairs:
            (truth, taken), _ = pairs.most_common(1)[0]
            return f"most often {named(categories[truth])} taken for {named(categories[taken])}"
    if cause is Cause.MISSED and missed:
        share = sum(row.area < SIZES["small"][1] for row in missed) / len(missed)
        return f"{share:.0%} of them under 32 x 32 pixels" if share >= 0.5 else ""
    return ""


def named(category: Category) -> str:
    """The name of a class in quotes, as one harmless word of Markdown too."""
    return "`" + "".join(c if c.isprintable() and c != "`" else " " for c in category.name)[:80] + "`"


def instance_limits(budget: InstanceErrorBudget) -> list[str]:
    """What costs a model of instances alone most, in words, as `limits` does."""
    shares = sorted(budget.all.shares.items(), key=lambda item: -item[1])
    return [f"{_INSTANCE_WORDS[c]} cost {percent(share)} points" for c, share in shares if share >= _COSTLY][
        :MOST_LISTED
    ]


def class_qualities(findings: Findings | InstanceFindings) -> list[tuple[Category, float]]:
    """The classes that occur and the PQ of each, of instances alone its AP of masks; the weakest first."""
    report = findings.report
    if isinstance(report, PanopticReport):
        found = [(c, report.per_class[c.id]["pq"]) for c in report.categories if report.occurs(c.id)]
    else:
        masks = [(c, report.per_class[c.id].mask) for c in report.categories]
        found = [(c, figures.ap) for c, figures in masks if figures and not math.isnan(figures.ap)]
    return sorted(found, key=lambda item: item[1])


def rare_and_weak(qualities: Sequence[tuple[Category, float]], examples: Mapping[int, int]) -> list[Category]:
    """The classes below the mean with few ``examples``, training segments by category id; the rarest first."""
    mean = sum(quality for _, quality in qualities) / max(len(qualities), 1)
    weak = [c for c, quality in qualities if quality < mean and examples.get(c.id, FEW_EXAMPLES) < FEW_EXAMPLES]
    return sorted(weak, key=lambda c: examples[c.id])


def to_label(findings: Findings | InstanceFindings, examples: Mapping[int, int]) -> Iterator[str]:
    """The classes of which to label more pictures, and why."""
    qualities = class_qualities(findings)
    if rare := rare_and_weak(qualities, examples)[:MOST_LISTED]:
        yield "with classes of few examples: " + ", ".join(f"{named(c)} ({examples[c.id]})" for c in rare)
    elif weak := qualities[:MOST_LISTED]:
        yield "with the weakest classes: " + ", ".join(named(c) for c, _ in weak)


def small_are_missed(found: Sequence[Limit]) -> bool:
    """Whether missed things, most of them small, are among what costs most."""
    return any(limit.cause is Cause.MISSED and limit.is_thing and limit.detail for limit in found)
