"""A few training iterations on Shapes: the files of a run, resuming, and errors that stop it."""

from __future__ import annotations

import json
import math
import re
import shutil
from itertools import count, islice
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from branches import branch_of
from safetensors.torch import load_file, save_file
from torch import nn

from panoptic_blend import evaluate_files, load, load_config
from panoptic_blend.checkpoints.io import read_checkpoint, read_figure
from panoptic_blend.checkpoints.states import read_state, save_state, state_files
from panoptic_blend.config.experiment import Config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.failures import ForeignError, in_one_line
from panoptic_blend.files import locked
from panoptic_blend.formats.images import Picture, read_segment_ids, write_segment_ids
from panoptic_blend.inference.evaluation import require_same_categories
from panoptic_blend.runtime.threads import Threads
from panoptic_blend.shapes.dataset import CATEGORIES, write_shapes
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training import loop
from panoptic_blend.training.initialization import BEST, LAST
from panoptic_blend.training.log import IterationRecord, Reporter
from panoptic_blend.training.loop import finish, train
from panoptic_blend.training.run import Run
from panoptic_blend.training.step import add_gradients_of

TINY = [
    "model.fpn.channels=32",
    "model.fcos.num_convs=1",
    "model.bottom.channels=32",
    "model.semantic.channels=32",
    "model.backbone.depth=14",
    "data.short_sides=[64]",
    "data.workers=0",
    "test.short_side=64",
    "train.batch_size=2",
    "train.rescale=false",
    "train.precision=32-true",
    "train.log_every=1",
    "train.evaluate_every=0",
    "train.steps=[3]",
    "train.warmup_iterations=2",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, train=6, val=3, seed=7)
    return folder


def config(root: Path, *changes: str) -> Config:
    return load_config("demo/shapes_r18", [*TINY, f"data.root={root}", *changes])


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four iterations that was never interrupted."""
    output = tmp_path_factory.mktemp("finished")
    train(config(root, "train.iterations=4"), output)
    return output


@pytest.fixture
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes longer than a step."""
    monkeypatch.setattr(loop, "draw_curves", lambda folder: None)


def test_a_run_writes_its_files(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    promised = {"config.yaml", "run.json", "log.jsonl", "state_000000004.pt", LAST, BEST, "curves.png", "results"}
    assert promised <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.endswith(".part") for name in names)
    records = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    steps, evaluations = records[:4], records[4:]
    assert [record["iteration"] for record in steps] == [1, 2, 3, 4]
    assert [record["lr"] for record in steps] == pytest.approx([3e-6, 3e-3 * 0.5005, 3e-3, 3e-4])
    for record in steps:
        terms = [value for name, value in record.items() if name.startswith("loss_")]
        assert len(terms) == 6
        assert record["loss"] == pytest.approx(sum(terms))
    assert len(evaluations) == 1
    assert {"PQ", "SQ", "RQ", "PQ_Th", "PQ_St", "mIoU", "AP_box", "AP_Th"} < evaluations[0].keys()


def test_the_checkpoint_includes_config_and_categories(finished: Path, root: Path) -> None:
    checkpoint = read_checkpoint(finished / LAST)
    assert (checkpoint.config.model.num_things, checkpoint.config.model.num_stuff) == (6, 4)
    assert [c.id for c in checkpoint.categories] == sorted(c.id for c in CATEGORIES)
    assert load_config(finished / "config.yaml") == checkpoint.config
    panoptic = load(finished / LAST).predict(root / "val2017" / "000001000001.jpg")
    assert {segment.category for segment in panoptic.segments} <= {c.id for c in CATEGORIES}


def test_the_written_results_have_the_scores_in_the_log(finished: Path, root: Path) -> None:
    report = evaluate_files(root / "annotations/panoptic_val2017.json", finished / "results/panoptic_val2017.json")
    logged = json.loads((finished / "log.jsonl").read_text().splitlines()[-1])
    assert (report["All"]["pq"], report["Things"]["pq"], report["Stuff"]["pq"]) == (
        logged["PQ"],
        logged["PQ_Th"],
        logged["PQ_St"],
    )


