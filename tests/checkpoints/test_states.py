"""Training states: whole or not at all, the newest whole one counts."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from panoptic_blend.checkpoints.states import newest_state, read_state, save_state, state_files
from panoptic_blend.structures import PanopticBlendError


def state(iteration: int) -> dict[str, Any]:
    return {
        "model": {"weight": torch.full((50,), float(iteration))},
        "optimizer": {"state": {"weight": {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
        "scaler": {},
        "iteration": iteration,
        "fixed": {},
    }


def test_round_trip(tmp_path: Path) -> None:
    save_state(tmp_path / "new", state(7))
    [path] = state_files(tmp_path / "new")
    assert path.name == "state_000000007.pt"
    found = read_state(path)
    assert found["iteration"] == 7
    assert found["optimizer"]["state"]["weight"]["momentum_buffer"].tolist() == [1, 1]
    assert found["model"]["weight"].tolist() == [7] * 50


def test_weights_are_no_training_state(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(PanopticBlendError, match=r"weights\.pth: not a training state"):
        read_state(tmp_path / "weights.pth")


def test_a_state_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    with pytest.raises(AttributeError):
        save_state(tmp_path, {**state(2), "what": lambda: None})  # functions without a name cannot be pickled
    assert [path.name for path in tmp_path.iterdir()] == ["state_000000001.pt"]


def test_the_newest_two_are_kept_and_those_of_a_future_given_up_are_not(tmp_path: Path) -> None:
    for iteration in (5, 10, 999_999, 1_000_000):
        save_state(tmp_path, state(iteration))
    assert [path.name for path in state_files(tmp_path)] == ["state_001000000.pt", "state_000999999.pt"]
    save_state(tmp_path, state(20))  # a run that went on from an older state
    assert [path.name for path in state_files(tmp_path)] == ["state_000000020.pt"]


def test_there_may_be_none(tmp_path: Path) -> None:
    assert newest_state(tmp_path / "not there", pytest.fail) is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "name", "listed name", "other content", "junk"])
def test_a_torn_state_is_passed_over(tmp_path: Path, damage: str) -> None:
    for iteration in (1, 2):
        save_state(tmp_path, state(iteration))
    newest = state_files(tmp_path)[0]
    content = bytearray(newest.read_bytes())
    place = content.index(torch.full((50,), 2.0).numpy().tobytes())
    content[place + 3] ^= 0xFF  # a bit in the middle of the weights
    damaged = {"cut": content[: len(content) // 2], "flipped": content, "empty": bytearray(), "text": bytearray(b"x")}
    whole = bytearray(newest.read_bytes())
    for kind, index in (("name", whole.find), ("listed name", whole.rfind)):  # of a member: its own, and in the list
        damaged[kind] = whole.copy()
        damaged[kind][index(b"data.pkl") + 1] ^= 1
    damaged["junk"] = bytearray(np.random.default_rng(0).bytes(3000))
    other = BytesIO()
    torch.save({"weights": torch.zeros(3)}, other)
    damaged["other content"] = bytearray(other.getvalue())
    newest.write_bytes(damaged[damage])
    told: list[str] = []
    found = newest_state(tmp_path, told.append)
    assert found is not None
    assert found["iteration"] == 1
    message, older = told
    assert older == "continued from the older state_000000001.pt"
    assert message.startswith(f"skipped: {newest}: ")
    assert "\n" not in message


def test_states_that_are_all_torn_do_not_pass_for_a_fresh_start(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    state_files(tmp_path)[0].write_bytes(b"")
    with pytest.raises(PanopticBlendError, match="none of its 1 states is complete"):
        newest_state(tmp_path, lambda text: None)


@pytest.mark.parametrize(
    "change",
    [
        {"iteration": "x"},
        {"iteration": -5},
        {"iteration": 1.5},
        {"model": None},
        {"optimizer": None},
        {"optimizer": {}},
        {"optimizer": {"state": {}, "param_groups": []}},
        {"scaler": 5},
    ],
)
def test_a_state_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    torch.save({**state(3), **change}, tmp_path / "state_000000003.pt")
    with pytest.raises(PanopticBlendError, match=r"not a training state|do not go together"):
        read_state(tmp_path / "state_000000003.pt")
