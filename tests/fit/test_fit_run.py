"""The stages of `fit`, with a stand-in for the training: what is done once, what again, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fingerprints import PROCESSOR

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.fit import run
from panoptic_blend.fit.fingerprint import Fingerprint
from panoptic_blend.fit.machine import StepTime
from panoptic_blend.fit.planning import make_plan
from panoptic_blend.fit.report_text import Known
from panoptic_blend.fit.wanted import Wanted
from panoptic_blend.runtime.interruption import RunInterruptedError
from panoptic_blend.training.initialization import BEST, LAST

WANTED = Wanted(minutes=3, weights="none", device="cpu", overrides=("train.precision=32-true",))
STAGES = {"prepare": "data", "take_fingerprint": "fingerprint", "make_plan": "plan", "train": "training"} | {
    "write_summary": "summary"
}
"""The functions that do the work of the stages."""


class Work:
    """Records which stages work; the stage ``dies`` ends once as by Ctrl-C."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done, self.dies, self.configs = list[str](), "", list[Any]()
        for name, stage in STAGES.items():
            monkeypatch.setattr(run, name, self.recorded(stage, getattr(run, name)))
        monkeypatch.setattr(run, "measure_machine", lambda device: PROCESSOR)
        monkeypatch.setattr(run, "tune", lambda *arguments, **options: None)
        model = SimpleNamespace(categories=(), config=Config(), dataset=None)
        for name in ("load", "evaluate_best"):
            monkeypatch.setattr(run, name, lambda *arguments, **options: model)
        monkeypatch.setattr(run, "label_next", lambda model, folder, output, progress: output / "label_next.csv")
        monkeypatch.setattr(run, "write_label_errors", lambda output, searched: output / "label_errors.csv")

    def recorded(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **options: Any) -> Any:
            if self.dies == stage:
                self.dies = ""
                raise KeyboardInterrupt
            self.done.append(stage)
            if stage == "plan":
                return make_plan(arguments[0], arguments[1], lambda *measured: StepTime(0.1, 0.0, 0.01, 10**9, 1.0))
            own: dict[str, Callable[..., Any]] = {"training": self.train, "summary": self.sum_up}
            return own.get(stage, work)(*arguments, **options)

        return do

    def sum_up(self, output: Path, judged: object, known: Known) -> list[str]:
        (output / "report.md").write_bytes(b"")
        return [f"{sum(known.examples.values())} segments", *(path.name for path in known.lists)]

    def train(self, config: Any, output: Path, **options: Any) -> None:
        self.configs.append(config)
        for name in ("state_0000002.pt", LAST, BEST):
            (output / name).write_bytes(b"")


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def fit(folder: Path, output: Path, wanted: Wanted = WANTED, **options: Any) -> list[str]:
    said = list[str]()
    run.fit(folder, output, wanted, say=said.append, **options)
    return said


def test_every_stage_works_once_and_leaves_its_files(
    generated: Path, tmp_path: Path, work: Work, refused: Callable[..., str]
) -> None:
    said = fit(generated, tmp_path / "out")
    assert work.done == list(STAGES.values())
    assert said[0].startswith("data: 7 pictures to learn from and 3 to judge by")
    assert Fingerprint.read(tmp_path / "out/fit/fingerprint.json").images == 7
    assert (work.configs[0].data.root, work.configs[0].train.precision) == (str(generated), "32-true")
    assert "holds a run already" in refused(fit, generated, tmp_path / "out")
    assert fit(generated, tmp_path / "out", resume=True) == said
    assert work.done == list(STAGES.values())
    assert said[-1] == "label_errors.csv"
    truths = [CocoPanoptic(generated, "train2017").truth(i) for i in range(7)]
    assert said[-2] == f"{sum(not s.is_crowd for truth in truths for s in truth.segments)} segments"


def test_pictures_without_labels_are_ranked_when_they_are_given(generated: Path, tmp_path: Path, work: Work) -> None:
    fit(generated, tmp_path)
    said = fit(generated, tmp_path, replace(WANTED, unlabelled=generated / "val2017"), resume=True)
    assert said[-2:] == ["label_next.csv", "label_errors.csv"]
    assert work.done == [*STAGES.values(), "summary"]
    fit(generated, tmp_path, replace(WANTED, unlabelled=generated / "train2017"), resume=True)
    assert work.done == [*STAGES.values(), "summary", "summary"]


