"""Experiments on fit: what is trained, what is left out, that finished runs are skipped, and what is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from evaluation import fit_experiments, fit_quality
from evaluation.fit_experiments import EXPERIMENTS, RATES, REFERENCES, Given, Task, left_out
from evaluation.fit_quality import run
from evaluation.fit_rows import read_rows
from evaluation.fit_variants import ByConfig, ByFit, ByPeer, Trained, Tuned, digest, training_seconds, without_folders
from evaluation.generated_kinds import KINDS
from panoptic_blend.checkpoints.io import read_figure
from panoptic_blend.cli.running import guarded
from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.machine import cores
from panoptic_blend.training.initialization import BEST

SMALL = (
    *(f"model.{part}.channels=32" for part in ("fpn", "semantic", "bottom")),
    *("train.iterations=1", "train.batch_size=1", "train.log_every=1", "model.backbone.norm=gn"),
)


def test_every_experiment_has_a_reference() -> None:
    assert REFERENCES.keys() == EXPERIMENTS.keys()


def test_fit_has_the_time_of_the_demos_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_experiments, "write_shapes", lambda *arguments: None)
    demo, by_fit = EXPERIMENTS["shapes"](Given(tmp_path), 3)
    assert demo.variant == ByConfig("demo/shapes_r18")
    assert isinstance(by_fit.variant, ByFit) and by_fit.variant.as_long_as == demo.folder
    limited = [task.variant for task in EXPERIMENTS["few"](Given(tmp_path, minutes=2), 3)]
    assert limited[0] == ByConfig("demo/shapes_r18", minutes=2)
    assert isinstance(limited[1], ByFit) and limited[1].wanted.minutes == 2 and limited[1].as_long_as is None


def test_the_time_of_a_training_is_that_of_its_steps(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "config.yaml").write_text("train: {iterations: 50}\n")
    lines = [
        {"iteration": 20, "step_seconds": 0.3},
        {"iteration": 20, "pq": 0.1},
        {"iteration": 40, "step_seconds": 0.5},
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert training_seconds(tmp_path) == pytest.approx(50 * 0.4)
    (tmp_path / "log.jsonl").write_text("")
    assert "log_every" in refused(training_seconds, tmp_path)


def test_each_ingredient_of_a_plan_is_left_out_once() -> None:
    plain = load_config("demo/shapes_r18", ["train.precision=bf16-mixed"])
    always, speed = {"cosine for steps"}, {"larger input", "smaller input", "32-true"}
    assert left_out(plain).keys() == always | speed, "nothing is left out of what has nothing"
    cosine = left_out(plain.changed(["train.schedule=cosine"]))
    assert cosine.keys() == speed | {"steps for cosine"}
    assert plain.changed(cosine["steps for cosine"][0]).train.steps == (1440, 1674)
    plan = plain.changed(["train.ema=0.99", "data.jitter=[0.5, 2]", "model.fcos.assigner=atss"])
    found = left_out(plan)
    assert found.keys() == always | speed | {"without train.ema", "without data.jitter", "without model.fcos.assigner"}
    assert {name for name, (_, changes_speed) in found.items() if changes_speed} == speed
    for overrides, _ in found.values():
        assert plan.changed(overrides) != plan
    assert plan.changed(found["without train.ema"][0]).train.ema is None
    larger = plan.changed(found["larger input"][0])
    assert larger.data.short_sides == (160,) and larger.test.short_side == 160 and larger.data.long_side == 192
    assert plan.changed(found["cosine for steps"][0]).train.schedule == "cosine"


def test_the_model_of_the_plan_is_tuned_without_another_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_experiments, "write_shapes", lambda *arguments: None)
    (tmp_path / "ablation").mkdir()
    (tmp_path / "ablation" / "plan.yaml").write_text("train: {iterations: 5}\n")
    plan, *_, tuned = EXPERIMENTS["ablation"](Given(tmp_path), 3)
    assert plan.name == "plan" and tuned.name == "tuned fusion"
    assert isinstance(tuned.variant, Tuned) and isinstance(plan.variant, ByConfig)
    assert tuned.variant.trained == plan.folder and tuned.variant.variant.base == plan.variant.base


def test_a_digest_is_the_same_wherever_the_weights_lie(tmp_path: Path) -> None:
    digests = []
    for name in ("here", "there"):
        path = tmp_path / name / "lite0.safetensors"
        path.parent.mkdir()
        path.touch()
        config = load_config("demo/shapes_r18", [f"train.weights={path}", f"data.root={path.parent}"])
        digests += [digest(config), digest([f"pretrained={path}", "rate=1"])]
    assert digests[:2] == digests[2:]
    assert digest(["pretrained=lite1.safetensors", "rate=1"]) != digests[1] != digests[0]


def test_options_have_the_names_of_files_only(tmp_path: Path) -> None:
    path = tmp_path / "a plan.yaml"
    path.touch()
    backbone = f"model.backbone={{kind: timm, pretrained: {path}, depth: 50}}"
    shown = without_folders([str(path), f"weights={path}", backbone, "seed=0", "fit --minutes 3.00"])
    assert shown == [
        "a plan.yaml",
        "weights=a plan.yaml",
        "model.backbone={kind: timm, pretrained: a plan.yaml, depth: 50}",
        "seed=0",
        "fit --minutes 3.00",
    ]


def test_photographs_and_weights_are_asked_for(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "--data" in refused(list, EXPERIMENTS["photos"](Given(tmp_path), 0))


def test_the_peer_has_the_input_size_batch_and_pyramid_of_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fit_experiments, "_photo_roots", lambda given: dict.fromkeys(("all", "photos"), tmp_path / "data")
    )
    (tmp_path / "data" / "val2017").mkdir(parents=True)
    given = Given(tmp_path, minutes=5, pretrained=Path("lite0.safetensors"))
    tasks = EXPERIMENTS["peer"](given, 1)
    own = next(tasks)
    assert own.folder == next(EXPERIMENTS["photos"](given, 1)).folder, "the run of fit is trained once"
    own.folder.mkdir(parents=True)
    (own.folder / "plan.yaml").write_text(
        "model: {fpn: {channels: 64}}\ntrain: {batch_size: 3}\ntest: {short_side: 256, long_side: 352}\n"
    )
    peers = [task.variant for task in tasks]
    settings = [(rate, 2) for rate in RATES] + [(1.0, 5)]
    for variant, (rate, frozen) in zip(peers, settings, strict=True):
        assert isinstance(variant, ByPeer) and variant.minutes == 5
        peer = variant.peer
        assert (peer.short_side, peer.long_side, peer.batch_size, peer.channels) == (256, 352, 3, 64)
        assert (peer.rate, peer.frozen_stages) == (rate, frozen)


def test_photographs_to_train_on_have_one_training_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_experiments, "derive", lambda *arguments: [])
    data = tmp_path / "photos" / "data"
    for split in ("train2017", "val2017", "more2017", "instances2017"):
        (data / split).mkdir(parents=True)
    given = Given(tmp_path, data=tmp_path, pretrained=Path("lite0.safetensors"))
    own, more, *others = EXPERIMENTS["photos"](given, 0)
    assert [*own.splits] == ["val2017", "instances2017"] and [*more.splits] == ["val2017"]
    assert [path.name for path in sorted(more.root.iterdir())] == ["annotations", "train2017", "val2017"]
    assert (more.root / "train2017").resolve() == data / "more2017"
    assert {task.root for task in others} == {own.root}
    for task in others:
        assert isinstance(task.variant, ByConfig) and task.variant.minutes == 20
        load_config(task.variant.base, task.variant.overrides)  # raises for an option that has no effect


def test_kinds_are_written_before_they_are_trained_on(tmp_path: Path) -> None:
    tasks = EXPERIMENTS["kinds"](Given(tmp_path, pictures=(2, 1)), 0)
    first = next(tasks)
    assert first.name == "demo" and [*first.splits] == [next(iter(KINDS))]
    assert len(CocoPanoptic(*first.splits["tiny things"])) == 1
    assert len(CocoPanoptic(first.root, "train2017")) == 2


class _OneStep:
    """A small model that learns from one picture."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def train(self, root: Path, folder: Path, seed: int) -> Trained:
        self.calls.append(seed)
        trained = ByConfig("demo/shapes_r18", SMALL).train(root, folder, seed)
        return replace(trained, options=[*trained.options, f"weights={folder.parent / 'lite0.safetensors'}"])


