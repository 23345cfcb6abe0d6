from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from foreign import BLENDMASK, PANOPTIC, RCNN, RES, rcnn, zeros
from torch import Tensor
from torchvision.models import resnet18, resnet50

from panoptic_blend.checkpoints.detectron2 import rename
from panoptic_blend.checkpoints.fitting import Layout, compare, layout_of, shapes_of
from panoptic_blend.checkpoints.official import adapt, source_of
from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.backbones.resnet import ResNet
from panoptic_blend.models.build import build_model
from panoptic_blend.models.shapes_only import shapes_only


def model_layout(config: str) -> Layout:
    with shapes_only():
        return layout_of(build_model(load_config(config)))


@pytest.mark.parametrize("config", BLENDMASK | RCNN)
def test_every_tensor_has_one_place(config: str) -> None:
    theirs = (BLENDMASK | RCNN)[config]
    found = adapt(zeros(theirs))
    assert compare(shapes_of(found), model_layout(config)).problems() == {}
    counters = 0 if source_of(zeros(theirs)).name != "mmdetection" else sum("num_batches" in name for name in theirs)
    assert len(found) == len(theirs) - counters + 3  # pixel statistics, and where the strides are


def test_wholly_different_names_are_left_alone() -> None:
    state = {"anything": torch.zeros(2)}
    assert adapt(state) == state
    assert adapt(state) is not state


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("backbone.bottom_up.stem.conv1.weight", "backbone.conv1.weight"),
        ("backbone.bottom_up.stem.conv1.norm.running_var", "backbone.bn1.running_var"),
        ("backbone.bottom_up.res2.0.shortcut.weight", "backbone.layer1.0.downsample.0.weight"),
        ("backbone.bottom_up.res5.2.conv3.norm.bias", "backbone.layer4.2.bn3.bias"),
        ("backbone.bottom_up.res4.21.conv2_offset.bias", "backbone.layer3.21.conv2.offset.bias"),
        ("backbone.fpn_lateral2.bias", "fpn.pyramid.inner_blocks.0.0.bias"),
        ("backbone.fpn_output5.weight", "fpn.pyramid.layer_blocks.3.0.weight"),
        ("backbone.top_block.p7.weight", "fpn.pyramid.extra_blocks.convs.1.weight"),
        ("proposal_generator.fcos_head.bbox_tower.9.weight", "instances.fcos.box_tower.9.weight"),
        ("proposal_generator.fcos_head.share_tower.4.bias", "instances.fcos.shared_tower.4.bias"),
        ("proposal_generator.fcos_head.ctrness.bias", "instances.fcos.centerness.bias"),
        ("basis_module.refine.2.1.running_mean", "instances.bottom.refine.2.1.running_mean"),
        ("basis_module.seg_head.6.weight", "instances.thing_semantic.6.weight"),
        ("panoptic_module.p5.4.norm.weight", "semantic.branches.p5.4.1.weight"),
        ("sem_seg_head.p5.4.weight", "semantic.branches.p5.4.0.weight"),
        ("top_layer.weight", "instances.top_layer.weight"),
        ("roi_heads.box_head.fc2.bias", "instances.roi_heads.box_head.fc7.bias"),
        ("roi_heads.mask_head.mask_fcn4.weight", "instances.roi_heads.mask_head.3.0.weight"),
        ("roi_heads.mask_head.deconv.weight", "instances.roi_heads.mask_predictor.conv5_mask.weight"),
    ],
)
def test_rename(theirs: str, ours: str) -> None:
    assert rename(theirs) == ours


def test_a_pyramid_without_p2_counts_from_its_first_level() -> None:
    assert rename("backbone.fpn_lateral3.bias", finest=3) == "fpn.pyramid.inner_blocks.0.0.bias"
    found = adapt(zeros(BLENDMASK["instance/blendmask_r50_3x"]))
    assert found["fpn.pyramid.inner_blocks.0.0.weight"].shape == (256, 512, 1, 1)
    assert found["fpn.pyramid.inner_blocks.2.0.weight"].shape == (256, 2048, 1, 1)