@pytest.mark.parametrize("stage", STAGES.values())
def test_a_fit_that_was_stopped_in_a_stage_goes_on_there(
    stage: str, generated: Path, tmp_path: Path, work: Work
) -> None:
    work.dies = stage
    with pytest.raises(RunInterruptedError, match="continue with --resume auto") as stopped:
        fit(generated, tmp_path / "out")
    assert stopped.value.exit_code == 75
    fit(generated, tmp_path / "out", resume=True)
    assert work.done == list(STAGES.values())


def test_an_interrupted_training_names_the_model_that_is_there(
    generated: Path, tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: Any, output: Path, **options: Any) -> None:
        (output / LAST).write_bytes(b"")
        raise RunInterruptedError("interrupted at iteration 12; continue with --resume auto")

    monkeypatch.setattr(run, "train", interrupted)
    with pytest.raises(RunInterruptedError) as stopped:
        fit(generated, tmp_path)
    assert str(stopped.value) == (
        f"interrupted at iteration 12; {tmp_path / LAST} is a model that can be used; continue with --resume auto"
    )


def test_a_dry_run_stops_after_the_plan_which_a_person_may_change(
    generated: Path, tmp_path: Path, work: Work, refused: Callable[..., str]
) -> None:
    fit(generated, tmp_path, dry_run=True)
    assert work.done == ["data", "fingerprint", "plan"]
    plan = tmp_path / "plan.yaml"
    plan.write_text(plan.read_text().replace("lr: 0.003", "lr: 0.125"))
    fit(generated, tmp_path)
    assert work.done == list(STAGES.values())
    assert work.configs[0].train.lr == 0.125
    plan.write_text(plan.read_text().replace("lr: 0.125", "lr: 0.25"))
    assert "plan.yaml: was changed after the training" in refused(lambda: fit(generated, tmp_path, resume=True))
    assert len(work.configs) == 1


def test_other_wishes_make_another_plan_until_the_training_has_begun(
    generated: Path, tmp_path: Path, work: Work, refused: Callable[..., str]
) -> None:
    fit(generated, tmp_path, dry_run=True)
    fit(generated, tmp_path, longer := replace(WANTED, minutes=5))
    assert work.done == ["data", "fingerprint", "plan", "plan", "training", "summary"]
    message = refused(lambda: fit(generated, tmp_path, WANTED, resume=True))
    assert "other wishes (minutes 5 then, 3 now); repeat them, or" in message
    (tmp_path / "fit/fingerprint.json").unlink()
    message = refused(lambda: fit(generated, tmp_path, longer, resume=True))
    assert "whose files of the fingerprint are gone; put them back, or" in message


def test_a_plan_that_a_person_has_changed_is_not_replaced(
    generated: Path, tmp_path: Path, work: Work, refused: Callable[..., str]
) -> None:
    fit(generated, tmp_path, dry_run=True)
    (tmp_path / "fit/plan.json").unlink()  # as `Plan.read` says of a broken one
    fit(generated, tmp_path, dry_run=True)
    plan = tmp_path / "plan.yaml"
    plan.write_text(changed := plan.read_text().replace("lr: 0.003", "lr: 0.125"))
    longer = replace(WANTED, minutes=5)
    message = refused(lambda: fit(generated, tmp_path, longer))
    assert "was changed by hand, and a new plan would replace it (minutes 3 then, 5 now); move it away" in message
    assert plan.read_text() == changed
    plan.rename(tmp_path / "mine.yaml")
    fit(generated, tmp_path, longer)
    assert work.configs[0].train.lr == 0.003


def test_nothing_is_left_behind_by_a_fit_that_cannot_begin(
    generated: Path, tmp_path: Path, work: Work, refused: Callable[..., str]
) -> None:
    assert "lies in the folder of the labels" in refused(fit, generated, generated / "run")
    assert "no such folder; give the folder of your labeled" in refused(fit, tmp_path / "none", tmp_path / "out")
    assert not (generated / "run").exists() and not (tmp_path / "out").exists()


def test_a_device_that_training_would_not_take_is_refused(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.setattr(run, "default_device", lambda: torch.device("cpu"))
    assert "leave out --device" in refused(fit, generated, tmp_path, replace(WANTED, device="cuda"))
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert "--devices 2" in refused(fit, generated, tmp_path)
