"""Networks of timm as backbones, with random weights."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from branches import backbone_of
from torch import nn

from panoptic_blend.checkpoints.description import lines
from panoptic_blend.checkpoints.inspection import inspect_weights
from panoptic_blend.checkpoints.io import load_weights, save_checkpoint
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.formats.categories import numbered_categories
from panoptic_blend.inference.predictor import load
from panoptic_blend.models.backbones.timm import TimmBackbone
from panoptic_blend.models.build import build_model
from panoptic_blend.structures import PanopticBlendError

pytest.importorskip("timm")

NETWORKS = {
    "convnext_tiny": (96, 192, 384, 768),
    "swin_tiny_patch4_window7_224": (96, 192, 384, 768),
    "efficientnet_lite0": (24, 40, 112, 320),
    "mobilenetv4_conv_small": (32, 64, 96, 960),
    "regnetx_002": (24, 56, 152, 368),
}
"""The networks that every test must pass, with the channels that their papers give for strides 4 to 32."""

SMALL = (
    "test_convnext",
    "swin_tiny_patch4_window7_224",
    "efficientnet_lite0",
    "mobilenetv4_conv_small_035",
    "regnetx_002",
)
"""The same kinds of networks, where there is one in a smaller size."""


def config(name: str, *changes: str) -> Config:
    options = [f"model.backbone={{kind: timm, name: {name}, depth: 50}}", "model.num_things=3", "model.num_stuff=2"]
    options += ["model.fpn.channels=32", "model.fcos.num_convs=1", "model.bottom.channels=32"]
    return load_config("demo/shapes_r18", [*options, "model.semantic.channels=32", *changes])


def batch() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Two images of different sizes, one thing in each."""
    images = [torch.randint(256, (3, 64, width), dtype=torch.uint8) for width in (64, 90)]
    targets = []
    for image in images:
        mask = torch.zeros(1, *image.shape[-2:], dtype=torch.bool)
        mask[:, 8:40, 8:40] = True
        semantic = torch.where(mask[0], 0, 1)
        boxes = torch.tensor([[8.0, 8, 40, 40]])
        targets.append({"boxes": boxes, "labels": torch.tensor([1]), "masks": mask, "semantic": semantic})
    return images, targets


# --- features --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_features_of_any_size_and_gradients_of_what_is_trained(name: str) -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone(name)
    assert backbone.channels == dict(zip(("c2", "c3", "c4", "c5"), NETWORKS[name], strict=True))
    features = backbone(torch.randn(1, 3, 96, 160))
    sizes = {stage: tuple(x.shape) for stage, x in features.items()}
    assert sizes == {
        stage: (1, channels, 96 // stride, 160 // stride)
        for (stage, channels), stride in zip(backbone.channels.items(), (4, 8, 16, 32), strict=True)
    }
    sum(x.square().mean() for x in features.values()).backward()
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {n for n, p in backbone.named_parameters() if p.grad is not None}
    assert 0 < len(trained) < len(list(backbone.parameters()))


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("test_convnext", ("net.stem_1", "net.stages_0", "net.stages_1", "net.stages_2", "net.stages_3")),
        ("efficientnet_lite0", ("net.blocks.0", "net.blocks.1", "net.blocks.2", "net.blocks.4", "net.blocks.6")),
        ("mobilenetv4_conv_small_035", ("net.act1", "net.blocks.0", "net.blocks.1", "net.blocks.2", "net.blocks.4")),
        ("regnetx_002", ("net.stem", "net.s1", "net.s2", "net.s3", "net.s4")),
    ],
)
def test_frozen_stages_end_with_their_features(name: str, ends: tuple[str, ...]) -> None:
    """What is frozen is a beginning of the network: a feature needs a gradient where one before it does."""
    for count, end in enumerate(ends, start=1):
        backbone = TimmBackbone(name, "bn", count)
        trained = [n for n, p in backbone.named_parameters() if p.requires_grad]
        frozen = [n for n, p in backbone.named_parameters() if not p.requires_grad]
        assert frozen and [*frozen, *trained] == [n for n, _ in backbone.named_parameters()]
        assert not any(n.startswith(f"{end}.") for n in trained)
        features = backbone(torch.randn(2, 3, 64, 64))
        assert [x.requires_grad for x in features.values()] == [False] * (count - 1) + [True] * (5 - count)


