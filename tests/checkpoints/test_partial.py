"""Weights that fit in part, and backbones in deformable models."""

from __future__ import annotations

import pytest
import torch
from test_io import official, refused, state_of, tiny
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from panoptic_blend.checkpoints.fitting import layers, with_classes_by_name
from panoptic_blend.checkpoints.io import load_weights
from panoptic_blend.formats.categories import Categories
from panoptic_blend.models.class_rows import ClassRows
from panoptic_blend.structures import Category, PanopticBlendError


def refused_in_part(model: nn.Module, source: dict[str, Tensor]) -> str:
    before = state_of(model)
    with pytest.raises(PanopticBlendError) as error:
        load_weights(model, source, partial=True)
    assert all(torch.equal(value, before[name]) for name, value in state_of(model).items())
    assert "\n" not in str(error.value)
    return str(error.value)


def require_loaded(model: nn.Module, source: dict[str, Tensor], but: list[str]) -> None:
    """Every tensor of the model is the source's, apart from ``but``, which must differ from it or be its own."""
    for name, value in state_of(model).items():
        assert (name in but) or torch.equal(value, source[name]), name


def test_a_head_of_other_classes_starts_anew() -> None:
    source, model = state_of(tiny(1)), tiny(2, "model.num_things=3")
    fresh = state_of(model)
    kept = load_weights(model, source, partial=True)
    layers = ("instances.fcos.class_logits", "instances.thing_semantic.6")
    assert kept == [f"{layer}.{kind}" for layer in layers for kind in ("bias", "weight")]
    assert all(torch.equal(state_of(model)[name], fresh[name]) for name in kept)
    require_loaded(model, source, but=kept)


def test_other_stuff_classes_start_anew() -> None:
    source, model = state_of(tiny(1)), tiny(2, "model.num_stuff=4")
    assert load_weights(model, source, partial=True) == ["semantic.predictor.bias", "semantic.predictor.weight"]


def categories(things: str, stuff: str) -> Categories:
    names = [*things.split(), *stuff.split()]
    return Categories(Category(i, name, i < len(things.split())) for i, name in enumerate(names))


def rows_of(state: dict[str, Tensor], source: dict[str, Tensor], layer: str) -> list[int | None]:
    """For each row of a layer, the equal row of the same layer in the source."""
    name, bias = f"{layer}.weight", f"{layer}.bias"
    found: list[int | None] = []
    for row, value in zip(state[name], state[bias], strict=True):
        equal = [torch.equal(row, other) for other in source[name]]
        found.append(equal.index(True) if any(equal) else None)
        assert found[-1] is None or source[bias][found[-1]] == value
    return found


def test_rows_follow_the_names_of_classes() -> None:
    """Row 0 is for no thing in the auxiliary head, and for some thing in the semantic one."""
    source, model = state_of(tiny(1, "model.num_stuff=2")), tiny(2, "model.num_things=3", "model.num_stuff=4")
    known = categories("cat dog", "sky sea")
    adapted, names = with_classes_by_name(source, known, model, categories("fox dog cat", "sea dog a sky"))
    assert names == {"cat", "dog", "sky", "sea"}
    assert rows_of(adapted, source, "instances.fcos.class_logits") == [None, 1, 0]
    assert rows_of(adapted, source, "instances.thing_semantic.6") == [0, None, 2, 1]
    assert rows_of(adapted, source, "semantic.predictor") == [0, 2, None, None, 1]
    assert load_weights(model, adapted, partial=True) == []
    adapted, names = with_classes_by_name(source, known, model, categories("x y z", "sky u v w"))
    assert names == {"sky"}
    assert not any("class_logits" in name for name in adapted)


def test_boxes_have_four_rows_for_each_class_after_those_of_the_background() -> None:
    model = nn.Module()
    model.class_layers = {"layer": ClassRows("things", shared=1, each=4)}  # type: ignore[assignment]
    model.layer = nn.Linear(1, 12)
    source = {"layer.weight": torch.arange(16.0)[:, None], "layer.bias": torch.arange(16.0)}
    adapted, _ = with_classes_by_name(source, categories("a b c", "s"), model, categories("c x", "s"))
    assert adapted["layer.weight"][:8, 0].tolist() == [0, 1, 2, 3, 12, 13, 14, 15]
    assert torch.equal(adapted["layer.bias"][8:], model.state_dict()["layer.bias"][8:])


def test_what_fits_wholly_leaves_nothing() -> None:
    source, model = state_of(tiny(1)), tiny(2)
    assert load_weights(model, source, partial=True) == []
    require_loaded(model, source, but=[])
    assert load_weights(tiny(2), source) == []


def test_a_backbone_alone_leaves_nothing_to_report() -> None:
    assert load_weights(tiny(), resnet18().state_dict(), partial=True) == []


