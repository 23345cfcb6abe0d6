"""The same 2 x 4 map in the forms of other libraries, and ambiguous input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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

    assert "`category_id` 2 is not one of the 2 contiguous thing ids" in translated(
        {"id": 1, "isthing": 1, "category_id": 2}
    )
    assert "no `isthing`" in translated({"id": 1, "category_id": 2})
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
    empty = {"segmentation": torch.zeros(2, 3) - 1, "segments_info": []}  # as transformers, in float32
    assert categories_of(read(empty)) == [[0] * 3] * 2
    both = read({"segmentation": np.array([[-1, 0, 4]]), "segments_info": [{"id": 4, "label_id": SEA}]})
    assert categories_of(both) == [[0, 0, SEA]]


def test_fused_stuff_of_hugging_face_is_one_segment() -> None:
    fused = {"id": 9, "label_id": SKY, "was_fused": True}
    infos = [{"id": 7, "label_id": CAT}, {**fused, "score": 0.9}, {"id": 3, "label_id": CAT}, {**fused, "score": 0.7}]
    assert same(read({"segmentation": torch.tensor(IDS), "segments_info": infos}))


def test_labels_of_detectron2_without_records() -> None:
    labels = [[1017, 1017, 1187, -1], [1017, 2017, 1187, 1187]]
    for divisor in (1000, 256):
        decoded = np.array([[-1 if x < 0 else x % 1000 * divisor + x // 1000 - 1 for x in row] for row in labels])
        assert same(panoptic_map((decoded, None), CATEGORIES, "prediction", divisor))
        together = [3, 2, 1, 0], {0: SKY, 1: SEA}  # contiguous ids 0 and 1 are stuff, 2 and 3 things
        numbers = {CAT: 2, SKY: 0}
        contiguous = np.array(
            [[-1 if x < 0 else numbers[x % 1000] * divisor + x // 1000 for x in row] for row in labels]
        )
        things = {2: CAT, 3: DOG}
        assert same(from_detectron2((contiguous, None), CATEGORIES, things, together[1], label_divisor=divisor))
        metric = PanopticQuality(tuple(CATEGORIES.values()), label_divisor=divisor)
        metric.update(truth=(IDS, RECORDS), prediction=(torch.tensor(decoded), None))
        details = PanopticDetails(tuple(CATEGORIES.values()), label_divisor=divisor)
        details.update(1, truth=(IDS, RECORDS), prediction={"panoptic_seg": (decoded, None)})
        assert metric.compute()["All"] == details.compute()["All"] == {"pq": 1, "sq": 1, "rq": 1, "n": 2}


def test_contiguous_ids_that_are_things_and_stuff_need_records(refused: Refused) -> None:
    message = refused(from_detectron2, (np.array([[1001]]), None), CATEGORIES, [CAT, DOG], [SEA, SKY])
    assert "0 is a contiguous id of things and of stuff" in message


def test_listed_0_is_a_segment_and_minus_1_is_void() -> None:
    panoptic = read((np.array([[0, 0, 5, -1]]), [{"id": 0, "category_id": SKY}, {"id": 5, "category_id": CAT}]))
    assert categories_of(panoptic) == [[SKY, SKY, CAT, 0]]
    assert [segment.id for segment in panoptic.segments] == [6, 5]
    panoptic = read((np.array([[0, 0, 5, -1]]), [{"id": 5, "category_id": CAT}]))
    assert categories_of(panoptic) == [[0, 0, CAT, 0]]
    panoptic = read((np.array([[0, 0, -1, -1]]), [{"id": -1, "category_id": CAT}]))
    assert categories_of(panoptic) == [[0, 0, CAT, CAT]]


def test_ids_beyond_32_bits_are_scored() -> None:
    large = 2**40
    ids, records = np.array(IDS) * large, [{**record, "id": record["id"] * large} for record in RECORDS]
    metric = PanopticQuality(tuple(CATEGORIES.values()))
    metric.update(truth=(IDS, RECORDS), prediction=(ids, records))
    assert metric.compute()["All"] == {"pq": 1, "sq": 1, "rq": 1, "n": 2}
    assert [segment.id for segment in read((ids, records)).segments] == [7 * large, 9 * large, 3 * large]


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.float32, float, torch.tensor, lambda x: np.array(float(x))])
def test_numbers_are_scalars_of_any_library(number: Callable[[int], Any]) -> None:
    is_thing = {CAT: np.True_, SKY: torch.tensor(False)}
    records = [
        {"id": number(r["id"]), "category_id": number(r["category_id"]), "iscrowd": number(0)}
        | {"isthing": is_thing[r["category_id"]]}
        for r in RECORDS
    ]
    assert same(read((torch.tensor(IDS).double(), records)))
    contiguous = [{**record, "category_id": number(0)} for record in records]
    assert same(from_detectron2((np.array(IDS), contiguous), CATEGORIES, np.array([CAT]), np.array([SKY])))
    labels = [{"id": number(r["id"]), "label_id": number(int(r["category_id"] == SKY))} for r in RECORDS]
    assert same(from_hugging_face({"segmentation": IDS, "segments_info": labels}, CATEGORIES, np.array([CAT, SKY])))
    parsed = Category.parse({"id": number(CAT), "name": "cat", "isthing": np.True_})
    assert (parsed, type(parsed.id), type(parsed.is_thing)) == (Category(CAT, "cat", True), int, bool)


def test_truth_and_prediction_that_have_changed_places_are_refused(refused: Refused) -> None:
    metric, details = PanopticQuality(tuple(CATEGORIES.values())), PanopticDetails(tuple(CATEGORIES.values()))
    predicted = IDS, [{**record, "score": 0.9} for record in RECORDS]
    annotated = IDS, [{**record, "iscrowd": 0, "area": 3} for record in RECORDS]
    for first, second in ((predicted, annotated), ({"panoptic_seg": predicted}, read(annotated))):
        if isinstance(second, PanopticMap):
            second.segments[0] = replace(second.segments[0], is_crowd=True)
        for update in (metric.update, lambda *maps: details.update("a.jpg", *maps)):
            message = refused(update, first, second)
            assert "are swapped" in message and "update(truth=..., prediction=...)" in message
    metric.update(annotated, predicted)
    metric.update(predicted, predicted)  # one model against another
    metric.update(predicted, (IDS, RECORDS))
    assert metric.compute()["All"]["pq"] == 1
    assert "the truth comes first" in refused(metric.update, annotated, (IDS[:1], RECORDS[:2]))


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


def test_torchmetrics_pairs_of_noise_are_numbered_in_ascending_order() -> None:
    generator = np.random.default_rng(0)
    pairs = np.stack([generator.choice([CAT, DOG, SKY], (40, 30)), generator.integers(-3, 9, (40, 30))], axis=-1)
    found = read(pairs.astype(np.float32))
    expected = sorted({(c, i) if c != SKY else (SKY, 0) for c, i in pairs.reshape(-1, 2).tolist()})
    assert [(segment.id, segment.category) for segment in found.segments] == [
        (number, category) for number, (category, _) in enumerate(expected, 1)
    ]
    for number, (category, instance) in enumerate(expected, 1):
        own = (pairs[..., 0] == category) & ((category == SKY) | (pairs[..., 1] == instance))
        assert ((found.segment_ids == number) == own).all()


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
    "fractions": ((np.full((2, 4), 0.5), []), "a map of float64 with fractions"),
    "not a number": ((np.full((2, 4), np.nan, np.float32), []), "a map of float32 with fractions"),
    "floats that collide": (
        (np.array([[2.0**24 + 2]], np.float32), []),
        "a map of float32 with ids that",
    ),
    "bfloat16": ((torch.zeros(2, 4).bfloat16(), []), "a map of torch.bfloat16"),
    "booleans": ((np.zeros((2, 4), bool), []), "a map of bool"),
    "rows of unequal length": (([[1], [1, 2]], []), "a map of list"),
    "a list of one result": ([{"segmentation": np.array(IDS), "segments_info": []}], "a list of one result"),
    "text": ("map.png", "str is not a panoptic map"),
    "nothing": (None, "NoneType is not a panoptic map"),
    "a record that is none": ((np.array(IDS), [5]), "the segment records are list"),
    "a fraction as id": ((np.array([[1]]), [{"id": 1.5, "category_id": CAT}]), "a segment has `id` 1.5"),
    "a boolean as id": ((np.array([[1]]), [{"id": True, "category_id": CAT}]), "a segment has `id` True"),
    "several numbers as id": (
        (np.array([[1]]), [{"id": np.array([1, 2]), "category_id": CAT}]),
        "a segment has `id`",
    ),
    "two categories of an id": (
        (np.array([[1]]), [{"id": 1, "category_id": CAT}, {"id": 1, "category_id": DOG}]),
        "segment id 1 is listed with category 17 and with 18",
    ),
    "a crowd and none": (
        (np.array([[1]]), [{"id": 1, "category_id": CAT}, {"id": 1, "category_id": CAT, "iscrowd": 1}]),
        "segment id 1 is listed with is_crowd False and with True",
    ),
    "another label divisor": (
        (np.array([[17 * 256 + 1]]), None),
        "with label_divisor 1000 is of category 4",
    ),
    "no category": ((np.array([[1]]), [{"id": 1}]), "a segment has `category_id` None"),
    "an odd crowd": ((np.array([[1]]), [{"id": 1, "category_id": CAT, "iscrowd": 2}]), "`iscrowd` is 2"),
    "a large id": ((np.array([[1]]), [{"id": 2**62, "category_id": CAT}]), "renumber them below 2**62"),
    "a large unsigned id": ((np.array([[2**63]], np.uint64), []), "renumber them below 2**62"),
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
