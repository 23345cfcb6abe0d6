"""PQ: golden figures, a slow reference, and cases by hand."""

from __future__ import annotations

import itertools
import json
import math
import pickle
from collections.abc import Sequence
from fractions import Fraction
from functools import cache, reduce
from operator import add
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.metrics.overlaps import Comparison, compare, match
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport
from panoptic_blend.metrics.sparse import SparseTable
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = ["P5_pq_a", "P5_pq_b", "P5_pq_c"]

PERSON, SKY, CAT, ROAD = 1, 187, 17, 149
CATEGORIES = [
    Category(PERSON, "person", is_thing=True),
    Category(SKY, "sky", is_thing=False),
    Category(CAT, "cat", is_thing=True),
    Category(ROAD, "road", is_thing=False),
]
LARGEST_ID = 2**24 - 1


class Pair(NamedTuple):
    truth: PanopticMap
    prediction: PanopticMap


def segment(id: int, category: int, crowd: bool = False, area: int = 1) -> Segment:
    return Segment(id, category, is_thing=category in (PERSON, CAT), score=None, area=area, box=None, is_crowd=crowd)


def panoptic(rows: Sequence[Sequence[int]], *segments: Segment) -> PanopticMap:
    return PanopticMap(np.array(rows, dtype=np.int32).reshape(len(rows), -1), list(segments))


def quality(*pairs: tuple[PanopticMap, PanopticMap]) -> PanopticReport:
    metric = PanopticQuality(CATEGORIES)
    for truth, prediction in pairs:
        metric.update(truth, prediction)
    return metric.compute()


def counts(report: PanopticReport, category: int) -> tuple[int, int, int]:
    found = report.per_class[category]
    return found["tp"], found["fp"], found["fn"]


# --- the results of the reference implementation ----------------------------------------------------------------------


def read_map(path: Path, records: Sequence[dict[str, Any]]) -> PanopticMap:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None
    ids = (picture.astype(np.int32) * (65536, 256, 1)).sum(axis=2).astype(np.int32)  # opencv reads B, G, R
    return panoptic(ids, *(segment(r["id"], r["category_id"], bool(r.get("iscrowd", 0))) for r in records))


