"""What is synchronized; `tests/runtime/test_processes.py` shows over real processes that it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from panoptic_blend.models.head_norms import on_levels
from panoptic_blend.models.sync_norm import (
    CudaSyncBatchNorm2d,
    CudaSyncBatchNormAct2d,
    SyncBatchNorm2d,
    SyncBatchNormAct2d,
    synchronize,
)
from panoptic_blend.structures import PanopticBlendError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)


@pytest.mark.parametrize(("device", "expected"), [(CPU, SyncBatchNorm2d), (CUDA, CudaSyncBatchNorm2d)])
def test_norms_that_learn_statistics_are_synchronized(device: torch.device, expected: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4).eval(), nn.GroupNorm(2, 4))
    before = model.state_dict()
    synchronize(model, device)
    assert [type(module) for module in model] == [nn.Conv2d, expected, nn.BatchNorm2d, nn.GroupNorm]
    assert all(model.state_dict()[name].data_ptr() == value.data_ptr() for name, value in before.items())
    twin = model[1]
    synchronize(model, device)
    assert model[1] is twin


def test_on_cuda_the_norm_is_that_of_torch_and_sees_all_levels_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot run here; what follows a batch norm is applied to it too."""
    seen = []

    def forward(norm: nn.Module, x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return x

    monkeypatch.setattr(nn.SyncBatchNorm, "forward", forward)
    model = nn.Sequential(nn.BatchNorm2d(4))
    synchronize(model, CUDA)
    on_levels(model, [torch.zeros(2, 4, 3, 5), torch.zeros(2, 4, 1, 2)])
    assert seen == [(2, 4, 17, 1)]


@pytest.mark.parametrize(("device", "expected"), [(CPU, SyncBatchNormAct2d), (CUDA, CudaSyncBatchNormAct2d)])
def test_norms_of_timm_keep_their_activation(device: torch.device, expected: type[nn.Module]) -> None:
    layers = pytest.importorskip("timm.layers")
    model = nn.Sequential(layers.BatchNormAct2d(4, act_layer=nn.PReLU))
    names, activation = list(model.state_dict()), model[0].act
    synchronize(model, device)
    assert type(model[0]) is expected
    assert model[0].act is activation
    assert sorted(model.state_dict()) == sorted(names)
    with torch.no_grad():
        found = model.eval()(torch.full((1, 4, 1, 1), -8.0))
    torch.testing.assert_close(found, torch.full((1, 4, 1, 1), -2.0), rtol=1e-4, atol=0)  # a quarter, by the PReLU


def test_a_norm_of_an_unknown_kind_is_refused() -> None:
    class Odd(nn.BatchNorm2d):
        pass

    with pytest.raises(PanopticBlendError, match=r"type Odd cannot be synchronized; set train\.sync_norm=false"):
        synchronize(nn.Sequential(Odd(4)), CPU)
