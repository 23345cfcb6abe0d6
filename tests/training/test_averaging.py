"""The moving average of weights, by hand, and what a run does with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from panoptic_blend import load_config
from panoptic_blend.checkpoints.states import read_state, save_state
from panoptic_blend.config.experiment import Config
from panoptic_blend.training.averaging import MovingAverage
from panoptic_blend.training.initialization import BEST, LAST
from panoptic_blend.training.log import Reporter, read_log
from panoptic_blend.training.loop import iterate, train
from panoptic_blend.training.run import Run


class Small(nn.Module):
    """A parameter, a frozen one, a batch norm with running statistics, and a buffer outside of the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
        self.norm = nn.BatchNorm1d(1)
        self.register_buffer("cache", torch.zeros(2), persistent=False)


def test_the_average_by_hand() -> None:
    """The decay is 1/10, 2/11, then 0.25 instead of 3/12 and of 4/13."""
    model = Small()
    average = MovingAverage(model, 0.25, {})
    expected = 0.0
    for number, decay in enumerate((1 / 10, 2 / 11, 0.25, 0.25)):
        with torch.no_grad():
            model.weight.fill_(number + 1)
        average.update(number)
        expected = decay * expected + (1 - decay) * (number + 1)
        assert average.state_dict()["weight"].tolist() == pytest.approx([expected] * 2)
    assert model.weight.tolist() == [4, 4]


def test_running_statistics_are_averaged_and_frozen_parts_and_counters_are_left_out() -> None:
    model = Small()
    average = MovingAverage(model, 0.5, {})
    assert average.state_dict().keys() == {"weight"} | {
        f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    }
    assert model.norm.running_mean is not None
    model.norm.running_mean.fill_(1)
    average.update(8)
    assert average.state_dict()["norm.running_mean"].item() == 0.5
    model.norm.eval()
    assert "norm.running_mean" not in MovingAverage(model, 0.5, {}).state_dict()


def test_averages_of_a_state_go_on_and_others_start_from_the_weights() -> None:
    model = Small()
    average = MovingAverage(model, 0.5, {"weight": torch.tensor([2.0, 4.0]), "other": torch.zeros(1)})
    average.update(8)
    assert average.state_dict()["weight"].tolist() == [1, 2]
    assert average.state_dict()["norm.running_var"].tolist() == [1]


def config(root: Path, *changes: str) -> Config:
    tiny = [
        "model.fpn.channels=32",
        "model.fcos.num_convs=1",
        "model.bottom.channels=32",
        "model.semantic.channels=32",
        "model.backbone.depth=14",
    ]
    tiny += ["data.short_sides=[64]", "test.short_side=64", "train.batch_size=2", "train.rescale=false"]
    tiny += ["train.precision=32-true", "train.log_every=1", "train.warmup_iterations=0", f"data.root={root}"]
    return load_config("demo/shapes_r18", [*tiny, *changes])


def test_the_average_is_saved_and_evaluated_and_can_be_switched_on_and_off(generated: Path, tmp_path: Path) -> None:
    iterate(Run(config(generated, "train.iterations=1"), tmp_path, resume=False), Reporter(None, 1))
    before = read_state(tmp_path / "state_000000001.pt")
    assert before.pop("ema") == {}
    for group in before["optimizer"]["param_groups"]:
        del group["factor"]
    save_state(tmp_path, before)  # as in older versions
    averaged = config(generated, "train.iterations=2", "train.ema=0.9", "train.backbone_lr=0.1", "train.weight_decay=0")
    train(averaged, tmp_path, resume=True)
    state = read_state(tmp_path / "state_000000002.pt")
    name = "semantic.predictor.weight"
    start, average, end = before["model"][name], state["ema"][name], state["model"][name]
    assert not torch.allclose(start, end)
    assert torch.allclose(average, (2 * start + 9 * end) / 11, atol=1e-7)
    assert [r.get("weights") for r in read_log(tmp_path) if "PQ" in r] == ["averaged"]
    last, best = load_file(tmp_path / LAST), load_file(tmp_path / BEST)
    groups = state["optimizer"]["param_groups"]
    assert {(g["factor"], g["weight_decay"]): round(g["lr"], 9) for g in groups} == {(1, 0): 0.003, (0.1, 0): 0.0003}
    whole = state["model"] | state["ema"]
    assert all(torch.equal(last[name], value) and torch.equal(best[name], value) for name, value in whole.items())
    evaluated = Run(averaged, tmp_path, resume=True)._evaluated_model().state_dict()
    assert all(torch.equal(evaluated[name], value) for name, value in whole.items())
    Run(config(generated, "train.iterations=2"), tmp_path, resume=True)
    assert torch.equal(load_file(tmp_path / LAST)[name], end)
