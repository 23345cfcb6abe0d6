"""What is synchronized; `tests/runtime/test_processes.py` shows over real processes that it is."""

from __future__ import annotations

import pytest
from torch import nn

from panoptic_blend.models.sync_norm import SyncBatchNorm2d, SyncBatchNormAct2d, synchronize
from panoptic_blend.structures import PanopticBlendError


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)


def test_norms_that_learn_statistics_are_synchronized() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4).eval(), nn.GroupNorm(2, 4))
    before = model.state_dict()
    synchronize(model)
    assert [type(module) for module in model] == [nn.Conv2d, SyncBatchNorm2d, nn.BatchNorm2d, nn.GroupNorm]
    assert all(model.state_dict()[name].data_ptr() == value.data_ptr() for name, value in before.items())
    twin = model[1]
    synchronize(model)
    assert model[1] is twin


def test_norms_of_timm_keep_their_activation() -> None:
    layers = pytest.importorskip("timm.layers")
    model = nn.Sequential(layers.BatchNormAct2d(4, act_layer=nn.PReLU))
    names, activation = list(model.state_dict()), model[0].act
    synchronize(model)
    assert isinstance(model[0], SyncBatchNormAct2d)
    assert model[0].act is activation
    assert sorted(model.state_dict()) == sorted(names)


def test_a_norm_of_an_unknown_kind_is_refused() -> None:
    class Odd(nn.BatchNorm2d):
        pass

    with pytest.raises(PanopticBlendError, match=r"type Odd cannot be synchronized; set train\.sync_norm=false"):
        synchronize(nn.Sequential(Odd(4)))