@cache
def golden(case: str) -> tuple[list[dict[str, Any]], list[Pair], dict[str, Any]]:
    folder = GOLDEN / case
    truth = json.loads((folder / "gt.json").read_text())
    predicted = {r["image_id"]: r for r in json.loads((folder / "pred.json").read_text())["annotations"]}
    pairs = [
        Pair(
            read_map(folder / "gt" / record["file_name"], record["segments_info"]),
            read_map(folder / "pred" / found["file_name"], found["segments_info"]),
        )
        for record in truth["annotations"]
        for found in [predicted[record["image_id"]]]
    ]
    return truth["categories"], pairs, json.loads((folder / "expected.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_golden_figures(case: str) -> None:
    categories, pairs, expected = golden(case)
    metric = PanopticQuality(categories)
    for pair in pairs:
        metric.update(*pair)
    report = metric.compute()
    for group in ("All", "Things", "Stuff"):
        assert report[group] == pytest.approx(expected[group], rel=0, abs=1e-12)
    assert len(report.per_class) == 133
    for category, figures in expected["per_class"].items():
        assert report.per_class[int(category)] == pytest.approx(figures, rel=0, abs=1e-12)


def test_any_number_of_ranks_and_any_order_of_merging_give_the_same_bits() -> None:
    categories = golden(CASES[0])[0]
    pairs = [pair for case in CASES for pair in golden(case)[1]]
    single = PanopticQuality(categories)
    for pair in pairs:
        single.update(*pair)
    for order in itertools.permutations(range(3)):
        ranks = [PanopticQuality(categories) for _ in range(3)]
        for index, pair in enumerate(pairs):
            ranks[index % 3].update(*pair)
        ranks = [pickle.loads(pickle.dumps(ranks[rank])) for rank in order]
        ranks[1].merge(ranks[2])
        ranks[0].merge(ranks[1])
        assert ranks[0].compute() == single.compute()


# --- a slow reference: sets of pixels, one segment after another ------------------------------------------------------


class Tally(NamedTuple):
    ious: list[Fraction]
    fp: int
    fn: int


def pixels_of(panoptic_map: PanopticMap, id: int) -> set[tuple[int, int]]:
    height, width = panoptic_map.segment_ids.shape
    return {(y, x) for y in range(height) for x in range(width) if panoptic_map.segment_ids[y, x] == id}


def slow_tally(truth: PanopticMap, prediction: PanopticMap, category: int) -> Tally:
    void = pixels_of(truth, 0)
    mine = [(s, pixels_of(truth, s.id)) for s in truth.segments if s.category == category]
    objects = [pixels for s, pixels in mine if pixels and not s.is_crowd]
    crowds = [pixels for s, pixels in mine if pixels and s.is_crowd]
    crowd = crowds[-1] if crowds else set()
    guesses = [
        pixels for s in prediction.segments if s.category == category and (pixels := pixels_of(prediction, s.id))
    ]
    ious, fp, found = [], 0, 0
    for guess in guesses:
        scores = [Fraction(len(guess & thing), len((guess | thing) - (guess & void))) for thing in objects]
        matches = [score for score in scores if score > Fraction(1, 2)]
        if matches:
            (iou,) = matches  # never more than one
            ious.append(iou)
            found += 1
        elif Fraction(len(guess & (void | crowd)), len(guess)) <= Fraction(1, 2):
            fp += 1
    return Tally(ious, fp, len(objects) - found)


@st.composite
def segmentations(draw: st.DrawFn, lines: npt.NDArray[np.int64], truth: bool) -> PanopticMap:
    """A map with the segment numbers ``lines`` (0 for void), and random ids and categories of the segments."""
    count = draw(st.integers(int(lines.max(initial=0)), 6))
    ids = draw(st.lists(st.integers(1, LARGEST_ID), min_size=count, max_size=count, unique=True))
    segments = [
        segment(
            id,
            draw(st.sampled_from([PERSON, SKY, CAT])),
            crowd=truth and draw(st.booleans()),
            area=draw(st.integers(0, 9)) if (lines == number).any() else 0,
        )
        for number, id in enumerate(ids, 1)
    ]
    return PanopticMap(np.array([0, *ids], dtype=np.int32)[lines], segments)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Truth and a prediction that differs in some pixels, so that good, poor and missing matches all occur."""
    height, width = draw(st.integers(0, 5)), draw(st.integers(0, 7))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    coarse = generator.integers(0, draw(st.integers(1, 7)), (height, 1 + width // 3))
    lines = coarse.repeat(3, axis=1)[:, :width]
    changed = generator.random((height, width)) < draw(st.sampled_from([0.0, 0.1, 0.3, 1.0]))
    return Pair(
        draw(segmentations(lines, truth=True)),
        draw(segmentations(np.where(changed, generator.integers(0, 7, (height, width)), lines), truth=False)),
    )


@settings(deadline=None)
@given(st.lists(pairs(), max_size=4))
def test_agrees_with_the_slow_reference(images: list[Pair]) -> None:
    report = quality(*images)
    for category in CATEGORIES:
        tallies = [slow_tally(*image, category.id) for image in images]
        ious = [iou for tally in tallies for iou in tally.ious]
        fp, fn = sum(tally.fp for tally in tallies), sum(tally.fn for tally in tallies)
        assert counts(report, category.id) == (len(ious), fp, fn)
        found = report.per_class[category.id]
        assert found["iou_sum"] == pytest.approx(float(sum(ious)), rel=0, abs=1e-12)
        if ious or fp or fn:
            weight = len(ious) + Fraction(fp, 2) + Fraction(fn, 2)
            assert found["pq"] == pytest.approx(float(sum(ious) / weight), rel=0, abs=1e-12)
            assert found["pq"] == pytest.approx(found["sq"] * found["rq"], rel=0, abs=1e-12)
    seen = [quality for quality in report.per_class.values() if quality["tp"] + quality["fp"] + quality["fn"]]
    assert report["All"]["n"] == len(seen)
    assert not seen or report["All"]["pq"] * len(seen) == pytest.approx(sum(quality["pq"] for quality in seen))
    assert report["Stuff"]["n"] == (sum(counts(report, SKY)) > 0)


@settings(deadline=None)
@given(pairs())
def test_every_pixel_is_counted_once(image: Pair) -> None:
    table = compare(*image).table
    expected = [
        [len(pixels_of(image.truth, t) & pixels_of(image.prediction, p)) for p in ids]
        for ids in [[0, *(s.id for s in image.prediction.segments)]]
        for t in [0, *(s.id for s in image.truth.segments)]
    ]
    assert table.dtype == np.int64
    assert table.tolist() == expected


@settings(deadline=None)
@given(st.lists(pairs(), min_size=1, max_size=5), st.randoms())
def test_merging_in_any_order_equals_one_pass(images: list[Pair], random: Random) -> None:
    parts = []
    for image in images:
        parts.append(PanopticQuality(CATEGORIES))
        parts[-1].update(*image)
    while len(parts) > 1:
        other = parts.pop(random.randrange(len(parts)))
        parts[random.randrange(len(parts))].merge(other)
    assert parts[0].compute() == quality(*images)


# --- cases worked out by hand ----------------------------------------------------------------------------------------


def test_nothing_updated() -> None:
    report = quality()
    for group in ("All", "Things", "Stuff"):
        assert np.isnan([report[group]["pq"], report[group]["sq"], report[group]["rq"]]).all()
        assert report[group]["n"] == 0
    figures = json.loads(json.dumps(report.figures(), allow_nan=False))
    assert figures["Stuff"] == {"pq": None, "sq": None, "rq": None, "n": 0}
    absent = {"pq": None, "sq": None, "rq": None, "iou_sum": 0.0, "tp": 0, "fp": 0, "fn": 0}
    assert figures["per_class"][str(CAT)] == absent
    assert report.per_class[CAT] == {"pq": 0.0, "sq": 0.0, "rq": 0.0, "iou_sum": 0.0, "tp": 0, "fp": 0, "fn": 0}
    assert report.categories == tuple(CATEGORIES)
    with pytest.raises(KeyError):
        report["all"]


def test_perfect_map() -> None:
    truth = panoptic([[7, 7, 9], [8, 0, 9]], segment(7, PERSON), segment(8, PERSON), segment(9, SKY))
    prediction = panoptic([[1, 1, 3], [2, 2, 3]], segment(1, PERSON), segment(2, PERSON), segment(3, SKY))
    report = quality((truth, prediction))
    assert counts(report, PERSON) == (2, 0, 0)
    assert report["All"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 2}
    assert report["Things"]["n"] == report["Stuff"]["n"] == 1


def test_one_pixel() -> None:
    truth = panoptic([[LARGEST_ID]], segment(LARGEST_ID, CAT))
    assert quality((truth, panoptic([[5]], segment(5, CAT)))).per_class[CAT]["pq"] == 1.0
    wrong = quality((truth, panoptic([[5]], segment(5, PERSON))))
    assert counts(wrong, CAT) == (0, 0, 1)
    assert counts(wrong, PERSON) == (0, 1, 0)
    assert wrong["All"] == {"pq": 0.0, "sq": 0.0, "rq": 0.0, "n": 2}
    assert counts(quality((truth, panoptic([[0]]))), CAT) == (0, 0, 1)


def test_a_prediction_on_void_is_ignored() -> None:
    report = quality((panoptic([[0, 0]]), panoptic([[5, 6]], segment(5, CAT), segment(6, SKY))))
    assert report["All"]["n"] == 0


def test_void_is_excluded_from_the_union() -> None:
    # 2 pixels shared, 2 more predicted on void, 1 predicted on sky: 2 / (5 + 2 - 2 - 2)
    truth = panoptic([[1, 1, 0, 0, 2]], segment(1, CAT), segment(2, SKY))
    prediction = panoptic([[4, 4, 4, 4, 4]], segment(4, CAT))
    report = quality((truth, prediction))
    assert report.per_class[CAT]["iou_sum"] == 2 / 3
    assert report["All"] == {"pq": 1 / 3, "sq": 1 / 3, "rq": 0.5, "n": 2}


def test_an_iou_of_one_half_is_not_a_match() -> None:
    truth = panoptic([[1, 1, 2, 2]], segment(1, CAT), segment(2, SKY))
    half = panoptic([[4, 0, 0, 0]], segment(4, CAT))
    assert counts(quality((truth, half)), CAT) == (0, 1, 1)
    more = panoptic([[4, 4, 4, 0]], segment(4, CAT))
    assert quality((truth, more)).per_class[CAT]["iou_sum"] == 2 / 3


def test_exactly_half_on_void_is_still_a_false_positive() -> None:
    truth = panoptic([[0, 0, 1, 1]], segment(1, SKY))
    assert counts(quality((truth, panoptic([[0, 4, 4, 0]], segment(4, CAT)))), CAT) == (0, 1, 0)
    assert counts(quality((truth, panoptic([[4, 4, 4, 0]], segment(4, CAT)))), CAT) == (0, 0, 0)


def test_predictions_on_a_crowd_of_their_category_are_ignored_as_is_the_crowd() -> None:
    truth = panoptic([[1, 1, 1, 2]], segment(1, PERSON, crowd=True), segment(2, SKY))
    assert counts(quality((truth, panoptic([[4, 4, 4, 0]], segment(4, PERSON)))), PERSON) == (0, 0, 0)
    assert counts(quality((truth, panoptic([[4, 4, 4, 0]], segment(4, CAT)))), CAT) == (0, 1, 0)
    assert counts(quality((truth, panoptic([[0, 0, 0, 0]]))), PERSON) == (0, 0, 0)


def test_the_last_of_several_crowds_counts() -> None:
    ids = [[1, 1, 2, 2]]
    one, two = segment(1, PERSON, crowd=True), segment(2, PERSON, crowd=True)
    on_one = panoptic([[4, 4, 0, 0]], segment(4, PERSON))
    assert counts(quality((panoptic(ids, one, two), on_one)), PERSON) == (0, 1, 0)
    assert counts(quality((panoptic(ids, two, one), on_one)), PERSON) == (0, 0, 0)
    empty = segment(3, PERSON, crowd=True, area=0)
    assert counts(quality((panoptic(ids, two, one, empty), on_one)), PERSON) == (0, 0, 0)


def test_matches_are_indices_of_segments() -> None:
    truth = [segment(1, SKY), segment(2, CAT), segment(3, PERSON)]
    prediction = [segment(1, CAT), segment(2, ROAD)]
    table = np.array([[0, 0, 0], [0, 0, 4], [0, 9, 1], [5, 0, 0]])
    found = match(Comparison.from_overlaps(SparseTable.from_dense(table), truth, prediction))
    assert (found.truth.tolist(), found.prediction.tolist(), found.iou.tolist()) == ([1], [0], [0.9])
    assert (found.missed.tolist(), found.spurious.tolist()) == ([0, 2], [1])


def test_areas_of_the_records_do_not_matter() -> None:
    truth = panoptic([[1, 1, 1]], segment(1, CAT, area=100))
    prediction = panoptic([[4, 4, 0]], segment(4, CAT, area=0))
    assert quality((truth, prediction)).per_class[CAT]["iou_sum"] == 2 / 3


def test_segments_without_pixels_are_ignored() -> None:
    truth = panoptic([[0, 1]], segment(2, ROAD, area=0), segment(1, CAT))
    prediction = panoptic([[0, 4]], segment(4, CAT), segment(5, SKY, area=0))
    assert quality((truth, prediction))["All"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 1}


def test_sums_are_rounded_once() -> None:
    fractions = [(2, 3), (3, 5), (7, 10)]
    ious = [hits / size for hits, size in fractions]
    assert (
        len({reduce(add, order) for order in itertools.permutations(ious)}) > 1
    )  # the rounded sum depends on the order
    images = [
        (
            panoptic([[1] * size], segment(1, CAT)),
            panoptic([[4] * hits + [0] * (size - hits)], segment(4, CAT)),
        )
        for hits, size in fractions
    ]
    for order in itertools.permutations(images):
        assert quality(*order).per_class[CAT]["iou_sum"] == math.fsum(ious)


def test_reset_forgets_and_merge_does_not_change_the_other() -> None:
    truth, prediction = panoptic([[1]], segment(1, CAT)), panoptic([[4]], segment(4, CAT))
    metric, other = PanopticQuality(CATEGORIES), PanopticQuality(CATEGORIES)
    other.update(truth, prediction)
    metric.merge(other)
    metric.merge(other)
    assert counts(metric.compute(), CAT) == (2, 0, 0)
    assert counts(other.compute(), CAT) == (1, 0, 0)
    metric.reset()
    assert metric.compute() == quality()
    assert counts(other.compute(), CAT) == (1, 0, 0)


def test_categories_may_be_coco_records() -> None:
    metric = PanopticQuality([{"id": 3, "name": "car", "isthing": 1}, {"id": 5, "name": "wall", "isthing": 0}])
    metric.update(panoptic([[1, 2]], segment(1, 3), segment(2, 5)), panoptic([[1, 0]], segment(1, 3)))
    report = metric.compute()
    assert (report["Things"]["pq"], report["Stuff"]["pq"], report["All"]["pq"]) == (1.0, 0.0, 0.5)


GOOD = panoptic([[1, 2]], segment(1, CAT), segment(2, SKY))
REFUSED = {
    "another shape": (panoptic([[1], [2]], *GOOD.segments), ["(1, 2)", "(2, 1)"]),
    "id without record": (panoptic([[1, 77]], segment(1, CAT)), ["77", "no segment record"]),
    "negative id": (panoptic([[1, -3]], segment(1, CAT)), ["-3"]),
    "record without pixel": (panoptic([[1, 0]], segment(1, CAT), segment(31, SKY)), ["31", "no pixel"]),
    "repeated id": (panoptic([[1, 1]], segment(1, CAT), segment(1, SKY)), ["id 1 ", "twice"]),
    "unknown category": (panoptic([[1, 0]], segment(1, 999)), ["999", "category"]),
}


@pytest.mark.parametrize("name", ["truth", "prediction"])
@pytest.mark.parametrize("fault", REFUSED)
def test_unusable_maps_are_refused_and_change_nothing(fault: str, name: str) -> None:
    bad, words = REFUSED[fault]
    metric = PanopticQuality(CATEGORIES)
    with pytest.raises(PanopticBlendError) as error:
        metric.update(*((bad, GOOD) if name == "truth" else (GOOD, bad)))
    message = str(error.value)
    assert all(word in message for word in [name, *words])
    assert "\n" not in message
    assert metric.compute() == quality()


def test_a_long_list_of_ids_is_cut() -> None:
    bad = panoptic([list(range(1, 9))])
    with pytest.raises(PanopticBlendError, match="id 1, 2, 3, 4, 5 and 3 more is in the map"):
        compare(bad, bad)


def test_categories_that_share_an_id_or_differ_are_refused() -> None:
    with pytest.raises(PanopticBlendError, match="`person` and `people` share id 1"):
        PanopticQuality([*CATEGORIES, Category(PERSON, "people", is_thing=True)])
    with pytest.raises(PanopticBlendError, match="merge"):
        PanopticQuality(CATEGORIES).merge(PanopticQuality(CATEGORIES[:2]))
