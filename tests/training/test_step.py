"""Steps of a run of several processes, in one: the sums of the others are added by hand, or there are no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from evaluation.operator_counts import counting
from panoptic_blend.models.instance_branch import TrainingBatch
from panoptic_blend.runtime.processes import ddp, take_buffers_of_first
from panoptic_blend.training import step
from panoptic_blend.training.step import LossesOfStep, add_gradients_of, tell

FLAGS = {"failure": False, "stop": True}
CPU = torch.device("cpu")


def fabric(world_size: int) -> Any:
    """The parts of Fabric that a step uses, in float32 on the CPU."""
    return SimpleNamespace(
        world_size=world_size,
        device=CPU,
        backward=lambda loss: loss.backward(),
        no_backward_sync=lambda forward, enabled: forward.no_sync() if enabled else nullcontext(),
    )


def part(positives: int, pixels: int) -> TrainingBatch:
    return TrainingBatch([], None, [], {"positives": torch.tensor(positives), "pixels": torch.tensor(pixels)})


def losses(ranks: int, *values: float) -> LossesOfStep:
    return LossesOfStep(fabric(ranks), {f"loss_{i}": torch.tensor(x) for i, x in enumerate(values)})


def test_one_process_tells_itself() -> None:
    told = tell(fabric(1), FLAGS, [part(2, 10), part(3, 5)], losses(1, 0.5, 0.25))
    assert told.flags == FLAGS
    assert {name: x.item() for name, x in told.normalizers.items()} == {"positives": 5, "pixels": 15}
    assert told.losses == {"loss_0": 0.5, "loss_1": 0.25}
    assert tell(fabric(1), FLAGS, [], None).normalizers == {}
    assert tell(fabric(1), FLAGS, [part(1, 1)], None).losses == {}


def test_flags_losses_and_counts_of_all_processes_are_summed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process has no batch: it fails, and was not asked to stop."""
    sent: list[Tensor] = []

    def from_other(own: Tensor) -> None:
        sent.append(own.clone())
        own += torch.tensor([1.0, 0.0, 2.0, 4.0, *[0.0] * step._ROOM])

    monkeypatch.setattr(distributed, "all_reduce", from_other)
    told = tell(fabric(2), FLAGS, [part(2, 10), part(3, 5)], losses(2, 0.5, 0.25))
    assert told.flags == {"failure": True, "stop": True}
    assert told.losses == {"loss_0": 2.5, "loss_1": 4.25}
    assert {name: x.item() for name, x in told.normalizers.items()} == {"positives": 5, "pixels": 15}
    tell(fabric(2), {"failure": True, "stop": False}, [], losses(2, 2.0, 4.0))
    assert [len(vector) for vector in sent] == [2 + 2 + step._ROOM] * 2
    assert sent[1].tolist() == [1.0, 0.0, 2.0, 4.0, *[0.0] * step._ROOM]


def test_before_the_first_step_there_are_no_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "all_reduce", lambda own: None)
    told = tell(fabric(2), FLAGS, [part(2, 10)], None)
    assert (told.flags, told.losses) == (FLAGS, {})
    assert list(told.normalizers) == ["positives", "pixels"]


def test_more_normalizers_than_there_is_room_for_are_refused() -> None:
    many = TrainingBatch([], None, [], {str(i): torch.tensor(1) for i in range(step._ROOM + 1)})
    with pytest.raises(ValueError, match="there are 33 normalizers, and at most 32 can be told"):
        tell(fabric(2), FLAGS, [many], None)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of one process, through which everything is sent as through one of several."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


class Network(nn.Module):
    """A network with running statistics and a constant, whose losses are those of a part of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.register_buffer("mean", torch.ones(3))

    def forward(self, batch: TrainingBatch, normalizers: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss_0": self.layers(torch.stack([*batch.images])).square().sum() / normalizers["pixels"]}


@pytest.mark.usefixtures("group")
def test_a_step_has_two_collectives_with_small_gradients() -> None:
    """One reduction for all that is told, and one for the gradients, however many parts there are."""
    network = Network()
    forward = DistributedDataParallel(network, **ddp(CPU)._ddp_kwargs)
    batches = [TrainingBatch([torch.rand(3, 8, 8)], None, [], {"pixels": torch.tensor(36.0)}) for _ in range(2)]
    last: LossesOfStep | None = None
    for _ in range(3):  # of which the first two arrange the gradients
        with counting() as counts:
            told = tell(fabric(2), FLAGS, batches, last)
            last = LossesOfStep(fabric(2), add_gradients_of(fabric(2), forward, batches, told.normalizers))
    sent = {name.split("::")[1]: count for (kind, name), count in counts.items() if kind == "collectives"}
    assert sent == {"allreduce_": 2}
    assert counts.of("waits") == 1
    gradient = next(network.parameters()).grad
    assert gradient is not None and gradient._is_view()  # of what is sent


@pytest.mark.usefixtures("group")
def test_buffers_are_sent_where_they_are_asked_for() -> None:
    with counting() as counts:
        take_buffers_of_first(fabric(2), Network())
        take_buffers_of_first(fabric(1), Network())
    assert counts["collectives", "c10d::broadcast_"] == 3  # not the count of batches, which every process knows
