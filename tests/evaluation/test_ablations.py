"""Ablations: which rows are one trial, what is run next, what is subtracted from what, and what is printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation import ablations
from evaluation.ablation_plan import Contrast, Results, Timing, Training, as_long, curve, next_step, same_time
from evaluation.ablation_report import report, verdict
from evaluation.ablation_runs import VAL, Setting, Times, digest_of, options_of
from evaluation.ablation_tables import PAPER, Experiment, Length, Trial, experiments, scale, small_config, table_names
from evaluation.ablations import run
from evaluation.fit_rows import RESAMPLES, Row, read_rows
from evaluation.result_lines import add_line

SIZE = scale("shapes").with_length(Length(10))
NAME = "shapes, side 128, 10 steps"
NOISE = np.linspace(-0.02, 0.02, RESAMPLES)


def table(number: str) -> Experiment:
    [found] = experiments([number], SIZE)
    return found


def row(trial: Trial, seed: int, value: float, spread: float = 0.0, seconds: float = 100.0) -> Row:
    resampled = np.rint(1e4 * (value + spread * np.random.default_rng(len(trial.name)).permutation(NOISE)))
    figures: dict[str, float | None] = {"AP": value, "PQ": value}
    parts: list[int | None] = [int(x) for x in resampled]
    run_of = trial.name, seed, VAL, list[str](), "same", "a processor", 1, "2", "today", seconds, 10, 8
    return Row(NAME, *run_of, figures, dict.fromkeys(figures, parts))


def results(rows: Sequence[Row], times: Times | None = None) -> Results:
    return Results(NAME, SIZE, {one.key: one for one in rows}, {times.key: times} if times else {})


def timed(number: str, **milliseconds: float) -> Times:
    names = {f"{number}/{name}".replace("_side_", ", side "): [x, x] for name, x in milliseconds.items()}
    return Times(NAME, number, "a processor", "today", 3, names, dict.fromkeys(names, 10))


def test_rows_of_the_same_config_are_one_trial() -> None:
    names = {(e.number, row): trial.name for e in experiments(table_names(), SIZE) for row, trial in e.trials.items()}
    assert names["2", "28_4_4"] == names["1", "blender"] == "1/blender"
    assert names["4", "c3_c5"] == names["3", "56_4_7"] == "2/56_4_7"
    assert names["plus", "paper"] == "A/separate"
    assert len({name for (number, _), name in names.items() if number in PAPER}) == 22


def test_every_table_has_the_rows_of_the_paper_and_orders_among_them() -> None:
    for experiment in experiments(table_names(), SIZE):
        assert experiment.reference in experiment.trials
        assert {name for order in experiment.orders for name in order} <= experiment.trials.keys()
        if experiment.number in PAPER:
            assert experiment.paper is not None
            assert {r.config for r in experiment.paper.rows.values()} == {t.config for t in experiment.trials.values()}


def test_configs_are_small_and_keep_what_their_row_is_about() -> None:
    wide = small_config(table("7").trials["width256"], SIZE)
    assert (wide.model.bottom.channels, wide.model.fpn.channels, wide.model.blender.attention_size) == (128, 64, 14)
    assert (wide.train.iterations, wide.train.steps, wide.train.lr) == (10, (8, 9), 0.003)
    assert (wide.test.short_side, wide.test.long_side, wide.data.short_sides) == (128, 160, (128,))


def test_a_start_is_one_of_each_seed_and_setting(tmp_path: Path) -> None:
    size = scale("shapes").with_length(Length(10, 20))
    [experiment] = experiments(["1"], size)
    setting = Setting("shapes", tmp_path, tmp_path, size, Length(10, 20))
    starts = {seed: {options_of(setting, t, seed)[-2] for t in experiment.trials.values()} for seed in (0, 1)}
    assert all(len(paths) == 1 for paths in starts.values()) and starts[0] != starts[1]
    elsewhere = replace(setting, output=tmp_path / "elsewhere")
    blender = experiment.trials["blender"]
    assert digest_of(setting, blender) == digest_of(elsewhere, blender)
    longer = size.with_length(Length(10, 30))
    [other] = experiments(["1"], longer)
    assert digest_of(setting, other.trials["blender"]) != digest_of(setting, blender)
    assert setting.name == "shapes, side 128, 10 steps after 20"


def test_all_rows_come_first_then_times_then_seeds_of_open_pairs() -> None:
    one = table("1")
    trials = one.trials
    assert next_step([one], results([]), 3) == Training(trials["weighted_sum"], 0)
    rows = [row(trials["weighted_sum"], 0, 0.1), row(trials["assembler"], 0, 0.3), row(trials["blender"], 0, 0.301, 1)]
    step = next_step([one], results(rows), 3)
    assert isinstance(step, Timing) and [trial.name for trial in step.trials] == [t.name for t in trials.values()]
    times = timed("1", weighted_sum=10, assembler=10, blender=10)
    assert next_step([one], results(rows, times), 1) is None
    # blender and assembler differ by less than the interval, the others do not
    step = next_step([one], results(rows, times), 3)
    assert step == Training(trials["blender"], 1)
    rows += [row(trials["blender"], 1, 0.4), row(trials["assembler"], 1, 0.299)]
    # with two seeds the pair is still open; pairs of one seed that are decided come after it
    assert next_step([one], results(rows, times), 2) == Training(trials["weighted_sum"], 1)
    assert next_step([one], results(rows, times), 3) == Training(trials["blender"], 2)


def test_rows_of_another_config_do_not_count() -> None:
    one = table("1")
    rows = {r.key: r for r in (row(trial, 0, 0.1) for trial in one.trials.values())}
    found = Results(NAME, SIZE, rows, {}, lambda trial: "same" if "blender" in trial.name else "other")
    assert next_step([one], found, 1) == Training(one.trials["weighted_sum"], 0)


def test_the_reference_at_the_time_of_a_row_is_interpolated() -> None:
    """On a curve of 10 ms at 0.2 and 20 ms at 0.4, sqrt(200) ms are half way in logarithms: 0.3."""
    one = table("1")
    slow = one.trials["assembler"]
    before = timed("1", weighted_sum=10, assembler=math.sqrt(200), blender=10)
    [larger] = curve(one, results([], before))
    assert (larger.name, larger.side) == ("1/blender, side 160", 160)
    assert same_time(one, slow, results([], before)) is None, "the larger input is not timed yet"
    times = timed("1", weighted_sum=10, assembler=math.sqrt(200), blender=10, blender_side_160=20)
    rows = [row(one.trials["blender"], 0, 0.2), row(larger, 0, 0.4), row(slow, 0, 0.35)]
    found = results(rows, times)
    contrast = same_time(one, slow, found)
    assert contrast is not None
    [values] = found.values(contrast, "AP")
    assert values == pytest.approx(np.full(1 + RESAMPLES, 0.05))
    equal = same_time(one, one.trials["weighted_sum"], found)
    assert equal is not None and equal.others == ((one.trials["blender"], 1.0),)


def test_rows_that_are_slower_to_train_get_fewer_steps() -> None:
    a = table("A")
    rows = [row(t, 0, 0.3, seconds=s) for t, s in zip(a.trials.values(), (200.0, 100.0, 101.0), strict=True)]
    found = as_long(a, results(rows))
    assert found["panoptic_fpn"].length.iterations == 5
    assert found["panoptic_fpn"].name == "A/panoptic_fpn, 5 steps"
    assert found["shared"] == a.trials["shared"]


def test_verdicts() -> None:
    steady = np.full(1 + RESAMPLES, 0.1)
    assert verdict([steady, steady]) == "agrees" and verdict([-steady, -steady]) == "contradicts"
    assert verdict([steady]) == "agrees, by pictures alone"
    assert verdict([steady, -steady]) == "open" and verdict([]) == "-"


def test_differences_are_paired_by_seed() -> None:
    one = table("1").trials
    rows = [row(one["blender"], seed, 0.3 + seed / 10) for seed in (0, 1, 2)]
    rows += [row(one["assembler"], seed, 0.2 + seed / 10) for seed in (0, 2)]
    values = results(rows).values(Contrast(one["blender"], ((one["assembler"], 1.0),)), "AP")
    assert [float(value[0]) for value in values] == pytest.approx([0.1, 0.1])


def test_a_run_continues_and_the_report_is_made_of_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    trained: list[str] = []

    def train_and_judge(setting: Setting, trial: Trial, seed: int) -> Row:
        trained.append(trial.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        value = 0.3 if "blender" in trial.name else 0.1
        return replace(row(trial, seed, value, 1), digest=digest_of(setting, trial))

    times = timed("1", weighted_sum=10, assembler=10, blender=12)
    monkeypatch.setattr(ablations, "train_and_judge", train_and_judge)
    monkeypatch.setattr(ablations, "measure", lambda *given: times)
    lines, of_times = tmp_path / "results" / "a.jsonl", tmp_path / "results" / "t.jsonl"
    setting = Setting("shapes", tmp_path, tmp_path, SIZE, Length(10))
    with pytest.raises(KeyboardInterrupt):
        run(setting, [table("1")], 1, lines, of_times)
    assert [key[1] for key in read_rows(lines)] == ["1/weighted_sum", "1/assembler"]
    run(setting, [table("1")], 1, lines, of_times, budget=0)
    assert trained[3:] == [] and "the time is over" in capsys.readouterr().out
    larger = timed("1", weighted_sum=10, assembler=10, blender=12, blender_side_96=9)
    monkeypatch.setattr(ablations, "measure", lambda setting, experiment, given: larger if len(given) > 3 else times)
    run(setting, [table("1")], 1, lines, of_times)
    assert trained[3:] == ["1/blender", "1/blender, side 96"]
    shown = report(read_rows(lines), {larger.key: larger})
    assert "table 1: merging of top and bottom modules" in shown and NAME in shown
    assert "| blender | 31.6 | 1 | 30.0 (27.7 to 32.3) | - | 12.0 | - | 0.00 |" in shown.replace("\\", "")
    assert "| assembler above weighted_sum | +0.6 | +0.0" in shown.replace("\\", "")
    assert "agrees, by pictures alone" in shown
    assert "no results yet" in refused(report, {}, {})
    add_line(lines, replace(row(table("1").trials["blender"], 0, 0.3), experiment="elsewhere"))
    assert "'elsewhere'" in refused(report, read_rows(lines), {})


def test_what_is_missing_is_asked_for(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "take all, report, or 1, 2" in refused(experiments, ["9"], SIZE)
    assert "--photos" in refused(ablations._root, "coco_photos", tmp_path, (1, 1), None)
    assert "no such file" in refused(ablations._backbone, tmp_path / "lite0.safetensors")
