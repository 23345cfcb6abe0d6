"""What a training starts from: weights by name, by file or none, and which network they decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet34

from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.config.experiment import Config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.fit import start
from panoptic_blend.fit.start import Start, find_start
from panoptic_blend.fit.wanted import Wanted
from panoptic_blend.structures import PanopticBlendError

R18 = {"model.backbone.kind": "resnet", "model.backbone.depth": 18}
R14 = {**R18, "model.backbone.depth": 14}


def test_no_weights_and_imagenet() -> None:
    assert find_start(Wanted(weights="none"), "cpu").options == R14
    assert find_start(Wanted(weights="none", backbone="resnet18"), "cpu").options == R18
    assert find_start(Wanted(weights="none"), "cuda").options["model.backbone.depth"] == 50
    assert find_start(Wanted(backbone="resnet14"), "cuda").options == R14
    assert not find_start(Wanted(weights="none"), "cpu").is_trained
    named = find_start(Wanted(weights="imagenet", backbone="convnext_atto"), "cuda")
    assert named.options["model.backbone.name"] == "convnext_atto"
    assert (named.options["train.weights"], named.is_trained) == ("imagenet", True)


def test_imagenet_weights_that_do_not_exist_are_refused_before_the_plan(refused: Callable[..., str]) -> None:
    assert "no ImageNet weights of resnet14" in refused(
        find_start, Wanted(weights="imagenet", backbone="resnet14"), "cpu"
    )


def test_the_best_that_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = list[str]()
    monkeypatch.setattr(start, "fetch_weights", lambda known: fetched.append(known.name))
    assert find_start(Wanted(), "cpu").options == {**R18, "train.weights": "resnet18_imagenet_v1"}
    assert find_start(Wanted(), "cuda").options["model.backbone.depth"] == 50
    assert fetched[0] == "resnet18_imagenet_v1"

    def unreachable(known: object) -> None:
        raise PanopticBlendError("no network; try later")

    monkeypatch.setattr(start, "fetch_weights", unreachable)
    found = find_start(Wanted(), "cpu")
    assert (found.options, found.is_trained) == (R14, False)
    assert "no network" in found.reason


def test_a_file_decides_the_backbone_or_the_network(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    torch.save(resnet34().state_dict(), resnet := tmp_path / "resnet.pth")
    found = find_start(Wanted(weights=str(resnet)), "cpu")
    assert found.options == {**R18, "model.backbone.depth": 34, "train.weights": str(resnet)}
    of_timm = find_start(Wanted(weights=str(resnet), backbone="resnet34d"), "cpu")
    assert of_timm.options["model.backbone.pretrained"] == str(resnet)
    assert of_timm.options["train.weights"] == "imagenet"
    config = Config().changed(["model.fpn.channels=96"])
    categories = CocoPanoptic(generated, "val2017").categories
    save_checkpoint(ours := tmp_path / "ours.safetensors", {"x": torch.zeros(1)}, config, categories)
    whole = find_start(Wanted(weights=str(ours)), "cpu")
    assert whole.model and whole.model.fpn.channels == 96
    assert whole.options == {"train.weights": str(ours), "train.partial": True}
    torch.save({"unknown.weight": torch.zeros(1)}, unknown := tmp_path / "unknown.pth")
    assert "--backbone" in refused(find_start, Wanted(weights=str(unknown)), "cpu")
    assert isinstance(found, Start)