def test_a_panoptic_checkpoint_in_an_instance_model() -> None:
    """Its pyramid starts at C2; the instance model's, which needs no P2, at C3."""
    source, model = state_of(tiny(1)), tiny(2, "model.semantic.enabled=false")
    message = refused(model, source)
    assert "its semantic head has no place in an instance model; use a panoptic config" in message
    kept = load_weights(model, source, partial=True)
    found = state_of(model)
    assert torch.equal(found["fpn.pyramid.inner_blocks.0.0.weight"], source["fpn.pyramid.inner_blocks.1.0.weight"])
    assert torch.equal(found["fpn.pyramid.layer_blocks.2.0.bias"], source["fpn.pyramid.layer_blocks.3.0.bias"])
    assert torch.equal(found["instances.top_layer.weight"], source["instances.top_layer.weight"])
    finer = {f"fpn.pyramid.{kind}_blocks.finer.0.0.{x}" for kind in ("inner", "layer") for x in ("weight", "bias")}
    assert set(kept) == finer | {name for name in source if name.startswith("semantic.")}


def test_an_instance_checkpoint_in_a_panoptic_model() -> None:
    source, model = state_of(tiny(1, "model.semantic.enabled=false")), tiny(2)
    assert "it has no semantic head for a panoptic model; use an instance config, or train" in refused(model, source)
    fresh = state_of(model)
    kept = load_weights(model, source, partial=True)
    found = state_of(model)
    assert torch.equal(found["fpn.pyramid.inner_blocks.1.0.weight"], source["fpn.pyramid.inner_blocks.0.0.weight"])
    assert all(torch.equal(found[name], fresh[name]) for name in kept)
    level = {f"fpn.pyramid.{kind}_blocks.0.0.{x}" for kind in ("inner", "layer") for x in ("weight", "bias")}
    assert set(kept) == level | {name for name in fresh if name.startswith("semantic.")}


def test_another_width_is_another_network() -> None:
    message = refused_in_part(tiny(2, "model.fpn.channels=64"), state_of(tiny(1)))
    assert (
        "not even in part: fpn.pyramid.extra_blocks.convs.0.bias has the shape 32 in the weights and 64 in the model;"
        in message
    )
    message = refused_in_part(tiny(2, "model.blender.attention_size=5"), state_of(tiny(1)))
    assert "instances.top_layer.bias has the shape 64 in the weights and 100 in the model" in message


def test_a_class_head_of_another_width_too() -> None:
    source = state_of(tiny(1)) | {"semantic.predictor.weight": torch.zeros(7, 9, 1, 1)}
    assert "semantic.predictor.weight has the shape 7 x 9 x 1 x 1 in the weights" in refused_in_part(tiny(2), source)


def test_another_depth_is_another_network() -> None:
    message = refused_in_part(tiny(2, "model.backbone.depth=34"), state_of(tiny(1)))
    assert "backbone.layer1.2.bn1.bias is missing" in message
    message = refused_in_part(tiny(2), state_of(tiny(1, "model.backbone.depth=34")))
    assert "backbone.layer1.2.bn1.bias is unknown" in message


@pytest.mark.parametrize(
    "source", [{"x": torch.zeros(2)}, {"pixel_mean": torch.zeros(3)}, {"head.weight": torch.ones(1)}]
)
def test_nothing_at_all(source: dict[str, Tensor]) -> None:
    assert "not even in part" in refused_in_part(tiny(), source)


def test_fine_tuning_official_weights_in_a_few_words() -> None:
    kept = load_weights(tiny(2, "model.num_things=7", "model.num_stuff=5"), official(state_of(tiny(1))), partial=True)
    others = state_of(tiny()).keys() - set(kept)
    expected = "instances.fcos.class_logits, instances.thing_semantic.6, semantic.predictor (6 tensors)"
    assert layers(kept, others) == expected
    assert layers(["a.b.weight"]) == layers(["a.b.weight"], ["c.d"]) == "a (1 tensor)"
    assert layers(["a.b.weight", "a.c"], ["a.d"]) == "a.b, a.c (2 tensors)"
    many = [f"{name}.weight" for name in "abcdefghijklmn"]
    assert layers(many) == "a, b, c, d, e, f, g, h, i, j, k, l and 2 more (14 tensors)"


# --- deformable models -----------------------------------------------------------------------------------------------

DEFORMABLE = ["model.backbone.depth=50", "model.backbone.deformable_every=3"]


def test_a_backbone_alone_leaves_offsets_at_zero() -> None:
    theirs, model = resnet50().state_dict(), tiny(0, *DEFORMABLE)
    assert load_weights(model, theirs) == []
    found = state_of(model)
    assert torch.equal(found["backbone.layer3.3.conv2.weight"], theirs["layer3.3.conv2.weight"])
    offsets = [name for name in found if ".conv2.offset." in name]
    assert len(offsets) == 2 * (2 + 2 + 1)
    assert not any(found[name].any() for name in offsets)


def test_offsets_are_loaded_and_must_be_there() -> None:
    source = state_of(tiny(1, *DEFORMABLE))
    source = {name: torch.ones_like(x) if ".offset." in name else x for name, x in source.items()}
    model = tiny(2, *DEFORMABLE)
    load_weights(model, source)
    require_loaded(model, source, but=[])
    plain = {name: x for name, x in source.items() if ".offset." not in name}
    assert "backbone.layer2.0.conv2.offset.bias is missing (and 9 more)" in refused(tiny(2, *DEFORMABLE), plain)
    kept = load_weights(tiny(2, *DEFORMABLE), plain, partial=True)
    assert len(kept) == 10
    message = refused_in_part(tiny(2, "model.backbone.depth=50"), source)
    assert "backbone.layer2.0.conv2.offset.bias is unknown" in message