# --- what the backbone reads -----------------------------------------------------------------------------------------


def official(**more: Tensor) -> dict[str, Tensor]:
    """A piece of an official checkpoint."""
    stem = {f"{RES}stem.conv1.weight": torch.arange(6.0).reshape(1, 3, 2, 1), "basis_module.x": torch.zeros(1)}
    return stem | {name.replace("__", "."): value for name, value in more.items()}


def test_blue_green_red_becomes_red_green_blue() -> None:
    found = adapt(official())
    assert found["backbone.conv1.weight"].flatten().tolist() == [4, 5, 2, 3, 0, 1]
    assert found["pixel_mean"].tolist() == torch.tensor([123.675, 116.28, 103.53]).tolist()
    assert found["pixel_std"].tolist() == [1.0, 1.0, 1.0]
    assert found["backbone.stride_in_1x1"].item() is True


def test_a_normalized_picture_is_the_same_to_both() -> None:
    """The stem sees what the official one sees: BGR, mean off, in 0..255."""
    torch.manual_seed(0)
    stem, image = torch.randn(64, 3, 7, 7), torch.randint(0, 256, (3, 9, 9)).float()
    found = adapt({"basis_module.x": torch.zeros(1), f"{RES}stem.conv1.weight": stem})
    theirs = torch.conv2d((image.flip(0) - torch.tensor([103.53, 116.28, 123.675])[:, None, None])[None], stem)
    normalized = (image - found["pixel_mean"][:, None, None]) / found["pixel_std"][:, None, None]
    ours = torch.conv2d(normalized[None], found["backbone.conv1.weight"])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)


def test_pixel_statistics_of_the_file_are_taken() -> None:
    found = adapt(official(pixel_mean=torch.tensor([1.0, 2, 3])[:, None, None], pixel_std=torch.tensor([4.0, 5, 6])))
    assert found["pixel_mean"].tolist() == [3, 2, 1]
    assert found["pixel_std"].tolist() == [6, 5, 4]


def test_what_has_no_place_is_kept_so_that_loading_can_object() -> None:
    scale = "proposal_generator.fcos_head.scales.0.scale"
    assert scale in adapt(official() | {scale: torch.ones(1)})
    assert "backbone.conv1.weight" not in adapt({"basis_module.x": torch.zeros(1)})
    assert adapt({"basis_module.x": torch.zeros(1), f"{RES}stem.conv1.weight": torch.ones(3)})  # of any shape


