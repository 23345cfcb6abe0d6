from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import BLENDMASK, PANOPTIC, RCNN, RT, deformable, r101, rcnn, zeros
from safetensors.torch import save_file
from torchvision.models import resnet18, resnet50

from panoptic_blend.checkpoints.architecture import Architecture, architecture_of
from panoptic_blend.checkpoints.description import lines, record
from panoptic_blend.checkpoints.fitting import shapes_of
from panoptic_blend.checkpoints.inspection import Inspection, inspect_weights, match_configs
from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.checkpoints.official import adapt, source_of
from panoptic_blend.config.experiment import load_config
from panoptic_blend.formats.categories import numbered_categories
from panoptic_blend.models.build import build_model
from panoptic_blend.models.shapes_only import shapes_only
from panoptic_blend.structures import PanopticBlendError


def architecture(shapes: dict[str, tuple[int, ...]]) -> Architecture:
    return architecture_of(shapes_of(adapt(zeros(shapes))))


P3_P7 = ("p3", "p4", "p5", "p6", "p7")


@pytest.mark.parametrize(
    ("config", "task", "depth", "every", "levels", "towers", "stuff"),
    [
        ("panoptic/blendmask_r50_3x", "panoptic", 50, 0, P3_P7, (0, 4), 53),
        ("panoptic/blendmask_r101_dcni3_5x", "panoptic", 101, 3, P3_P7, (0, 4), 53),
        ("instance/blendmask_r101_3x", "instance", 101, 0, P3_P7, (0, 4), None),
        ("instance/blendmask_550_r50_3x", "instance", 50, 0, P3_P7[:4], (3, 0), None),
        ("instance/blendmask_rt_r50_4x", "instance", 50, 0, P3_P7[:3], (3, 0), None),
    ],
)
def test_architectures_of_blendmask(
    config: str, task: str, depth: int, every: int, levels: tuple[str, ...], towers: tuple[int, int], stuff: int | None
) -> None:
    found = architecture(BLENDMASK[config])
    assert found.task == task
    assert found == Architecture(
        backbone="resnet",
        timm_name=None,
        depth=depth,
        deformable_every=every,
        instances="blendmask",
        has_semantic=stuff is not None,
        levels=levels,
        shared_convs=towers[0],
        num_convs=towers[1],
        num_bases=4,
        attention_size=14,
        kernel_size=None,
        num_things=80,
        num_stuff=stuff,
    )


def test_architecture_of_mask_rcnn() -> None:
    found = architecture(rcnn(PANOPTIC, things=7))
    assert (found.task, found.instances, found.num_things, found.num_stuff) == ("panoptic", "mask_rcnn", 7, 53)
    assert found.levels == ("p2", "p3", "p4", "p5", "p6")
    assert (found.num_bases, found.attention_size, found.shared_convs) == (None, None, None)


@pytest.mark.parametrize("depth", [14, 18, 34, 50, 101])
def test_depths(depth: int) -> None:
    with shapes_only():
        model = build_model(load_config("demo/shapes_r18", [f"model.backbone.depth={depth}"]))
    assert architecture_of(shapes_of(model.state_dict())).depth == depth


def test_architecture_of_a_backbone_and_of_nothing() -> None:
    with torch.device("meta"):
        found = architecture_of(shapes_of(adapt(resnet18().state_dict())))
    assert (found.task, found.depth, found.levels, found.num_things) == ("backbone", 18, (), None)
    assert architecture_of({"x": (1,)}).task == "unknown"


def test_the_shared_bottom_branch_and_merges_without_attention() -> None:
    with shapes_only():
        shared = build_model(load_config("panoptic/blendmask_r50_3x_shared"))
        fcis = build_model(load_config("demo/shapes_r18", ["model.blender={merge: assemble, attention_size: 2}"]))
    assert architecture_of(shapes_of(shared.state_dict())).num_bases == 4
    found = architecture_of(shapes_of(fcis.state_dict()))
    assert (found.num_bases, found.attention_size, found.kernel_size) == (4, None, None)


def test_kernels_are_no_attentions() -> None:
    with shapes_only():
        model = build_model(load_config("panoptic/kernelblend_r50_3x"))
    found = architecture_of(shapes_of(model.state_dict()))
    assert (found.num_bases, found.attention_size, found.kernel_size) == (8, None, 8 * 7 * 7 + 169)


@pytest.mark.parametrize("config", BLENDMASK | RCNN)
def test_the_best_match_is_the_config_of_the_longest_schedule(config: str) -> None:
    state = zeros((BLENDMASK | RCNN)[config])
    matches = match_configs(shapes_of(adapt(state)), source_of(state).rules)
    assert matches[0].name == config
    assert matches[0].difference == ""
    fits = [match.name for match in matches if not match.difference]
    assert all(name.startswith("ablation/") or name.replace("1x", "3x") == config for name in fits)
    assert matches[len(fits)].difference.endswith(" more)")


def test_other_numbers_of_classes_fit_too() -> None:
    shapes = {name: (4, *s[1:]) if "cls_logits" in name else s for name, s in PANOPTIC.items()}
    shapes = {name: (5, *s[1:]) if "seg_head.6" in name else s for name, s in shapes.items()}
    best = match_configs(shapes_of(adapt(zeros(shapes))))[0]
    assert (best.name, best.difference) == ("panoptic/blendmask_r50_3x", "")
    assert best.config.model.num_things == 4
    shapes["proposal_generator.fcos_head.cls_logits.bias"] = (1000,)
    assert match_configs(shapes_of(adapt(zeros(shapes)))) == []  # more than any config may have


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def demo() -> Any:
    torch.manual_seed(0)
    return build_model(load_config("demo/shapes_r18", ["model.num_things=3", "model.num_stuff=2"]))


