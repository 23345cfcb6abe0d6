from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from panoptic_blend.config.experiment import load_config
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.inference.forward import in_evaluation, run_network
from panoptic_blend.models.batching import widest_float
from panoptic_blend.runtime import precision
from panoptic_blend.runtime.precision import present_device, tf32_convolutions
from panoptic_blend.runtime.processes import launch
from panoptic_blend.structures import Cutout, Output, PanopticBlendError, PanopticMap


def test_a_block_says_whether_convolutions_may_round_and_leaves_it_as_it_was() -> None:
    assert torch.backends.cudnn.allow_tf32
    with tf32_convolutions(is_allowed=False):
        assert not torch.backends.cudnn.allow_tf32
        with pytest.raises(KeyError), tf32_convolutions(is_allowed=True):
            assert torch.backends.cudnn.allow_tf32
            raise KeyError
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_prediction_in_float32_never_rounds() -> None:
    class Network:
        pixel_mean, training = torch.zeros(3), False

        def eval(self) -> None: ...
        def train(self, mode: bool) -> None: ...
        def predict(self, images: Any, sizes: Any) -> Any:
            raise KeyError(torch.backends.cudnn.allow_tf32)

    network: Any = Network()
    with pytest.raises(KeyError, match="False"):
        run_network(network, torch.zeros(3, 8, 8), (8, 8), coco_categories(), "32-true")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "default_device", lambda: torch.device("cpu"))
    options = load_config("demo/shapes_r18", ["train.device=cuda"]).train
    with pytest.raises(PanopticBlendError, match=r"^train.device cuda: this machine has no GPU .*; use auto or cpu$"):
        launch(options)
    monkeypatch.setattr(precision, "default_device", lambda: torch.device("cuda"))
    assert present_device("auto", "--device").type == "cuda"
    assert present_device("cpu", "--device").type == "cpu"
    with pytest.raises(PanopticBlendError, match="--device mps: this machine has cuda instead"):
        present_device("mps", "--device")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "expandable_segments:True"),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, "max_split_size_mb:64"),
        ({"PYTORCH_CUDA_ALLOC_CONF": ""}, None),
    ],
)
def test_memory_of_a_gpu_is_allocated_in_segments_that_grow(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "")  # restored at the end, whatever is set meanwhile
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(precision, "default_device", lambda: torch.device("cuda"))
    with pytest.raises(PanopticBlendError, match="this machine has only"):
        launch(load_config("demo/shapes_r18", ["train.device=cuda", "train.devices=2"]).train)
    assert os.environ.get("PYTORCH_ALLOC_CONF") == expected


def test_only_a_model_in_training_is_switched() -> None:
    model: Any = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    with pytest.raises(KeyError), in_evaluation(model):
        assert not model[0].training
        raise KeyError
    assert model.training and model[0].training
    model.eval()
    model[0].train()
    with in_evaluation(model):
        assert model[0].training  # not touched
    assert not model.training


def test_masks_are_on_the_host_wherever_the_boxes_are() -> None:
    boxes, semantic = torch.empty(1, 4, device="meta"), torch.zeros(2, 3)
    cutouts = [Cutout(np.ones((1, 2), dtype=np.bool_), 1, 0)]
    output = Output(
        boxes, boxes[:, 0], boxes[:, 0], cutouts, semantic, PanopticMap(np.zeros((2, 3), np.int32), []), None, None
    )
    assert output.masks.tolist() == [[[False, False, False], [True, True, False]]]


def test_mps_has_no_float64() -> None:
    devices: Any = [SimpleNamespace(type=name) for name in ("cpu", "cuda", "mps")]
    assert [widest_float(device) for device in devices] == [torch.float64, torch.float64, torch.float32]