def test_runs_leave_a_row_and_are_skipped_then(
    tmp_path: Path,
    generated: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    refused: Callable[..., str],
) -> None:
    variant = _OneStep()

    def tasks(given: Given, seed: int) -> Iterator[Task]:
        yield Task("demo", variant, generated, given.output / str(seed), {"val2017": (generated, "val2017")})

    monkeypatch.setattr(fit_quality, "EXPERIMENTS", {"few": tasks})
    results = tmp_path / "rows.jsonl"
    given = Given(tmp_path, pretrained=tmp_path / "lite0.safetensors")
    run("few", given, [0], results)
    run("few", given, [0], results, only=["demo"])
    assert variant.calls == [0]
    assert "no such variant; take demo" in refused(run, "few", given, [0], results, ["fit"])
    [row] = read_rows(results).values()
    assert (row.iterations, row.images, row.cores) == (1, 3, cores())
    assert row.figures["PQ"] == pytest.approx(read_figure(tmp_path / "0" / BEST, "pq"), abs=1e-6)
    assert "weights=lite0.safetensors" in row.options, "where the file lies is not told"
    assert "train.iterations=1" in row.options and row.seconds > 0 and len(row.digest) == 12
    results.write_text(json.dumps(vars(row) | {"seed": 7}) + "\n")
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["fit_quality", "table", "--results", str(results)])
    with pytest.raises(SystemExit) as stop:
        guarded(lambda: typer.run(fit_quality.fit_quality))
    assert stop.value.code == 0
    assert "**few, val2017: % with 95% intervals**" in capsys.readouterr().out
