"""The rules of `fit`: any fingerprint gives a valid config, and what each rule says of data made for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fingerprints import GPU, PROCESSOR, facts, fingerprint
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.config.experiment import Config, parse_config
from panoptic_blend.config.model_options import Model
from panoptic_blend.fit import budget, rules
from panoptic_blend.fit.fingerprint import ClassFacts, Fingerprint, Spread, ThingCounts
from panoptic_blend.fit.plan import nested
from panoptic_blend.fit.rules import Facts
from panoptic_blend.models.build import build_model
from panoptic_blend.training.optimizer import require_full_rate


def chosen(given_facts: Facts) -> dict[str, Any]:
    return {choice.option: choice.value for choice in rules.choose(given_facts)}


def config_of(given_facts: Facts) -> Config:
    return parse_config(nested(chosen(given_facts)), "rules")


spreads = st.lists(st.floats(1, 20000), min_size=5, max_size=5).map(lambda values: Spread(*sorted(values)))
some = st.one_of(st.none(), spreads)


@st.composite
def fingerprints(draw: st.DrawFn) -> Fingerprint:
    images = draw(st.integers(1, 200_000))
    short, aspect = draw(spreads), draw(st.lists(st.floats(0.1, 10), min_size=5, max_size=5).map(sorted))
    counts = st.integers(0, images)
    classes = tuple(
        ClassFacts(number, f"class {number}", number < 3, draw(counts), draw(st.integers(0, 9)), 1, None, None)
        for number in range(draw(st.integers(1, 5)))
    )
    return fingerprint(
        images=images,
        short_side=short,
        aspect=Spread(*aspect),
        thing_size=draw(some),
        thing_long_side=draw(some),
        stuff_area=draw(some),
        things_per_image=ThingCounts(1, 1, 2, draw(st.integers(0, 5000))),
        classes=classes,
        sided_names=draw(st.sampled_from([(), ("left hand",)])),
    )


@settings(max_examples=30)
@given(
    fingerprints(),
    st.sampled_from([PROCESSOR, GPU]),
    st.tuples(st.booleans(), st.booleans()),
    st.integers(1, 10**6),
    st.integers(1, 8),
)
def test_any_data_give_a_valid_config(
    data: Fingerprint, machine: Any, has: tuple[bool, bool], iterations: int, devices: int
) -> None:
    side, why = budget.wanted_side(data)
    assert side % 32 == 0 and 64 <= side <= 800
    assert f"{side}" in why or data.thing_size is None
    side = budget.side_in_time(side, iterations / 7, has[1])
    batch = budget.batch_size(data, devices, machine.device == "cpu")
    assert batch % devices == 0 and (batch <= data.images or batch == devices)
    made = facts(
        data=data,
        machine=machine,
        has_panoptic=has[0],
        is_trained=has[1],
        side=side,
        batch=batch,
        devices=devices,
        iterations=iterations,
        evaluations=budget.evaluations(iterations * 1.0, 30, iterations),
    )
    config = config_of(made)
    require_full_rate(config.train)
    assert config.data.long_side >= side
    for choice in rules.choose(made):
        assert choice.reason
        assert "nan" not in choice.reason


@pytest.mark.parametrize("side", [64, 320, 800])
def test_the_network_is_built(side: int) -> None:
    with torch.device("meta"):
        model = build_model(config_of(facts(side=side)))
    assert sum(parameter.numel() for parameter in model.parameters()) > 10**6


def test_the_coarsest_level_finds_what_reaches_over_half_of_the_picture() -> None:
    for side, limits in ((128, [32, 64]), (208, [52, 104]), (320, [40, 80, 160]), (800, [50, 100, 200, 400])):
        assert chosen(facts(side=side))["model.fcos.size_limits"] == limits


def test_evaluations_are_evenly_spread() -> None:
    assert chosen(facts(iterations=600, evaluations=4))["train.evaluate_every"] == 120
    assert chosen(facts(evaluations=0))["train.evaluate_every"] == 0


def test_the_rate_of_a_short_training_falls_late_and_nothing_ends_it_before() -> None:
    short = config_of(facts(iterations=600, evaluations=6)).train
    assert (short.schedule, short.steps, short.patience) == ("steps", (480, 558), None)
    longer = config_of(facts(iterations=1000, evaluations=6)).train
    assert (longer.schedule, longer.steps, longer.patience) == ("cosine", (), 3)


def test_classes_with_sides_are_not_mirrored() -> None:
    assert chosen(facts())["data.flip"] == 0.5
    left = facts(data=fingerprint(sided_names=("left hand",)))
    assert chosen(left)["data.flip"] == 0
    assert any("left hand" in choice.reason for choice in rules.choose(left))


@pytest.mark.parametrize(
    ("images", "expected"),
    [(999, ("frozen_bn", 5, None)), (1000, ("frozen_bn", 2, 0.3)), (5000, ("bn", 1, 0.3))],
)
def test_the_fewer_pictures_the_more_of_a_trained_backbone_is_kept(images: int, expected: tuple[object, ...]) -> None:
    found = chosen(facts(is_trained=True, data=fingerprint(images=images)))
    backbone = [found[f"model.backbone.{name}"] for name in ("norm", "frozen_stages")]
    assert (*backbone, found.get("train.backbone_lr")) == expected


def test_a_backbone_without_weights_is_trained_as_a_whole() -> None:
    found = chosen(facts())
    assert [found[f"model.backbone.{name}"] for name in ("norm", "frozen_stages")] == ["bn", 0]
    assert "train.backbone_lr" not in found


def test_the_rate_follows_the_root_of_more_than_eight_pictures() -> None:
    # 0.003 * sqrt(32 / 8) = 0.006, and 0.002 of trained weights
    rates = {batch: chosen(facts(batch=batch))["train.lr"] for batch in (1, 4, 8, 32)}
    assert rates == {1: 0.003, 4: 0.003, 8: 0.003, 32: 0.006}
    assert chosen(facts(batch=4, is_trained=True))["train.lr"] == 0.002


def test_weights_of_a_whole_model_keep_their_network() -> None:
    network = Model.model_validate({"instances": "mask_rcnn"})
    crowded = fingerprint(things_per_image=ThingCounts(50, 50, 100, 150))
    found = chosen(facts(network=network, is_trained=True, data=crowded))
    assert {name for name in found if name.startswith("model.")} == {
        "model.mask_rcnn.detections_per_image",
        "model.fusion.stuff_area",
    }
    assert found["model.mask_rcnn.detections_per_image"] == 180


def test_stuff_segments_count_in_pixels_of_the_pictures() -> None:
    # nineteen in twenty have more than 5000 pixels, and half of that is kept for those that are found in part
    assert chosen(facts())["model.fusion.stuff_area"] == 2500
    assert "model.fusion.stuff_area" not in chosen(facts(has_panoptic=False))


def test_instances_alone_need_no_semantic_head() -> None:
    assert chosen(facts(has_panoptic=False))["model.semantic.enabled"] is False
    assert "model.semantic.enabled" not in chosen(facts())


def test_pictures_that_are_seen_often_are_changed_more() -> None:
    often = chosen(facts(iterations=600))  # 24 passes over 200 pictures
    very_often = chosen(facts(iterations=2000))
    assert "data.jitter" not in chosen(facts(iterations=100))
    assert often["data.jitter"][1] < very_often["data.jitter"][1]


def test_pictures_with_rare_classes_come_more_often() -> None:
    def plan_of(*counts: int) -> list[rules.Choice]:
        """For 1000 pictures, so that 50 are the twentieth from which a class is not rare."""
        classes = tuple(
            ClassFacts(i, f"class {i}", True, count, count, 1, None, None) for i, count in enumerate(counts)
        )
        found = rules.choose(facts(data=fingerprint(images=1000, classes=classes)))
        return [choice for choice in found if choice.option == "data.repeat_threshold"]

    assert not plan_of(900, 50)
    assert not plan_of(900, 4, 0)
    [(_, threshold, reason)] = plan_of(900, 49, 8, 2)
    assert threshold == 0.05
    # the root of 50 / 2: the class of two pictures is repeated, too, though it is no reason
    assert reason == "few pictures have class 2, class 1: what is in under 5% comes up to 5.0 times as often"
    assert "class 4, class 3, class 2 and 1 more" in plan_of(900, 9, 8, 7, 6)[0].reason


def test_loading_on_a_gpu_keeps_up_with_it() -> None:
    # 1.5 x 2 s of loading for each 0.5 s of learning, and one more
    assert chosen(facts(machine=GPU, step_seconds=0.5, load_seconds=2.0))["data.workers"] == 7
    assert chosen(facts())["data.workers"] == 0
