"""The same 2 x 4 map in the forms of other libraries, and ambiguous input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from panoptic_blend.metrics.conversion import from_detectron2, from_hugging_face, panoptic_map
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.panoptic_quality import PanopticQuality
from panoptic_blend.structures import Category, PanopticMap, Segment

Refused = Callable[..., str]

CAT, DOG, SKY, SEA = 17, 18, 187, 155
CATEGORIES = {
    id: Category(id, name, is_thing)
    for id, name, is_thing in ((CAT, "cat", True), (DOG, "dog", True), (SKY, "sky", False), (SEA, "sea", False))
}
IDS = [[7, 7, 9, 0], [7, 3, 9, 9]]
RECORDS = [{"id": 7, "category_id": CAT}, {"id": 9, "category_id": SKY}, {"id": 3, "category_id": CAT}]


def read(value: object, name: str = "prediction") -> PanopticMap:
    return panoptic_map(value, CATEGORIES, name)


def categories_of(panoptic: PanopticMap) -> list[list[int]]:
    """Category of each pixel, 0 for void."""
    known = {segment.id: segment.category for segment in panoptic.segments} | {0: 0}
    return [[known[id] for id in row] for row in panoptic.segment_ids.tolist()]


def same(panoptic: PanopticMap) -> bool:
    """Whether it is the map above: the same classes, and the two cats as separate segments."""
    ids = panoptic.segment_ids
    assert ids.dtype == np.int32
    assert categories_of(panoptic) == [[CAT, CAT, SKY, 0], [CAT, CAT, SKY, SKY]]
    assert [(s.category, s.is_thing) for s in panoptic.segments if s.category == SKY] == [(SKY, False)]
    return len({ids[0, 0], ids[0, 1], ids[1, 0]}) == 1 and ids[1, 1] != ids[0, 0] and len(panoptic.segments) == 3


@pytest.mark.parametrize("ids", [np.array(IDS, np.uint8), np.array(IDS), torch.tensor(IDS), torch.tensor(IDS).int()])
def test_ids_with_records(ids: object) -> None:
    assert same(read((ids, RECORDS)))
    assert same(read([ids, tuple(RECORDS)]))
    segments = [Segment(7, CAT, True, None, 0, None), Segment(9, SKY, False, None, 0, None)]
    assert same(read((ids, [*segments, Segment(3, CAT, True, 0.5, 1, (1, 1, 2, 2))])))
    crowd = read((ids, [{**RECORDS[0], "iscrowd": 1}, *RECORDS[1:]]))
    assert [segment.is_crowd for segment in crowd.segments] == [True, False, False]


def test_a_panoptic_map_is_returned_unchanged() -> None:
    panoptic = PanopticMap(np.array([[1]], np.int32), [Segment(1, CAT, True, None, 1, (0, 0, 1, 1))])
    assert read(panoptic) is panoptic


def test_detectron2_with_contiguous_ids() -> None:
    infos: list[dict[str, Any]] = [
        {"id": 7, "isthing": True, "score": 0.9, "category_id": 0, "instance_id": 0},
        {"id": 9, "isthing": False, "category_id": 1, "area": 3},
        {"id": 3, "isthing": True, "score": 0.8, "category_id": 0, "instance_id": 1},
    ]
    assert same(from_detectron2((torch.tensor(IDS), infos), CATEGORIES, [CAT, DOG], [SEA, SKY]))
    dataset = [{**info, "category_id": SKY if info["id"] == 9 else CAT} for info in infos]
    assert same(read((torch.tensor(IDS), dataset)))


def test_ambiguous_detectron2_results_are_refused(refused: Refused) -> None:
    ids = torch.tensor([[1]])

    def translated(*infos: dict[str, Any]) -> str:
        return refused(from_detectron2, (ids, list(infos)), CATEGORIES, [CAT, DOG], [SEA, SKY])

    assert "`category_id` 2 is not a contiguous thing id below 2" in translated(
        {"id": 1, "isthing": 1, "category_id": 2}
    )
    assert "no `isthing`" in translated({"id": 1, "category_id": 2})
    assert "records are NoneType" in refused(read, (ids, None))  # ids are category * divisor + instance
    message = refused(read, (ids, [{"id": 1, "isthing": True, "category_id": SKY}]))
    assert message.startswith("prediction: segment 1 is a thing, but its category 187 (`sky`) is not; translate contig")
    assert "unknown category 0 of segment 1" in refused(read, (ids, [{"id": 1, "isthing": True, "category_id": 0}]))


def test_hugging_face_numbers_segments_from_1_or_from_0() -> None:
    infos = [{"id": 7, "label_id": 0, "was_fused": False, "score": 0.9}, {"id": 9, "label_id": 2}]
    result = {"segmentation": torch.tensor(IDS), "segments_info": [*infos, {"id": 3, "label_id": 0}]}
    assert same(from_hugging_face(result, CATEGORIES, [CAT, DOG, SKY]))
    assert same(from_hugging_face(result, CATEGORIES, {0: CAT, 2: SKY}))
    from_0 = {
        "segmentation": torch.tensor([[0, 0, 1, -1], [0, 2, 1, 1]]),
        "segments_info": [{"id": 0, "label_id": CAT}, {"id": 1, "label_id": SKY}, {"id": 2, "label_id": CAT}],
    }
    assert same(read(from_0))
    nothing = read({"segmentation": torch.full((2, 3), -1), "segments_info": []})
    assert categories_of(nothing) == [[0] * 3] * 2
    both = read({"segmentation": np.array([[-1, 0, 4]]), "segments_info": [{"id": 4, "label_id": SEA}]})
    assert categories_of(both) == [[0, 0, SEA]]


def test_ambiguous_hugging_face_results_are_refused(refused: Refused) -> None:
    ids = np.array([[1]])
    result = {"segmentation": ids, "segments_info": [{"id": 1, "label_id": 5}]}
    assert "no category id is given for label 5" in refused(from_hugging_face, result, CATEGORIES, [CAT, DOG])
    assert "unknown category 5" in refused(read, result)
    assert "no `segmentation`" in refused(read, {"segmentation": None, "segments_info": []})
    assert "a segment has `label_id` None" in refused(read, {"segmentation": ids, "segments_info": [{"id": 1}]})


def test_torchmetrics_pairs_of_category_and_instance() -> None:
    pairs = [
        [[CAT, 1], [CAT, 1], [SKY, 0], [-1, 0]],
        [[CAT, 1], [CAT, 5], [SKY, 8], [SKY, 9]],
    ]  # stuff has no instances
    assert same(read(np.array(pairs)))
    assert same(read(torch.tensor(pairs)))
    unknown = np.array([[[CAT, 0], [255, 0], [254, 3]]])
    assert categories_of(read(unknown, "truth")) == [[CAT, 0, 0]]
    assert read(np.zeros((0, 4, 2), int)).segments == []


def test_torchmetrics_documented_example() -> None:
    """Its documentation gives 0.5463; the example has no void, so that the definitions agree."""
    prediction = [
        [[6, 0], [0, 0], [6, 0], [6, 0]],
        [[0, 0], [0, 0], [6, 0], [0, 1]],
        [[0, 0], [0, 0], [6, 0], [0, 1]],
        [[0, 0], [7, 0], [6, 0], [1, 0]],
        [[0, 0], [7, 0], [7, 0], [7, 0]],
    ]
    truth = [
        [[6, 0], [0, 1], [6, 0], [0, 1]],
        [[0, 1], [0, 1], [6, 0], [0, 1]],
        [[0, 1], [0, 1], [6, 0], [1, 0]],
        [[0, 1], [7, 0], [1, 0], [1, 0]],
        [[0, 1], [7, 0], [7, 0], [7, 0]],
    ]
    metric = PanopticQuality([Category(id, str(id), id < 2) for id in (0, 1, 6, 7)])
    metric.update(torch.tensor(truth), torch.tensor(prediction))
    assert metric.compute()["All"]["pq"] == pytest.approx(0.5463, abs=5e-5)


@pytest.mark.parametrize("seed", range(4))
def test_torchmetrics_agrees_where_nothing_is_void(seed: int) -> None:
    detection = pytest.importorskip("torchmetrics.detection")
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 4, (6, 8)).repeat(4, 0).repeat(4, 1)
    prediction = np.where(generator.random(truth.shape) < 0.2, generator.integers(0, 4, truth.shape), truth)
    kinds = np.array([[CAT, 1], [CAT, 2], [DOG, 3], [SKY, 0]])
    pairs = [kinds[truth], kinds[prediction]]
    ours = PanopticQuality(tuple(CATEGORIES.values()))
    ours.update(*pairs)
    theirs = detection.PanopticQuality({CAT, DOG}, {SKY, SEA}, return_per_class=True, return_sq_and_rq=True)
    theirs.update(*(torch.tensor(pixels)[None] for pixels in pairs[::-1]))
    figures = theirs.compute().reshape(-1, 3).tolist()
    for row, category in zip(figures, sorted((CAT, DOG)) + sorted((SKY, SEA)), strict=True):
        found = ours.compute().per_class[category]
        assert [found["pq"], found["sq"], found["rq"]] == pytest.approx(row, abs=1e-6)  # its IoUs are float32


def test_every_form_gives_the_same_scores() -> None:
    pairs = np.array([[[CAT, 1], [CAT, 1], [SKY, 0], [-1, 0]], [[CAT, 1], [CAT, 5], [SKY, 0], [SKY, 0]]])
    details = PanopticDetails(tuple(CATEGORIES.values()))
    forms = [(np.array(IDS), RECORDS), pairs, read(pairs)]
    metric = PanopticQuality(tuple(CATEGORIES.values()))
    for number, truth in enumerate(forms):
        for other, prediction in enumerate(forms):
            metric.update(truth, prediction)
            details.update(10 * number + other, truth, prediction)
    assert metric.compute()["All"] == details.compute()["All"] == {"pq": 1, "sq": 1, "rq": 1, "n": 2}


REFUSED: dict[str, tuple[object, str]] = {
    "ids without records": (np.array(IDS), "an array of shape (2, 4) alone"),
    "colors": (np.zeros((2, 4, 3), np.uint8), "an array of shape (2, 4, 3) alone"),
    "a batch": (np.zeros((1, 2, 4, 2), int), "an array of shape (1, 2, 4, 2) alone"),
    "a batch of ids": ((np.zeros((1, 2, 4), int), []), "ids have shape (1, 2, 4)"),
    "fractions": ((np.zeros((2, 4)), []), "a map of float64"),
    "text": ("map.png", "str is not a panoptic map"),
    "nothing": (None, "NoneType is not a panoptic map"),
    "a record that is none": ((np.array(IDS), [5]), "the segment records are list"),
    "a fraction as id": ((np.array([[1]]), [{"id": 1.0, "category_id": CAT}]), "a segment has `id` 1.0"),
    "no category": ((np.array([[1]]), [{"id": 1}]), "a segment has `category_id` None"),
    "an odd crowd": ((np.array([[1]]), [{"id": 1, "category_id": CAT, "iscrowd": 2}]), "`iscrowd` is 2"),
    "a large id": ((np.array([[2**31]]), [{"id": 2**31, "category_id": CAT}]), "renumber them below 2**31"),
    "an unknown category": (np.array([[[3, 0]]]), "unknown category 3; give category ids of the data set, or -1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_anything_else_is_refused(case: str, refused: Refused) -> None:
    value, expected = REFUSED[case]
    message = refused(read, value)
    assert message.startswith("prediction: ") and expected in message


def test_records_without_pixels_are_refused(refused: Refused) -> None:
    metric = PanopticQuality(tuple(CATEGORIES.values()))
    extra = [*RECORDS, {"id": 44, "category_id": SEA}]
    message = refused(metric.update, (np.array(IDS), RECORDS), (np.array(IDS), extra))
    assert message.startswith("prediction: segment 44 has a record but no pixel in the map")
