"""Weights as trainers and wrappers save them: the same model comes out, from files and from memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from panoptic_blend.checkpoints.io import load_weights
from panoptic_blend.checkpoints.wrappers import state_dict_in, without_wrappers
from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import PanopticBlendError

OPTIONS = ["model.num_things=2", "model.num_stuff=1", "model.fpn.channels=32", "model.bottom.channels=16"]


def model(seed: int) -> PanopticBlend:
    torch.manual_seed(seed)
    return build_model(load_config("demo/shapes_r18", OPTIONS))


STATE = model(0).state_dict()


def under(prefix: str) -> dict[str, Any]:
    return {prefix + name: value for name, value in STATE.items()}


COMPILED_PART = {name.replace("backbone.", "backbone._orig_mod."): value for name, value in STATE.items()}
OTHER = {name: torch.zeros_like(value) for name, value in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        *(
            under(prefix)
            for prefix in ("module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.model.")
        ),
        under("detector.net."),
        {"model": under("module._orig_mod."), "epoch": 3},
        COMPILED_PART,
        {"model": {f"_forward_module._fsdp_wrapped_module.{k}": v for k, v in COMPILED_PART.items()}},
        {"state_dict": {**under("model."), "criterion.weight": torch.ones(4), "metric._extra_state": None}, "epoch": 3},
        {**under("module."), "n_averaged": torch.tensor(5)},
        {"model_ema": STATE, "epoch": 3},
        {"ema": {"module": STATE, "updates": 7}},
        {"ema_state_dict": under("module."), "optimizer": {"state": {}}},
        {"state_dict_ema": STATE, "arch": "x"},
        {"shadow": STATE},
        {"module": STATE, "ds_config": {}},
        {"model": STATE, "model_ema": OTHER},
        {**under("model."), **{f"model_ema.module.{name}": value for name, value in OTHER.items()}},
        {**under("student."), **{f"teacher.{name}": value for name, value in OTHER.items()}},
        {"model": {"depth": 50}, "state_dict": STATE},
        {name: value.numpy() for name, value in STATE.items()},
    ],
)
def test_a_wrapped_model_is_found(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    for source in (content, tmp_path / "weights.pth"):
        network = model(1)
        assert load_weights(network, source) == []
        assert all(torch.equal(value, STATE[name]) for name, value in network.state_dict().items())


def test_safetensors_of_a_compiled_model(tmp_path: Path) -> None:
    save_file(under("_orig_mod."), tmp_path / "weights.safetensors")
    network = model(1)
    load_weights(network, tmp_path / "weights.safetensors")
    assert torch.equal(network.pixel_mean, STATE["pixel_mean"])
    assert torch.equal(network.state_dict()["backbone.conv1.weight"], STATE["backbone.conv1.weight"])


def test_names_that_are_no_wrappers() -> None:
    """A backbone alone, and names of other projects, which begin with ``backbone`` themselves."""
    for names in (
        ["conv1.weight", "layer1.0.conv1.weight"],
        ["backbone.bottom_up.x", "proposal_generator.backbone.y"],
        [],
    ):
        state = dict.fromkeys(names, 0)
        assert without_wrappers(state) == state
        assert without_wrappers({f"module.model.{name}": 0 for name in names}) == state


def test_a_content_that_contains_itself() -> None:
    content: dict[str, Any] = {}
    content.update(model=content, state_dict=content, ema=content)
    assert state_dict_in(content, lambda value: isinstance(value, Tensor)) is content
    with pytest.raises(PanopticBlendError, match="state dict: holds no weights"):
        load_weights(nn.Linear(1, 1), content)


def test_advice_for_a_network_of_another_kind() -> None:
    with pytest.raises(PanopticBlendError) as error:
        load_weights(model(0), {"encoder.weight": torch.ones(3), "decoder.weight": torch.ones(3)})
    assert str(error.value).endswith(
        "; it has none of the model's names (but encoder.weight, decoder.weight), so give the weights of such a model"
    )
