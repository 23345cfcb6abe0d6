"""Plans for steps whose time is known: the time is kept, overrides win, and memory counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fingerprints import PROCESSOR, fingerprint

from panoptic_blend.config.experiment import Config, parse_config
from panoptic_blend.config.model_options import Model
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.fit.intake import Prepared
from panoptic_blend.fit.machine import StepTime
from panoptic_blend.fit.near_duplicates import NearDuplicates
from panoptic_blend.fit.plan import Plan, nested
from panoptic_blend.fit.planning import Case, make_plan, stated
from panoptic_blend.fit.start import Start
from panoptic_blend.fit.wanted import Wanted

PREPARED = Prepared(Path("datasets/own"), "train", "val", "panoptic", has_panoptic=True)
SCRATCH = Start({"model.backbone.kind": "resnet", "model.backbone.depth": 18}, "from scratch")


def case(**changes: Any) -> Case:
    dataset: Any = None  # only the measurement reads it
    made = Case(PREPARED, dataset, fingerprint(), PROCESSOR, SCRATCH, Wanted(minutes=30, device="cpu"))
    return replace(made, **changes)


class Measure:
    """A machine on which a step of 4 pictures of 128 pixels takes ``seconds``, and others in proportion to pixels.

    ``room`` is the number of pixels of short sides squared that fit into its memory.
    """

    def __init__(self, seconds: float = 0.25, room: float = float("inf"), slow: str = "") -> None:
        self.seconds, self.room, self.slow = seconds, room, slow
        self.sides: list[int] = []

    def __call__(self, config: Config, dataset: PanopticDataset, precision: str, steps: int) -> StepTime:
        side, part = config.test.short_side, config.train.images_per_step or config.train.batch_size
        self.sides.append(side)
        if part * side**2 > self.room:
            raise torch.OutOfMemoryError("too large")
        pixels = config.train.batch_size * side**2 / (4 * 128**2)
        seconds = self.seconds * pixels * (2 if precision == self.slow else 1)
        return StepTime(seconds, 0.0, judge_seconds=seconds / 12, peak_memory=10**9, spread=1.0)


def options(plan: Plan) -> dict[str, Any]:
    return {choice.option: choice.value for choice in plan.choices}


def test_everything_fits_into_the_time() -> None:
    plan = make_plan(case(), lambda: 30.0, Measure())
    found = options(plan)
    # a step of 192 pixels takes 0.5625 s, judging a picture 1.5 * 0.5625 / 12
    assert found["test.short_side"] == 192
    assert plan.step_seconds == pytest.approx(0.5625)
    assert plan.time.total <= 30 * 60
    assert plan.time.total >= 0.97 * 30 * 60
    assert plan.time.training == pytest.approx(found["train.iterations"] * 0.5625)
    assert plan.time.planning == 30
    assert plan.judged is None
    assert parse_config(nested(found), "plan").data.train == "train"


def test_the_step_of_the_choice_is_measured_longer_than_those_of_the_candidates() -> None:
    lengths = list[int]()

    def measure(config: Config, dataset: PanopticDataset, precision: str, steps: int) -> StepTime:
        lengths.append(steps)
        return Measure(seconds=0.5 if len(lengths) < 3 else 0.75)(config, dataset, precision, steps)

    wanted = Wanted(minutes=30, device="cpu", overrides=("train.precision=32-true",))  # the same on every processor
    plan = make_plan(case(wanted=wanted), lambda: 30.0, measure)
    # 18 of 1800 seconds: 23 steps of 160 pixels, which take 0.78 s at first
    assert lengths == [3, 3, 23]
    assert plan.step_seconds == pytest.approx(0.75 * (160 / 128) ** 2)


def test_a_slow_machine_gets_a_smaller_input_and_more_steps() -> None:
    plan = make_plan(case(), lambda: 30.0, measure := Measure(seconds=1.0))
    # 1327 s at 192 pixels and 2.25 s are 590 steps instead of 1600: a side of 192 * sqrt(590 / 1600) = 117, so 128
    assert options(plan)["test.short_side"] == 128
    assert set(measure.sides) == {128}
    assert any("there is time for 128" in line for line in plan.head)


def test_a_long_time_ends_after_400_passes() -> None:
    plan = make_plan(case(wanted=Wanted(minutes=6000, device="cpu")), lambda: 30.0, Measure())
    assert options(plan)["train.iterations"] == 400 * 200 // 4


@pytest.mark.parametrize("spent", [50.0, 61.0])
def test_too_few_minutes_are_refused_with_a_number_that_is_enough(spent: float, refused: Callable[..., str]) -> None:
    message = refused(make_plan, case(wanted=Wanted(minutes=1, device="cpu")), lambda: spent, Measure())
    enough = int(message.split("give ")[1].split()[0])
    make_plan(case(wanted=Wanted(minutes=enough, device="cpu")), lambda: spent, Measure())


def test_iterations_that_are_wanted_count_instead_of_time() -> None:
    plan = make_plan(case(wanted=Wanted(iterations=40, device="cpu")), lambda: 9999.0, measure := Measure(seconds=99))
    assert options(plan)["train.iterations"] == 40
    assert options(plan)["test.short_side"] == 192
    assert measure.sides == [192]


def test_many_pictures_to_judge_by_are_thinned_out() -> None:
    many = case(data=fingerprint(images=118_000, validation_images=5000), wanted=Wanted(minutes=10, device="cpu"))
    plan = make_plan(many, lambda: 60.0, Measure(seconds=0.125))
    # 8 % of 600 s at 0.0352 s a picture
    assert plan.judged == int(0.08 * 600 / (1.5 * 0.125 * (192 / 128) ** 2 / 12))
    assert plan.time.total <= 600


def test_overrides_win_and_the_plan_says_so() -> None:
    wanted = Wanted(device="cpu", overrides=("train.lr=0.01", "test.short_side=96", "model.fusion={confidence: 0.5}"))
    plan = make_plan(case(wanted=wanted), lambda: 30.0, measure := Measure())
    found = options(plan)
    assert (found["train.lr"], found["test.short_side"], found["model.fusion.confidence"]) == (0.01, 96, 0.5)
    assert found["data.short_sides"] == [96]  # the rules follow
    assert set(measure.sides) == {96}
    [reason] = [choice.reason for choice in plan.choices if choice.option == "train.lr"]
    assert "as the command line says, instead of 0.003" in reason


@pytest.mark.parametrize("override", ["train.lrr=1", "train.lr=fast", "train.lr"])
def test_an_override_that_is_no_option_is_refused(override: str, refused: Callable[..., str]) -> None:
    with pytest.raises(Exception, match=override.partition("=")[0]):
        stated([override])


def test_what_does_not_fit_into_memory_is_split() -> None:
    plan = make_plan(case(), lambda: 30.0, Measure(room=3 * 192**2))
    assert options(plan)["train.images_per_step"] == 2
    assert options(plan)["train.batch_size"] == 4


def test_a_picture_that_does_not_fit_is_refused(refused: Callable[..., str]) -> None:
    wanted = Wanted(iterations=5, device="cpu")
    assert "test.short_side=96" in refused(make_plan, case(wanted=wanted), lambda: 1.0, Measure(room=100))


def test_the_faster_precision_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panoptic_blend.fit.planning.resolve", lambda name, device: "bf16-mixed")
    for slow, fast in (("bf16-mixed", "32-true"), ("32-true", "bf16-mixed")):
        plan = make_plan(case(), lambda: 30.0, Measure(seconds=0.125, slow=slow))
        [choice] = [choice for choice in plan.choices if choice.option == "train.precision"]
        assert choice.value == fast
        assert choice.reason == "0.28 s a step, the other one 0.56 s"


def test_pictures_in_both_splits_are_told() -> None:
    pairs = tuple((f"val{number}.jpg", f"train{number}.jpg") for number in range(3))
    doubles = fingerprint(near_duplicates=NearDuplicates(200, 50, 7, 3, (), pairs))
    [warning] = [line for line in make_plan(case(data=doubles), lambda: 30.0, Measure()).head if "warning" in line]
    assert warning == (
        "warning: 3 of 50 validation pictures are nearly the same as training pictures (val0.jpg like train0.jpg, "
        "val1.jpg like train1.jpg), so the figures flatter the model; put such pictures into the same split"
    )


def test_a_whole_model_keeps_its_network() -> None:
    network = Model.model_validate({"fpn": {"channels": 96}, "semantic": {"enabled": False}, "num_things": 9})
    start = Start({"train.weights": "a.pth", "train.partial": True}, "a.pth", is_trained=True, model=network)
    found = options(make_plan(case(start=start), lambda: 30.0, Measure()))
    assert found["model.fpn.channels"] == 96
    assert not {"model.num_things", "model.semantic.enabled"} & found.keys()
    assert (found["train.weights"], found["train.partial"]) == ("a.pth", True)
