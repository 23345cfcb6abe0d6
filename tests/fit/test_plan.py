"""Plans as files: a config to train, a page to read, and a record to go on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic_blend.config.experiment import load_config
from panoptic_blend.fit.plan import Plan, TimeSplit, flat, in_words, nested
from panoptic_blend.fit.rules import Choice

PLAN = Plan(
    choices=(
        Choice("model.backbone.depth", 18, "a processor"),
        Choice("data.short_sides", [192], "things | pixels"),
        Choice("train.lr", 0.003, "from scratch"),
        Choice("train.weights", None, "none"),
    ),
    head=("data: 200 pictures",),
    time=TimeSplit(planning=30, training=1500, evaluating=0.2, after=90),
    step_seconds=0.5,
    judged=20,
)


def test_what_is_written_is_a_config_a_page_and_a_record(tmp_path: Path) -> None:
    PLAN.write(tmp_path / "out", tmp_path / "out/fit")
    config = load_config(tmp_path / "out/plan.yaml")
    assert (config.model.backbone.depth, config.data.short_sides, config.train.lr) == (18, (192,), 0.003)
    assert Plan.read(tmp_path / "out/fit") == PLAN
    page = (tmp_path / "out/plan.md").read_text()
    assert "| `train.lr` | 0.003 | from scratch |" in page
    assert "| `data.short_sides` | [192] | things \\| pixels |" in page
    assert "* data: 200 pictures" in page
    assert "time: 27 min 0 s in all: plan 30 s, training 25 min 0 s, tuning, evaluation and report 1 min 30 s" in page


def test_a_folder_without_a_plan_and_one_with_a_broken_record(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert Plan.read(tmp_path) is None
    (tmp_path / "plan.json").write_text("{}")
    assert "plan.json" in refused(Plan.read, tmp_path)


def test_full_names_and_nested_tables() -> None:
    options = {"train.lr": 1, "model.fpn.channels": 64, "seed": 0}
    assert nested(options) == {"train": {"lr": 1}, "model": {"fpn": {"channels": 64}}, "seed": 0}
    assert flat(nested(options)) == options


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (150, "2 min 30 s"), (7265, "2:01:05")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