def test_anchors_are_not_weights() -> None:
    state = zeros(rcnn(PANOPTIC))
    state["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)
    assert adapt(state).keys() == adapt(zeros(rcnn(PANOPTIC))).keys()


# --- Mask R-CNN ------------------------------------------------------------------------------------------------------


def test_the_background_moves_from_last_to_first() -> None:
    """Two classes: detectron2 has rows cat, dog, background; torchvision background, cat, dog, for boxes too."""
    head = "roi_heads.box_predictor."
    found = adapt(
        {
            f"{head}cls_score.weight": torch.tensor([[1.0], [2], [9]]),
            f"{head}cls_score.bias": torch.tensor([1.0, 2, 9]),
            f"{head}bbox_pred.weight": torch.arange(1.0, 9)[:, None],
            f"{head}bbox_pred.bias": torch.arange(1.0, 9),
            "roi_heads.mask_head.predictor.weight": torch.tensor([1.0, 2])[:, None, None, None],
            "roi_heads.mask_head.predictor.bias": torch.tensor([1.0, 2]),
        }
    )
    for kind in ("weight", "bias"):
        assert found[f"instances.{head}cls_score.{kind}"].flatten().tolist() == [9, 1, 2]
        assert found[f"instances.{head}bbox_pred.{kind}"].flatten().tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        logits = found[f"instances.roi_heads.mask_predictor.mask_fcn_logits.{kind}"]
        assert logits.flatten().tolist() == [0, 1, 2]
    assert found[f"instances.{head}bbox_pred.weight"].shape == (12, 1)
    assert logits.shape == (3,)


def test_mmdetection_counts_the_background_and_things_last() -> None:
    """Two things, two stuff classes: rows cat, dog, background; and grass, sky, "some thing"."""
    rows = torch.tensor([1.0, 2, 9])
    state = {
        "semantic_head.conv_upsample_layers.2.conv.1.gn.bias": rows,
        "semantic_head.conv_upsample_layers.0.conv.0.conv.weight": rows,
        "semantic_head.conv_logits.weight": rows[:, None, None, None],
        "semantic_head.conv_logits.bias": rows,
        "roi_head.bbox_head.fc_cls.bias": rows,
        "roi_head.bbox_head.fc_reg.bias": torch.arange(1.0, 9),
        "roi_head.mask_head.conv_logits.bias": rows[:2],
        "backbone.bn1.num_batches_tracked": torch.tensor(5),
        "unknown.weight": rows,
    }
    assert source_of(state).name == "mmdetection"
    found = {name: value.flatten().tolist() for name, value in adapt(state).items()}
    assert found == {
        "semantic.branches.p4.2.1.bias": [1, 2, 9],
        "semantic.branches.p2.0.0.weight": [1, 2, 9],
        "semantic.predictor.weight": [9, 1, 2],
        "semantic.predictor.bias": [9, 1, 2],
        "instances.roi_heads.box_predictor.cls_score.bias": [9, 1, 2],
        "instances.roi_heads.box_predictor.bbox_pred.bias": [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        "instances.roi_heads.mask_predictor.mask_fcn_logits.bias": [0, 1, 2],
        "unknown.weight": [1, 2, 9],
        "pixel_mean": torch.tensor([123.675, 116.28, 103.53]).tolist(),
        "pixel_std": torch.tensor([58.395, 57.12, 57.375]).tolist(),
        "backbone.stride_in_1x1": [False],
    }


# --- backbones -------------------------------------------------------------------------------------------------------


def theirs_of(name: str) -> str:
    """detectron2's name of a tensor of torchvision's ResNet."""
    name = re.sub(r"layer(\d)", lambda m: f"res{int(m[1]) + 1}", name)
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    name = re.sub(r"bn(\d)", r"conv\1.norm", name)
    return name if name.startswith("res") else f"stem.{name}"


def caffe2_of(name: str) -> str:
    """caffe2's name of a tensor of torchvision's ResNet."""
    parts = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    layer, _, kind = name.rpartition(".")
    is_norm = "bn" in layer or "downsample.1" in layer
    if layer in ("conv1", "bn1"):
        return f"res_conv1_bn_{parts[kind]}" if is_norm else "conv1_w"
    match = re.fullmatch(r"layer(\d)\.(\d+)\.(?:downsample\.\d|(?:conv|bn)(\d))", layer)
    assert match
    branch = f"branch2{' abc'[int(match[3])]}" if match[3] else "branch1"
    return f"res{int(match[1]) + 1}_{match[2]}_{branch}_{f'bn_{parts[kind]}' if is_norm else 'w'}"


@pytest.fixture(scope="module")
def resnet() -> dict[str, Tensor]:
    torch.manual_seed(3)
    state = {n: v for n, v in resnet50().state_dict().items() if not n.endswith("num_batches_tracked")}
    return {n: torch.rand_like(v) if "running" in n else v for n, v in state.items()}


def require_same(found: dict[str, Tensor], resnet: dict[str, Tensor], is_bgr: bool) -> None:
    assert found["backbone.stride_in_1x1"].item() is is_bgr
    std = [1.0, 1, 1] if is_bgr else [58.395, 57.12, 57.375]
    torch.testing.assert_close(found["pixel_std"], torch.tensor(std))
    torch.testing.assert_close(found["pixel_mean"], torch.tensor([123.675, 116.28, 103.53]))
    expected = {f"backbone.{n}": value for n, value in resnet.items() if not n.startswith("fc.")}
    if is_bgr:
        expected["backbone.conv1.weight"] = expected["backbone.conv1.weight"].flip(1)
    weights = {n: v for n, v in found.items() if not n.startswith("pixel_") and n != "backbone.stride_in_1x1"}
    assert weights.keys() == expected.keys() == {f"backbone.{n}" for n in own_names()}
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def own_names() -> Iterator[str]:
    with torch.device("meta"):
        yield from (name for name in ResNet(50).state_dict() if name != "stride_in_1x1")


@pytest.mark.parametrize("prefix", ["", RES])
@pytest.mark.parametrize("author", ["", "torchvision"])
def test_a_backbone_of_detectron2(resnet: dict[str, Tensor], prefix: str, author: str) -> None:
    theirs = {prefix + theirs_of(name): value for name, value in resnet.items()}
    assert f"{prefix}stem.fc.weight" in theirs  # as its conversion of torchvision's names it
    theirs |= {f"{prefix}fc.bias": torch.zeros(2)}
    assert source_of(theirs).name == "detectron2 backbone"
    require_same(adapt(theirs, author), resnet, is_bgr=not author)


LONG = {"_bn_s": "_bn_gamma", "_bn_b": "_bn_beta", "_rm": "_running_mean", "_riv": "_running_var"}


@pytest.mark.parametrize("suffixes", ["short", "long"])
def test_a_backbone_of_caffe2(resnet: dict[str, Tensor], suffixes: str) -> None:
    theirs = {caffe2_of(name): value for name, value in resnet.items() if not name.startswith("fc.")}
    if suffixes == "long":
        pattern = re.compile("|".join(f"{short}$" for short in LONG))
        theirs = {pattern.sub(lambda m: LONG[m[0]], name): value for name, value in theirs.items()}
        assert {"res_conv1_bn_gamma", "res2_0_branch1_bn_running_var"} <= theirs.keys()
    unused = ("fc1000_w", "fc1000_b", "pred_w", "conv1_b", "res2_0_branch2a_b", "res2_0_branch1_b", "conv1_w_momentum")
    theirs |= {name: torch.ones(1) for name in unused}
    assert source_of(theirs).name == "caffe2 backbone"
    require_same(adapt(theirs), resnet, is_bgr=True)


def test_merged_normalization_changes_nothing(resnet: dict[str, Tensor]) -> None:
    """Without statistics the file means y = s * x + b."""
    theirs = {caffe2_of(n): v for n, v in resnet.items() if not n.startswith("fc.") and "running" not in n}
    found = adapt(theirs)
    backbone = ResNet(50)
    backbone.load_state_dict({n.removeprefix("backbone."): v for n, v in found.items() if n.startswith("backbone.")})
    x, norm = torch.randn(1, 64, 2, 2), "layer1.0.bn1."
    expected = resnet[f"{norm}weight"][:, None, None] * x + resnet[f"{norm}bias"][:, None, None]
    torch.testing.assert_close(backbone.layer1[0].bn1(x), expected)
    assert not [name for name in found if "running" in name and "conv" in name]


def test_torchvision_backbone(resnet: dict[str, Tensor]) -> None:
    assert source_of(resnet).name == "torchvision backbone"
    require_same(adapt(resnet), resnet, is_bgr=False)


def test_kinds_are_recognized_by_their_keys() -> None:
    with torch.device("meta"):
        tv18 = resnet18().state_dict()
    kinds = {
        "official BlendMask": zeros(PANOPTIC),
        "detectron2 detector": zeros(rcnn(PANOPTIC)),
        "torchvision backbone": tv18,
        "panoptic-blend": {"backbone.conv1.weight": torch.zeros(1), "anything": torch.zeros(2)},
    }
    assert {name: source_of(state).name for name, state in kinds.items()} == {name: name for name in kinds}