@pytest.mark.usefixtures("without_curves")
def test_a_resumed_run_ends_like_one_that_was_never_stopped(finished: Path, root: Path, tmp_path: Path) -> None:
    stopped = Run(config(root, "train.iterations=4", "train.checkpoint_every=2"), tmp_path, resume=False)
    checkpoint = stopped.checkpoint

    def checkpoint_and_leave() -> None:
        checkpoint()
        raise KeyboardInterrupt

    stopped.checkpoint = checkpoint_and_leave  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        finish(stopped)
    assert [read_state(path)["iteration"] for path in state_files(tmp_path)] == [2]
    train(config(root, "train.iterations=4", "train.checkpoint_every=2"), tmp_path, resume=True)
    ours, theirs = load_file(tmp_path / LAST), load_file(finished / LAST)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    logs = [[json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (tmp_path, finished)]
    kept = [[{k: v for k, v in r.items() if "seconds" not in k} for r in log] for log in logs]
    assert kept[0] == kept[1]


@pytest.mark.usefixtures("without_curves")
def test_another_number_of_threads_is_saved_and_kept_when_resuming(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    run = Run(config(root, "train.iterations=3"), tmp_path, resume=False)

    def follow() -> bool:
        torch.set_num_threads(1 if run.iteration >= 2 else 2)
        return run.iteration == 2

    monkeypatch.setattr(run.threads, "follow", follow)
    finish(run)
    assert "iteration 2: 1 of 2 threads, for the cores that other programs leave free" in capsys.readouterr().out
    states = [read_state(path) for path in state_files(tmp_path)]
    assert [(state["iteration"], state["threads"]) for state in states] == [(3, 1), (2, 1)]
    torch.set_num_threads(2)
    assert Run(config(root, "train.iterations=3"), tmp_path, resume=True).remarks == [
        "the run had 1 threads and now has 2: last digits may differ"
    ]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("panoptic_blend.training.run.Threads", made := Mock(wraps=Threads))
    assert Run(config(root, "train.iterations=3"), tmp_path, resume=True, share_cores=True).threads.number == 1
    assert made.call_args.kwargs == {"rest": 60}  # seconds between two states
    torch.set_num_threads(before)


@pytest.mark.usefixtures("without_curves")
def test_resuming_a_finished_run_only_evaluates(finished: Path, root: Path) -> None:
    [state] = state_files(finished)
    before = state.read_bytes()
    log = (finished / "log.jsonl").read_text()
    evaluation = train(config(root, "train.iterations=4"), finished, resume=True)
    assert 0 <= evaluation.columns()["PQ"] <= 1
    assert state.read_bytes() == before
    assert (finished / "log.jsonl").read_text() == log


def test_a_run_is_not_overwritten(finished: Path, root: Path) -> None:
    with pytest.raises(PanopticBlendError, match="holds a run already; continue it with --resume"):
        train(config(root), finished)


def test_a_folder_has_one_run_at_a_time(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panoptic_blend.training.loop._PATIENCE", 0.0)
    message = "another process is using this folder; wait until it ends, or choose another --output"
    with locked(tmp_path), pytest.raises(PanopticBlendError, match=message):
        train(config(root), tmp_path)


def test_limits_that_the_data_exceed_are_said(root: Path, tmp_path: Path) -> None:
    run = Run(config(root, "model.fcos.detections_per_image=1"), tmp_path, resume=False)
    assert [remark.split(":")[0] for remark in run.remarks] == ["panoptic_train2017.json", "panoptic_val2017.json"]
    assert all(remark.endswith("(now 1)") for remark in run.remarks)


def copied(run: Path, folder: Path, *left_out: str) -> Path:
    return Path(shutil.copytree(run, folder, ignore=shutil.ignore_patterns(*left_out)))


def test_weights_without_a_state_are_not_overwritten(finished: Path, root: Path, tmp_path: Path) -> None:
    output = copied(finished, tmp_path / "run", "state_*")
    for resume, message in ((False, "holds a run already"), (True, "no state to resume")):
        with pytest.raises(PanopticBlendError, match=message):
            train(config(root), output, resume)


def test_a_resumed_run_keeps_its_model_and_optimizer(finished: Path, root: Path) -> None:
    for change in ("train.optimizer=sgd", "model.backbone.frozen_stages=1"):
        with pytest.raises(PanopticBlendError, match=r"states belong to a run with another model or optimizer"):
            train(config(root, change), finished, resume=True)


@pytest.mark.parametrize("fixed", [{}, {"model": {"of_another_version": 1}, "optimizer": "adamw"}])
def test_a_state_of_another_version_is_refused(
    finished: Path, root: Path, tmp_path: Path, fixed: dict[str, object]
) -> None:
    output = copied(finished, tmp_path / "run")
    [path] = state_files(output)
    save_state(output, {**read_state(path), "fixed": fixed})
    with pytest.raises(PanopticBlendError, match=r"states belong to a run with another model or optimizer"):
        train(config(root), output, resume=True)


@pytest.mark.usefixtures("without_curves")
def test_a_truncated_log_neither_stops_a_run_nor_loses_its_best_weights(
    finished: Path, root: Path, tmp_path: Path
) -> None:
    output = copied(finished, tmp_path / "run")
    best = (output / BEST).read_bytes()
    (output / "log.jsonl").write_bytes(b'{"iteration": 1, "loss": 2.0}\n' + b"[" * 5000 + b'\n\xff{"iterat')
    train(config(root, "train.iterations=4"), output, resume=True)
    assert (output / BEST).read_bytes() == best
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [("loss" in record, "PQ" in record) for record in records] == [(True, False), (False, True)]


def test_figures_over_nothing_are_null_in_the_log_and_the_newest_weights_are_the_best(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(root, data)
    path = data / "annotations" / "panoptic_val2017.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:  # everything is void
        png = path.with_suffix("") / annotation["file_name"]
        write_segment_ids(png, np.zeros_like(read_segment_ids(png)))
        annotation["segments_info"] = []
    path.write_text(json.dumps(content))
    output = tmp_path / "run"
    evaluation = train(
        config(data, "train.iterations=2", "train.evaluate_every=1", "train.warmup_iterations=0", "train.steps=[1]"),
        output,
    )
    assert np.isnan(evaluation.columns()["PQ"])
    lines = (output / "log.jsonl").read_text().splitlines()
    evaluations = [json.loads(line, parse_constant=pytest.fail) for line in lines if "PQ_Th" in line]
    assert [(found["iteration"], found["PQ"], found["mIoU"], found["AP_box"]) for found in evaluations] == [
        (1, None, None, None),
        (2, None, None, None),
    ]
    assert "iteration 2: PQ -  SQ -  RQ -  PQ_Th -  PQ_St -  mIoU -  AP_box -  AP_Th -" in capfd.readouterr().out
    best, last = load_file(output / BEST), load_file(output / LAST)
    assert all(torch.equal(best[name], last[name]) for name in last)
    assert read_figure(output / BEST, "pq") == -1
    assert (output / "curves.png").stat().st_size > 0
    train(
        config(data, "train.iterations=2", "train.evaluate_every=1", "train.warmup_iterations=0", "train.steps=[1]"),
        output,
        resume=True,
    )


def test_training_starts_from_given_weights(finished: Path, root: Path, tmp_path: Path) -> None:
    run = Run(config(root, f"train.weights={finished / LAST}"), tmp_path, resume=False)
    saved = load_file(finished / LAST)
    assert all(torch.equal(value, saved[name]) for name, value in run.model.state_dict().items())


def test_a_loss_that_is_not_finite_is_reported_with_terms_and_files(finished: Path, root: Path, tmp_path: Path) -> None:
    weights = load_file(finished / LAST)
    weights["semantic.predictor.weight"] *= 1e38
    save_file(weights, tmp_path / "broken.safetensors")
    run = Run(config(root, f"train.weights={tmp_path / 'broken.safetensors'}"), tmp_path / "run", resume=False)
    with pytest.raises(
        PanopticBlendError, match=r"iteration 1: .*loss_semantic (nan|inf).* on 0000\d+\.jpg, 0000\d+\.jpg"
    ) as error:
        finish(run)
    path = tmp_path / "run" / "not_finite_0.pt"
    assert str(path) in str(error.value)
    kept = torch.load(path, weights_only=True)
    assert kept["iteration"] == 1
    assert kept["names"] == re.findall(r"0000\d+\.jpg", str(error.value))
    assert [image.dtype for image in kept["images"]] == [torch.uint8] * 2
    assert kept["targets"][0]["boxes"].shape[1] == 4
    assert not kept["losses"]["loss_semantic"].isfinite()
    assert state_files(tmp_path / "run") == []


def test_a_loss_that_is_read_after_the_next_batch_is_loaded_names_its_own_step(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = count(1)

    def broken_in_the_second(*arguments: Any) -> dict[str, torch.Tensor]:
        factor = math.nan if next(steps) == 2 else 1.0
        return {name: factor * value for name, value in add_gradients_of(*arguments).items()}

    monkeypatch.setattr(loop, "add_gradients_of", broken_in_the_second)
    settings = config(root, "train.iterations=6")
    with pytest.raises(PanopticBlendError, match="iteration 2: the loss is not finite"):
        train(settings, tmp_path / "run")
    kept = torch.load(tmp_path / "run" / "not_finite_0.pt", weights_only=True)
    batches = Run(settings, tmp_path / "same", resume=False).batches()
    assert (kept["iteration"], kept["names"]) == (2, [batch.names for batch in islice(batches, 2)][1])
    assert next(steps) == 3  # the third step was not taken
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["iteration"] for record in records] == [1]
    assert state_files(tmp_path / "run") == []


def test_memory_that_runs_out_names_the_batch_and_what_to_lower_and_leaves_the_states(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(9))

    def exhausted(*arguments: Any) -> Any:
        return torch.empty(2**50) if next(calls) else add_gradients_of(*arguments)

    monkeypatch.setattr(loop, "add_gradients_of", exhausted)
    changes = "train.iterations=4", "train.checkpoint_every=1"
    with pytest.raises(RuntimeError, match="allocate") as error:
        train(config(root, *changes), tmp_path)
    assert re.fullmatch(
        r"iteration 2 on \d+.jpg, \d+.jpg: memory ran out; lower train.images_per_step, train.batch_size or "
        r"data.short_sides",
        str(in_one_line(error.value)),
    )
    assert (tmp_path / "state_000000001.pt").exists()


def broken(root: Path, folder: Path) -> Path:
    """A copy of the data set with one training picture cut short."""
    shutil.copytree(root, folder)
    picture = sorted((folder / "train2017").iterdir())[2]
    picture.write_bytes(picture.read_bytes()[:100])
    return picture


def test_a_corrupt_picture_ends_the_run_and_is_named(root: Path, tmp_path: Path) -> None:
    picture = broken(root, tmp_path / "data")
    with pytest.raises(PanopticBlendError, match=rf"iteration \d: {picture}: cannot be decoded"):
        train(config(tmp_path / "data", "train.iterations=4"), tmp_path / "run")


@pytest.mark.usefixtures("without_curves")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_picture_is_skipped_and_counted_on_request(root: Path, tmp_path: Path, workers: int) -> None:
    """Six pictures in batches of two: six iterations are two epochs, so the broken picture is skipped twice."""
    picture = broken(root, tmp_path / "data")
    options = ["train.iterations=6", "data.on_error=skip", f"data.workers={workers}"]
    train(config(tmp_path / "data", *options), tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["skipped"] for record in records if "skipped" in record] == [1, 2]
    assert [record["iteration"] for record in records if "loss" in record] == [1, 2, 3, 4, 5, 6]
    assert picture.exists()


def test_a_data_set_without_readable_pictures_ends_the_run(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data")
    for picture in (tmp_path / "data" / "train2017").iterdir():
        picture.write_bytes(b"")
    with pytest.raises(PanopticBlendError, match=r"iteration 1: .*cannot be decoded"):
        train(config(tmp_path / "data", "train.iterations=4", "data.on_error=skip"), tmp_path / "run")


@pytest.mark.parametrize("on_error", ["error", "skip"])
def test_an_exception_of_a_data_set_keeps_its_traceback(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_error: str
) -> None:
    def broken(self: CocoPanoptic, index: int) -> Picture:
        raise KeyError("x")

    monkeypatch.setattr(CocoPanoptic, "picture", broken)
    with pytest.raises(ForeignError, match=r"iteration 1: loading 0000\d+\.jpg of .*: KeyError: 'x'") as error:
        train(config(root, f"data.on_error={on_error}", "data.workers=0"), tmp_path / "run")
    assert "in broken" in error.value.trace
    assert "in a row" not in str(error.value)  # other images are no substitute


@pytest.mark.usefixtures("without_curves")
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_keeps_weights_losses_and_states_in_float32(root: Path, tmp_path: Path, precision: str) -> None:
    seen: set[torch.dtype] = set()
    given: list[torch.Tensor] = []

    def watch(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.add(output.dtype)

    def take(module: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        if module.training:
            given.extend([*inputs[0].truth.boxes, inputs[0].truth.positives.distances, *named["normalizers"].values()])

    options = ["train.iterations=1", "train.warmup_iterations=0", f"train.precision={precision}"]
    run = Run(config(root, *options), tmp_path, resume=False)
    branch_of(run.model).fcos.class_tower[0].register_forward_hook(watch)
    run.model.register_forward_pre_hook(take, with_kwargs=True)
    finish(run)
    assert seen == {torch.bfloat16 if precision == "bf16-mixed" else torch.float16}
    assert {x.dtype for x in given} == {torch.float32, torch.float64}  # coordinates and normalizers are not rounded
    state = read_state(state_files(tmp_path)[0])
    floats = {x.dtype for x in state["model"].values() if x.is_floating_point()}
    moments = {x["exp_avg"].dtype for x in state["optimizer"]["state"].values()}
    assert floats == moments == {torch.float32}
    assert bool(state["scaler"]) == (precision == "16-mixed")
    if precision == "16-mixed":
        assert state["scaler"]["scale"] > 1
        again = Run(config(root, *options, "train.iterations=2"), tmp_path, resume=True)
        assert again.fabric.strategy.precision.state_dict() == state["scaler"]


def test_automatic_precision_stays_when_a_run_is_resumed(
    root: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panoptic_blend.training.run.chosen_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr("panoptic_blend.runtime.precision._processor_has_bf16", lambda: False)
    save_state(tmp_path, read_state(finished / "state_000000004.pt") | {"precision": "bf16-mixed"})
    resumed = Run(config(root, "train.iterations=4", "train.precision=auto"), tmp_path, resume=True)
    assert resumed.precision == "bf16-mixed"
    assert "precision stays bf16-mixed, as before; train.precision=32-true would be faster here" in resumed.remarks
    resumed.checkpoint()
    assert read_state(tmp_path / "state_000000004.pt")["precision"] == "bf16-mixed"
    assert read_state(finished / "state_000000004.pt")["precision"] is None  # it was stated


@pytest.mark.usefixtures("without_curves")
def test_a_batch_in_parts_has_the_losses_of_the_whole(root: Path, tmp_path: Path) -> None:
    """Batch norms are frozen and pictures have one size, so that only the number of parts differs."""
    options = ["train.iterations=3", "train.batch_size=4", "model.backbone.norm=frozen_bn", "model.bottom.kind=shared"]
    options += ["model.bottom.loss_weight=0", "data.short_sides=[64]", "data.long_side=64", "data.flip=0"]
    logs = []
    for parts in (4, 1):
        folder = tmp_path / str(parts)
        train(config(root, *options, f"train.images_per_step={parts}"), folder)
        records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        logs.append([record["loss"] for record in records if "loss" in record])
    assert logs[0] == pytest.approx(
        logs[1], rel=0.1
    )  # padding differs between the two, and with it the outputs at the borders


def test_the_provenance_of_a_run(finished: Path) -> None:
    start = json.loads((finished / "run.json").read_text())[0]  # other tests resume the run
    assert (start["seed"], start["iteration"], start["processes"]) == (0, 0, 1)
    assert torch.__version__.startswith(start["versions"]["torch"])
    assert start["git"] is None or len(start["git"]["commit"]) == 40


def test_a_batch_size_must_be_a_multiple_of_the_devices(root: Path, tmp_path: Path) -> None:
    with pytest.raises(PanopticBlendError, match="batch_size 2 cannot be shared by 3 devices"):
        train(config(root, "train.devices=3"), tmp_path)


def test_splits_must_have_the_same_categories(root: Path, tmp_path: Path) -> None:
    for name in ("train2017", "val2017"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "annotations").mkdir()
    for path in (root / "annotations").iterdir():
        (tmp_path / "annotations" / path.name).symlink_to(path)
    val = tmp_path / "annotations" / "panoptic_val2017.json"
    content = json.loads(val.read_text())
    content["categories"].append({"id": 77, "name": "cloud", "isthing": 0})
    val.unlink()
    val.write_text(json.dumps(content))
    with pytest.raises(
        PanopticBlendError, match=r"panoptic_val2017.json: its categories .*: id 77, 'cloud', is not in"
    ):
        Run(config(tmp_path), tmp_path / "run", resume=False)


def test_weights_with_other_classes(finished: Path, root: Path, tmp_path: Path) -> None:
    """The number of classes is the same, but a name differs: weights of one class must not be used for another."""
    other = tmp_path / "other"
    shutil.copytree(root, other)
    for path in (other / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        content["categories"][0]["name"] = "thimble"
        path.write_text(json.dumps(content))
    start, weights = [f"train.weights={finished / LAST}", "train.iterations=0"], load_file(finished / LAST)
    with pytest.raises(PanopticBlendError, match=r"has other classes \('\w+' is 'thimble' there\); give --partial"):
        Run(config(other, *start), tmp_path / "whole", resume=False)
    run = Run(config(other, *start, "train.partial=true"), tmp_path / "part", resume=False)
    names = sorted(c.name for c in run.categories if c.name != "thimble")
    listed = f"{', '.join(names[:6])} and 3 more"
    assert run.remarks == [f"{finished / LAST}: knows 9 ({listed}) of the 10 classes by name"]
    assert torch.equal(
        run.model.state_dict()["fpn.pyramid.inner_blocks.0.0.weight"], weights["fpn.pyramid.inner_blocks.0.0.weight"]
    )
    name, new = "instances.fcos.class_logits.weight", [c.name for c in run.categories if c.is_thing].index("thimble")
    same = [torch.equal(*rows) for rows in zip(run.model.state_dict()[name], weights[name], strict=True)]
    assert same == [row != new for row in range(6)]
    run = Run(config(root, *start), tmp_path / "same", resume=False)
    assert run.remarks == []
    with pytest.raises(PanopticBlendError, match="its categories are not the model's"):
        dataset = CocoPanoptic(other, "val2017")
        require_same_categories(run.categories, dataset)


def test_the_time_left_includes_the_pauses_between_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps of 1 s and an evaluation of 20 s before the sixth: 3 s for each of the ninety that are left."""
    times = iter([0, 1, 2, 3, 4, 5, 26, 27, 28, 29, 30])
    monkeypatch.setattr("panoptic_blend.training.log.perf_counter", lambda: next(times))
    with Reporter(tmp_path, 100) as reporter:
        for number in range(1, 11):
            reporter.step(IterationRecord(number, 0.1, {"loss_class": 1.0}, 8, 0.0, 1.0), is_logged=number == 10)
    assert "10/100  8.0 images/s  0:04:30 left" in capsys.readouterr().out


def test_a_machine_that_is_much_slower_than_planned_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Reporter(tmp_path, 100, planned=0.5) as reporter:
        for number in range(1, 42):
            seconds = 0.5 if number <= 20 else 1.0
            reporter.step(IterationRecord(number, 0.1, {"loss_class": 1.0}, 8, 0.0, seconds), is_logged=False)
    # at the 30th step, the last twenty took 0.75 s in the mean, half as much again
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("steps take 0.75 s, and 0.50 s were planned: the training will take 0:00:52 more instead of")
    assert "0:00:35" in line
