"""PQ-dagger, parsing covering and the IoU of maps, worked out by hand on one image."""

from __future__ import annotations

import math

import numpy as np
import pytest

from panoptic_blend.metrics.class_means import ClassMeans
from panoptic_blend.metrics.covering import parsing_covering
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.map_iou import map_iou
from panoptic_blend.metrics.pq_dagger import pq_dagger
from panoptic_blend.structures import Category, PanopticMap, Segment

CAT, DOG, SKY, SEA, SAND = 17, 18, 187, 188, 189
NAMES = {CAT: "cat", DOG: "dog", SKY: "sky", SEA: "sea", SAND: "sand"}
CATEGORIES = [Category(id, name, is_thing=id < 100) for id, name in NAMES.items()]


def panoptic(row: list[int], *kinds: int, crowd: int = 0) -> PanopticMap:
    segments = [Segment(i, kind, kind < 100, None, 0, None, i == crowd) for i, kind in enumerate(kinds, 1)]
    return PanopticMap(np.array([row], dtype=np.int32), segments)


def details_of(*pairs: tuple[PanopticMap, PanopticMap]) -> PanopticDetails:
    details = PanopticDetails(CATEGORIES)
    for image, (truth, prediction) in enumerate(pairs):
        details.update(image, truth, prediction)
    return details


# two cats of 4 and 2 pixels, sky of 4, sea of 2, and 2 pixels of void
TRUTH = panoptic([1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 0, 0], CAT, CAT, SKY, SEA)
# cat 1 is 3 of its pixels; cat 2 becomes sand; sky has one of its pixels, sea has its own, 3 of sky and the void
PREDICTION = panoptic([1, 1, 1, 0, 2, 2, 3, 4, 4, 4, 4, 4, 4, 4], CAT, SAND, SKY, SEA)
FOUND = details_of((TRUTH, PREDICTION))


def test_pq_dagger_of_stuff_is_its_mean_iou_and_things_keep_pq() -> None:
    found = pq_dagger(FOUND)
    # sky: 1/4, below the threshold of PQ; sea: 2 of 2 + 3, since void does not count; cat: IoU 3/4, and one missed
    assert found.per_class == pytest.approx({CAT: 0.75 / 1.5, SKY: 1 / 4, SEA: 2 / 5})
    assert found.groups == pytest.approx({"All": (1 / 2 + 1 / 4 + 2 / 5) / 3, "Things": 1 / 2, "Stuff": 13 / 40})
    assert found.counts == {"All": 3, "Things": 1, "Stuff": 2}
    assert FOUND.compute()["Stuff"] == {"pq": 0, "sq": 0, "rq": 0, "n": 3}


def test_pq_dagger_of_several_images_divides_by_the_segments_of_the_truth() -> None:
    none = panoptic([1, 1], DOG), panoptic([1, 1], DOG)
    void = panoptic([1, 1], SKY), panoptic([0, 0])
    assert pq_dagger(details_of((TRUTH, PREDICTION), none, void)).per_class == pytest.approx(
        {CAT: 1 / 2, DOG: 1, SKY: 1 / 8, SEA: 2 / 5}
    )


def test_pq_dagger_of_the_example_of_torchmetrics() -> None:
    categories = [Category(id, str(id), is_thing=id < 2) for id in (0, 1, 6, 7)]
    details = PanopticDetails(categories)
    truth = np.array([[[0, 1], [0, 0], [6, 0], [7, 0], [6, 0], [255, 0]]])
    prediction = np.array([[[0, 0], [0, 1], [6, 0], [7, 0], [0, 2], [1, 0]]])
    details.update(1, truth, prediction)
    assert pq_dagger(details).groups["All"] == pytest.approx((0.8 + 0.5 + 1) / 3)  # it prints 0.7667


def test_covering_weighs_segments_by_area() -> None:
    found = parsing_covering(FOUND)
    # cat: (4 * 3/4 + 2 * 0) / 6
    assert found.per_class == pytest.approx({CAT: 1 / 2, SKY: 1 / 4, SEA: 2 / 5})
    # the better of two predictions covers: 3/4, not 1/4
    split = details_of((panoptic([1, 1, 1, 1], CAT), panoptic([1, 2, 2, 2], CAT, CAT)))
    assert parsing_covering(split).groups == pytest.approx(
        {"All": 3 / 4, "Things": 3 / 4, "Stuff": math.nan}, nan_ok=True
    )


def test_iou_of_maps() -> None:
    found = map_iou(FOUND)
    # cat: 3 of 6; sky: 1 of 4; sea: 2 of 5; sand has no truth
    assert found.means.per_class == pytest.approx({CAT: 1 / 2, SKY: 1 / 4, SEA: 2 / 5})
    assert found.means.groups["Stuff"] == pytest.approx(13 / 40)
    weighted = {"All": (6 / 2 + 4 / 4 + 2 * 2 / 5) / 12, "Things": 1 / 2, "Stuff": (1 + 4 / 5) / 6}
    assert found.frequency_weighted == pytest.approx(weighted)


def test_crowds_count_for_the_iou_of_maps_only() -> None:
    details = details_of((panoptic([1, 1, 2, 2], CAT, SKY, crowd=2), panoptic([1, 1, 2, 0], CAT, SKY)))
    assert map_iou(details).means.per_class == {CAT: 1, SKY: 1 / 2}
    assert pq_dagger(details).per_class == parsing_covering(details).per_class == {CAT: 1}


def test_figures_over_nothing() -> None:
    nothing = details_of((panoptic([0, 0]), panoptic([1, 1], SAND)))
    empty = ClassMeans(dict.fromkeys(("All", "Things", "Stuff"), math.nan), {"All": 0, "Things": 0, "Stuff": 0}, {})
    for found in (pq_dagger(nothing), parsing_covering(nothing), map_iou(nothing).means):
        assert repr(found) == repr(empty)
    assert math.isnan(map_iou(nothing).frequency_weighted["All"])