def test_frozen_norms_keep_their_statistics_and_trained_ones_do_not() -> None:
    for norm, moves in (("frozen_bn", False), ("bn", True)):
        torch.manual_seed(0)
        backbone = TimmBackbone("test_efficientnet", norm, 1, drop_path=0.1).train()  # type: ignore[arg-type]
        before = copy.deepcopy(backbone.state_dict())
        backbone(torch.randn(2, 3, 64, 64))
        for name, value in backbone.state_dict().items():
            if name.endswith("running_mean"):
                is_frozen = not moves or name.startswith(("net.bn1", "net.blocks.0"))
                assert torch.equal(value, before[name]) == is_frozen, name
        norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
        assert any(p.requires_grad for m in norms for p in m.parameters()) == moves
        assert not any(m.training for m in backbone.eval().modules())


def test_drop_path_skips_blocks_in_training_alone() -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone("test_convnext", "bn", 0, drop_path=0.5)
    images = torch.randn(1, 3, 64, 64)
    first, second = backbone(images)["c5"], backbone(images)["c5"]
    assert not torch.equal(first, second)
    backbone.eval()
    assert torch.equal(backbone(images)["c5"], backbone(images)["c5"])
    fixed = TimmBackbone("swin_tiny_patch4_window7_224", "bn", 0)  # which timm would let drop by itself
    assert not any(getattr(m, "drop_prob", 0) for m in fixed.modules())


def test_pixels_are_those_of_the_weights() -> None:
    model = build_model(config("test_convnext"))
    assert model.pixel_mean.tolist() == [127.5] * 3
    assert model.pixel_std.tolist() == [127.5] * 3
    pixels = TimmBackbone("test_efficientnet").pixels
    assert pixels.mean == pytest.approx((123.675, 116.28, 103.53))
    assert pixels.std == pytest.approx((58.395, 57.12, 57.375))


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("convnxt_tiny", {}, "has no network 'convnxt_tiny'; did you mean convnext_tiny?"),
        ("convnext_tiny.wrong", {}, "Invalid pretrained tag (wrong) for convnext_tiny; choose another network"),
        ("vit_tiny_patch16_224", {}, "features at strides 16, 16, 16; choose a network that has them at 4, 8, 16"),
        ("maxvit_tiny_tf_224", {}, "cannot read 64 x 96 pixels (height (16) must be divisible by window (7)); choose"),
        ("dla34", {"drop_path": 0.1}, "drop_path=0.1 has no effect on dla34; leave it out"),
        ("hrnet_w18_small", {}, "hrnet_w18_small does not separate its stages; set frozen_stages=0"),
    ],
)
def test_networks_that_cannot_do_it(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PanopticBlendError) as error:
        TimmBackbone(name, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panoptic_blend.extras.find_spec", lambda package: None)
    with pytest.raises(PanopticBlendError, match=r'pip install "panoptic-blend\[timm\]", or set model.backbone.kind'):
        TimmBackbone("convnext_tiny")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("kind: timm", "kind timm needs the name of a network; give one, such as name=convnext_tiny"),
        ("kind: timm, name: x, norm: gn", "norm=gn needs kind resnet"),
        (
            "kind: timm, name: x, depth: 18",
            "depth=18 has no effect with kind timm; leave it out, or reset what a base",
        ),
        ("kind: timm, name: x, deformable_every: 3", "deformable_every=3 has no effect with kind timm"),
        ("name: convnext_tiny", "by model.backbone.name=null"),
        ("drop_path: 0.1", "drop_path=0.1 has no effect with kind resnet"),
        ("pretrained: w.pth", "pretrained=w.pth has no effect with kind resnet"),
    ],
)
def test_options_without_effect_are_refused(options: str, message: str) -> None:
    with pytest.raises(PanopticBlendError, match=r"`model\.backbone`: ") as error:
        Config().changed([f"model.backbone={{{options}}}"])
    assert message in str(error.value)


# --- whole models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_a_model_trains_and_its_checkpoint_predicts_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = config(name, "model.fusion.confidence=0", "test.short_side=64", "test.long_side=96")
    model = build_model(options)
    images, targets = batch()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = model(images, targets)
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    before = {n: p.detach().clone() for n, p in backbone_of(model).named_parameters()}
    optimizer.step()
    moved = {n for n, p in backbone_of(model).named_parameters() if not torch.equal(p, before[n])}
    trained = {n for n, p in backbone_of(model).named_parameters() if p.requires_grad}
    assert moved and moved <= trained
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, model.state_dict(), options, numbered_categories(3, 2))
    predictor = load(path)
    image = images[0].permute(1, 2, 0).numpy()
    found = predictor.output(image)
    with torch.no_grad():
        [expected] = model.eval()([predictor.prepare(image)])
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
    assert found.semantic is not None and expected.semantic is not None
    assert (found.semantic == expected.semantic).float().mean() > 0.99