def test_one_of_ours(demo: Any, tmp_path: Path) -> None:
    config = load_config("demo/shapes_r18", ["model.num_things=3", "model.num_stuff=2"])
    save_checkpoint(tmp_path / "w.safetensors", demo.state_dict(), config, numbered_categories(3, 2), {"pq": 0.25})
    found = inspect_weights(tmp_path / "w.safetensors")
    assert (found.source, found.architecture.task) == ("panoptic-blend", "panoptic")
    assert (found.has_config, found.has_categories, found.pq) == (True, True, 0.25)
    assert found.num_tensors == len(demo.state_dict())
    assert found.num_parameters == sum(parameter.numel() for parameter in demo.parameters())
    assert found.dtypes == ("float32",)
    assert found.fits == ("demo/shapes_r18",)
    assert "demo/coco_overfit_r18" in found.nearest
    text = lines(found)
    assert text.startswith("panoptic-blend, panoptic\n  backbone  ResNet-18\n  levels    P3-P5\n")
    for part in ("K = 4, M = 7", "3 things, 2 stuff", "config, categories, PQ 25.0", "fits      demo/shapes_r18"):
        assert part in text
    written = json.loads(json.dumps(record(found)))
    assert written["task"] == "panoptic"
    assert written["architecture"]["num_things"] == 3
    assert written["fits"] == ["demo/shapes_r18"]


def test_a_near_miss_is_named(demo: Any, tmp_path: Path) -> None:
    state = demo.state_dict()
    weight = state.pop("instances.top_layer.weight")
    torch.save(state, tmp_path / "w.pth")
    found = inspect_weights(tmp_path / "w.pth")
    assert found.fits == ()
    assert found.nearest["demo/shapes_r18"] == "instances.top_layer.weight is missing"
    assert (found.has_config, found.has_categories, found.pq) == (False, False, None)
    torch.save(state | {"instances.top_layer.weight": weight[:, :1]}, tmp_path / "w.pth")
    assert "has the shape 196 x 1 x 3 x 3 in the weights and 196 x 64 x 3 x 3 in the model" in lines(
        inspect_weights(tmp_path / "w.pth")
    )


def test_a_backbone_fits_every_config_that_has_it(tmp_path: Path) -> None:
    arrays = {name: value.half().numpy() for name, value in resnet18().state_dict().items()}
    (tmp_path / "R-18.pkl").write_bytes(pickle.dumps(arrays))
    found = inspect_weights(tmp_path / "R-18.pkl")
    assert (found.source, found.architecture.task, found.dtypes) == ("torchvision backbone", "backbone", ("float16",))
    lite = {"instance/blendmask_rt_lite", "panoptic/blendmask_lite"}
    assert set(found.fits) == {"demo/shapes_r18", "demo/kernelblend_r18", "demo/coco_overfit_r18", *lite}
    assert lines(found).startswith("torchvision backbone\n  backbone  ResNet-18\n  holds")


def test_a_detector_that_is_only_a_start(tmp_path: Path) -> None:
    state = {
        "backbone.body.conv1.weight": torch.zeros(64, 3, 7, 7),
        "backbone.body.layer1.0.conv1.weight": torch.ones(1),
    }
    state |= {"head.classification_head.cls_logits.bias": torch.zeros(91)}
    torch.save(state, tmp_path / "fcos.pth")
    found = inspect_weights(tmp_path / "fcos.pth")
    assert (found.source, found.architecture.num_things, found.fits, found.is_start) == (
        "torchvision detector",
        80,
        (),
        True,
    )
    said = lines(found)
    assert said.startswith("torchvision detector\n") and "K = " not in said
    assert "no config that comes with the library; training can start from it with --partial" in said


def test_a_long_list_is_cut_for_people() -> None:
    with torch.device("meta"):
        matches = match_configs(shapes_of(adapt(resnet50().state_dict())))
    fits = tuple(match.name for match in matches if not match.difference)
    assert len(fits) > 9
    made = architecture_of({"backbone.layer1.0.conv1.weight": (1,)})
    found = Inspection("x", made, 1, 1, ("float32",), False, False, None, fits, {})
    assert f"{fits[7]} and {len(fits) - 8} more" in lines(found)
    assert fits[8] not in lines(found)
    assert record(found)["fits"] == fits


def test_something_else(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "w.safetensors", {"pq": "high"})
    found = inspect_weights(tmp_path / "w.safetensors")
    assert (found.source, found.architecture.task, found.fits, found.nearest) == ("unknown", "unknown", (), {})
    assert found.pq is None
    assert "no config that comes with the library" in lines(found)
    with pytest.raises(PanopticBlendError, match="no such file"):
        inspect_weights(tmp_path / "none")


def test_deformable_models_in_words() -> None:
    with shapes_only():
        model = build_model(load_config("instance/blendmask_r101_dcni3_5x"))
    assert architecture_of(shapes_of(model.state_dict())) == architecture(BLENDMASK["instance/blendmask_r101_dcni3_5x"])
    assert architecture(deformable(r101(RT))).deformable_every == 3