def test_inspection_names_the_network(tmp_path: Path) -> None:
    options, path = config("test_convnext"), tmp_path / "w.safetensors"
    model = build_model(options)
    save_checkpoint(path, model.state_dict(), options, numbered_categories(3, 2))
    found = inspect_weights(path)
    made = found.architecture
    assert (made.backbone, made.timm_name, made.depth, made.task) == ("timm", "test_convnext", None, "panoptic")
    assert found.num_parameters == sum(p.numel() for p in model.parameters())
    assert "\n  backbone  test_convnext of timm\n" in lines(found)
    torch.save({n: x for n, x in model.state_dict().items() if n.startswith("backbone.")}, tmp_path / "w.pth")
    found = inspect_weights(tmp_path / "w.pth")
    assert (found.architecture.task, found.architecture.timm_name) == ("backbone", None)
    assert "\n  backbone  a network of timm, named in its config\n" in lines(found)


def test_another_network_is_told_by_its_names(tmp_path: Path) -> None:
    state = build_model(config("test_convnext")).state_dict()
    with pytest.raises(PanopticBlendError, match="not of this architecture: "):
        load_weights(build_model(config("test_efficientnet")), state)


# --- pretrained weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"swin_tiny_patch4_window7_224"}))
def test_a_file_of_a_classifier_is_where_imagenet_starts(name: str, tmp_path: Path) -> None:
    import timm

    torch.manual_seed(1)
    classifier = timm.create_model(name)
    theirs = classifier.state_dict()
    torch.save(theirs, tmp_path / "classifier.pth")
    model = build_model(config(name, f"model.backbone.pretrained={tmp_path / 'classifier.pth'}"))
    heads = {n: x.clone() for n, x in model.state_dict().items() if not n.startswith("backbone.")}
    assert load_weights(model, "imagenet") == []
    assert all(torch.equal(model.state_dict()[n], x) for n, x in heads.items())
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        found = backbone_of(model.eval())(images)
        intermediates = classifier.eval().forward_intermediates(images, intermediates_only=True)
    expected = {x.shape[-1]: x for x in intermediates}  # by size, the last of each
    for stage, side in (("c2", 56), ("c3", 28), ("c4", 14)):
        torch.testing.assert_close(found[stage], expected[side])


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "w.pth")
    model = build_model(config("test_convnext", f"model.backbone.pretrained={tmp_path / 'w.pth'}"))
    with pytest.raises(PanopticBlendError, match=r"w\.pth: not of this architecture: .* is missing"):
        load_weights(model, "imagenet")


def test_weights_that_nobody_has_or_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(config("test_convnext", "model.backbone.pretrained=false"))
    with pytest.raises(
        PanopticBlendError, match="pretrained=false leaves test_convnext without weights; set it to true"
    ):
        load_weights(model, "imagenet")
    with pytest.raises(PanopticBlendError, match="timm has no weights of resnet18_made_up"):
        backbone = TimmBackbone("test_convnext")
        backbone.name, backbone.net.pretrained_cfg = "resnet18_made_up", {}
        backbone.pretrained_weights()

    model = build_model(config("test_convnext"))

    def unreachable(name: str, pretrained: bool, **options: Any) -> None:
        assert pretrained
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", unreachable)
    remedy = r"download it elsewhere and give its path as model\.backbone\.pretrained"
    with pytest.raises(PanopticBlendError, match=rf"test_convnext cannot be fetched \(.*no route to host\); {remedy}"):
        load_weights(model, "imagenet")


def test_timms_own_download(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    theirs = timm.create_model("test_efficientnet").state_dict()
    model = build_model(config("test_efficientnet"))
    with_weights = partial(timm.create_model, pretrained_cfg_overlay={"state_dict": dict(theirs)})
    monkeypatch.setattr("timm.create_model", with_weights)
    load_weights(model, "imagenet")
    own = backbone_of(model).state_dict()
    assert torch.equal(own["net.conv_stem.weight"], theirs["conv_stem.weight"])
    assert all(torch.equal(value, theirs[name.removeprefix("net.")]) for name, value in own.items())
