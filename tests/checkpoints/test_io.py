from __future__ import annotations

import json
import os
import pickle
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from branches import backbone_of, branch_of
from foreign import PANOPTIC
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18, resnet34

from panoptic_blend.checkpoints.detectron2 import rename
from panoptic_blend.checkpoints.inspection import inspect_weights
from panoptic_blend.checkpoints.io import load_weights, read_checkpoint, require_modest, save_checkpoint
from panoptic_blend.checkpoints.states import read_state
from panoptic_blend.config.experiment import Config
from panoptic_blend.download.weights_cache import OFFLINE
from panoptic_blend.formats.categories import Categories
from panoptic_blend.inference.predictor import load
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Category, PanopticBlendError

TINY = [
    "model.num_things=2",
    "model.num_stuff=1",
    "model.backbone.depth=18",
    "model.fpn.channels=32",
    "model.fcos.num_convs=1",
    "model.bottom.channels=16",
    "model.blender.attention_size=4",
    "model.semantic.channels=32",
]
CONFIG = Config().changed([*TINY, "seed=3", "train.lr=0.02"])
CATEGORIES = Categories([Category(7, "cat", True, (1, 2, 3)), Category(9, "ßky", False), Category(21, "dog", True)])


def tiny(seed: int = 0, *overrides: str) -> PanopticBlend:
    torch.manual_seed(seed)
    return build_model(CONFIG.changed(overrides))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def is_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def refused(model: nn.Module, source: Any) -> str:
    """The one line with which weights are refused; the model must be as it was."""
    before = state_of(model)
    with pytest.raises(PanopticBlendError) as error:
        load_weights(model, source)
    assert is_same(state_of(model), before)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with unusual values in its buffers."""
    model = tiny()
    model.pixel_mean += 1
    backbone_of(model).stride_in_1x1.fill_(True)
    branch_of(model).bottom.refine[0][1].num_batches_tracked.fill_(5)
    path = tmp_path / "runs" / "weights.safetensors"
    save_checkpoint(path, model.state_dict(), CONFIG, CATEGORIES)
    return path


# --- ours ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_round_trip(saved: Path, kind: Callable[[Path], str | Path]) -> None:
    model = tiny(1)
    load_weights(model, kind(saved))
    expected = tiny()
    expected.pixel_mean += 1
    backbone_of(expected).stride_in_1x1.fill_(True)
    branch_of(expected).bottom.refine[0][1].num_batches_tracked.fill_(5)
    assert is_same(state_of(model), state_of(expected))


@pytest.mark.parametrize("overrides", [[], ["model.backbone={kind: timm, name: test_efficientnet, depth: 50}"]])
def test_weights_of_folded_models(overrides: list[str]) -> None:
    folded = build_model(CONFIG.changed(overrides or ["model.backbone.norm=bn"])).eval()
    fold_norms(folded)
    message = refused(build_model(CONFIG.changed(overrides)), state_of(folded))
    assert message.startswith("state dict: comes from a model that was optimized for prediction, its norms folded")
    with pytest.raises(PanopticBlendError, match="its norms folded into convolutions"):
        load_weights(build_model(CONFIG.changed(overrides)), state_of(folded), partial=True)
    assert "takes no weights; load them into that of build_model" in refused(folded, state_of(tiny()))


def test_config_and_categories_are_kept(saved: Path) -> None:
    checkpoint = read_checkpoint(saved)
    assert checkpoint.config == CONFIG
    assert checkpoint.categories == CATEGORIES
    assert [category.color for category in checkpoint.categories] == [(1, 2, 3), None, None]
    model = tiny(1)
    load_weights(model, checkpoint.state)
    assert is_same(state_of(model), checkpoint.state)


def test_state_dict_bare_or_under_model(tmp_path: Path) -> None:
    expected = state_of(tiny())
    for content in (expected, {"model": expected, "optimizer": {"lr": 1}, "iteration": 3}):
        torch.save(content, tmp_path / "weights.pth")
        model = tiny(1)
        load_weights(model, tmp_path / "weights.pth")
        assert is_same(state_of(model), expected)


def test_weights_of_another_precision_and_layout(tmp_path: Path) -> None:
    model = tiny().to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "weights.safetensors", model.bfloat16().state_dict(), CONFIG, CATEGORIES)
    found = tiny(1)
    load_weights(found, tmp_path / "weights.safetensors")
    assert branch_of(found).top_layer.weight.dtype == torch.float32
    assert torch.equal(branch_of(found).top_layer.weight, branch_of(model).top_layer.weight.float())


def test_the_backbone_alone(tmp_path: Path) -> None:
    backbone = {name: value for name, value in state_of(tiny()).items() if name.startswith("backbone.")}
    model, other = tiny(1), state_of(tiny(1))
    load_weights(model, backbone)
    assert is_same(state_of(model), other | backbone)


def test_counters_of_batch_norm_are_needed_nowhere() -> None:
    state = {name: value for name, value in state_of(tiny()).items() if not name.endswith("num_batches_tracked")}
    model = tiny(1)
    load_weights(model, state)
    found = state_of(model)
    assert is_same({name: found[name] for name in state}, state)
    load_weights(model, state | {"backbone.bn1.num_batches_tracked": torch.tensor(7)})


# --- others' ---------------------------------------------------------------------------------------------------------


def official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours under the official names, as far as the official model has such tensors."""
    names = {rename(name): name for name in PANOPTIC}
    theirs = {names[name]: value for name, value in state.items() if name in names}
    theirs["backbone.bottom_up.stem.conv1.weight"] = state["backbone.conv1.weight"].flip(1)
    return theirs


def test_official_weights(tmp_path: Path) -> None:
    expected = state_of(tiny())
    torch.save({"model": official(expected), "__author__": "AdelaiDet"}, tmp_path / "R_50_3x.pth")
    model = tiny(1)
    load_weights(model, tmp_path / "R_50_3x.pth")
    found = state_of(model)
    assert found.pop("pixel_std").tolist() == [1, 1, 1]
    assert found.pop("backbone.stride_in_1x1")
    assert is_same(found, {name: expected[name] for name in found})


def test_official_weights_with_something_more() -> None:
    """Scales per level, which another official configuration has, must not be left out in silence."""
    state = official(state_of(tiny())) | {"proposal_generator.fcos_head.scales.0.scale": torch.ones(1)}
    assert "proposal_generator.fcos_head.scales.0.scale is unknown" in refused(tiny(1), state)


def test_official_weights_without_a_resnet() -> None:
    state = {name.replace("stem.conv1", "base_layer"): value for name, value in official(state_of(tiny())).items()}
    assert "not of this architecture: " in refused(tiny(1), state)


def test_torchvision_weights() -> None:
    torch.manual_seed(5)
    theirs = resnet18().state_dict()
    model, before = tiny(), state_of(tiny())
    backbone_of(model).stride_in_1x1.fill_(True)
    model.pixel_std.fill_(1)
    load_weights(model, theirs)
    found = state_of(model)
    assert not found["backbone.stride_in_1x1"]
    for name, value in found.items():
        if name.startswith("backbone.") and name != "backbone.stride_in_1x1":
            assert torch.equal(value, theirs[name.removeprefix("backbone.")]), name
        else:
            assert torch.equal(value, before[name]), name


def test_torchvision_weights_of_another_depth() -> None:
    message = refused(tiny(), resnet34().state_dict())
    assert message == (
        "state dict: not of this architecture: backbone.layer1.2.bn1.bias is unknown (and 79 more);"
        " use the config that it was trained with; `panoptic-blend weights inspect` says what it holds"
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision looks for its ResNet-18 before it downloads it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder / Path(ResNet18_Weights.IMAGENET1K_V1.url).name


def test_imagenet(hub: Path) -> None:
    theirs = resnet18().state_dict()
    torch.save(theirs, hub)
    model = tiny()
    load_weights(model, "imagenet")
    assert torch.equal(backbone_of(model).layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])
    assert torch.equal(backbone_of(model).bn1.weight, theirs["bn1.weight"])


def test_imagenet_without_network(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **options: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    message = refused(tiny(), "imagenet")
    assert message.startswith(f"imagenet: {ResNet18_Weights.IMAGENET1K_V1.url} cannot be fetched (")
    assert "no route to host" in message


def test_imagenet_offline(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE, "1")
    assert refused(tiny(), "imagenet") == f"imagenet: {hub} is not there; fetch it once without --offline"
    torch.save(resnet18().state_dict(), hub)
    load_weights(tiny(), "imagenet")


def test_imagenet_without_a_backbone() -> None:
    assert refused(nn.Linear(2, 2), "imagenet").startswith("imagenet: the model has no backbone")


# --- what does not fit -----------------------------------------------------------------------------------------------


def test_wrong_shape(saved: Path) -> None:
    assert refused(tiny(0, "model.num_things=3"), saved) == (
        f"{saved}: not of this architecture: instances.fcos.class_logits.bias has the shape 2 in the weights and 3 in "
        "the model (and 3 more); it knows other classes; set model.num_things and model.num_stuff to match, or train "
        "from it with --partial"
    )
    message = refused(tiny(0, "model.blender.attention_size=5"), saved)
    assert "instances.top_layer.bias has the shape 64 in the weights and 100 in the model (and 1 more)" in message


def test_shapes_are_named_in_full() -> None:
    state = state_of(tiny())
    state["instances.top_layer.weight"] = torch.zeros(64, 32)
    assert (
        "instances.top_layer.weight has the shape 64 x 32 in the weights and 64 x 32 x 3 x 3 in the model;"
        in refused(tiny(1), state)
    )
    state["instances.top_layer.weight"] = torch.tensor(1.0)
    assert "instances.top_layer.weight has the shape () in the weights" in refused(tiny(1), state)


def test_missing_and_unknown_tensors() -> None:
    state = state_of(tiny())
    weight = state.pop("instances.top_layer.weight")
    assert "instances.top_layer.weight is missing;" in refused(tiny(1), state)
    assert "other is unknown;" in refused(tiny(1), state | {"instances.top_layer.weight": weight, "other": weight})


def test_another_model_altogether() -> None:
    assert "not of this architecture" in refused(tiny(), {"unknown": torch.zeros(2)})
    assert "holds no weights" in refused(tiny(), {})


# --- broken files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    assert refused(tiny(), tmp_path / name).startswith(f"{tmp_path / name}: no such file")
    (tmp_path / name).mkdir()
    assert refused(tiny(), tmp_path / name).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_safetensors(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert refused(tiny(), saved).startswith(f"{saved}: not a complete safetensors file (")
    with pytest.raises(PanopticBlendError, match="not a complete safetensors file"):
        read_checkpoint(saved)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_pickle(tmp_path: Path, share: float) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state_of(tiny()), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refused(tiny(), path).startswith(f"{path}: ")
    assert "it ends too early" in refused(tiny(), path)


def test_numbers_that_would_be_wrong_without_a_word() -> None:
    state = state_of(tiny())
    name = "fpn.pyramid.inner_blocks.1.0.weight"
    assert refused(tiny(), state | {name: state[name] * float("nan")}) == (
        f"state dict: {name} holds numbers that are not finite, so its training failed; use an earlier checkpoint"
    )
    assert refused(tiny(), state | {name: state[name].int()}) == (
        f"state dict: {name} holds torch.int32, not floating-point numbers; export the unquantized weights"
    )
    message = "state dict: holds no weights; expected a state dict of tensors, bare or under `model`"
    assert refused(tiny(), {"x": 1}) == message
    assert refused(tiny(), {"x": 1, "y": torch.ones(1)}) == f"{message}, and 'x' is not a tensor"


def test_shapes_that_names_do_not_promise() -> None:
    for name in ("roi_heads.box_predictor.cls_score.bias", "roi_heads.box_predictor.bbox_pred.bias"):
        assert "names are those of detectron2 detector" in refused(tiny(), {name: torch.tensor(1.0)})
    assert "is missing" in refused(tiny(), {f"backbone.layer1.{'9' * 5000}.conv1.weight": torch.zeros(1)})


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.sampled_from([".pth", ".pt", ".pkl", ".safetensors"]))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"random{suffix}"
    path.write_bytes(content)
    model = nn.Linear(1, 1)
    assert refused(model, path).startswith(f"{path}: ")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_spoilt_bytes(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], is_zip: bool) -> None:
    """A file that was whole once may load or not, but fails with our error alone."""
    path = tmp_path_factory.getbasetemp() / "spoilt.pth"
    model = nn.Linear(1, 1)
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=is_zip)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    try:
        load_weights(model, path)
    except PanopticBlendError as error:
        assert str(error).startswith(f"{path}: ")


class Malice:
    """Pickled, it asks whoever unpickles it to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, protocol: str) -> None:
    path, victim = tmp_path / "weights.pth", tmp_path / "victim"
    content = {"model": state_of(nn.Linear(2, 2)), "extra": Malice(victim)}
    if protocol == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    assert refused(nn.Linear(2, 2), path).startswith(f"{path}: not a file of tensors (")
    with pytest.raises(PanopticBlendError):
        read_state(path)
    assert not victim.exists()
    pickle.loads(pickle.dumps(Malice(victim)))
    assert victim.exists()  # it would have


def test_a_cached_imagenet_file_that_would_run_code_does_not(hub: Path, tmp_path: Path) -> None:
    torch.save({"model": Malice(tmp_path / "victim")}, hub)
    assert refused(tiny(), "imagenet").startswith("imagenet: ")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("content", [[1, 2], "text", None, {"model": [1]}, {"a": 1}, {3: torch.zeros(2)}])
def test_files_without_weights(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    assert refused(tiny(), path).startswith(f"{path}: holds no weights")


# --- checkpoints with a broken header --------------------------------------------------------------------------------


def header(**changes: str | None) -> dict[str, str]:
    whole = {"config": CONFIG.model_dump_json(), "categories": json.dumps(CATEGORIES.records())} | changes
    return {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": None}, "holds weights without their config"),
        ({"categories": None}, "holds weights without their config"),
        ({"config": "{"}, "its header cannot be read"),
        ({"categories": "["}, "its header cannot be read"),
        ({"config": '{"trian": {}}'}, "did you mean `train`"),
        ({"config": "[]"}, "not a table of options"),
        ({"categories": "3"}, "its header cannot be read"),
        ({"categories": "[3]"}, "its header cannot be read"),
        ({"categories": '[{"id": 1}]'}, "no `isthing`"),
    ],
)
def test_broken_headers(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"x": torch.zeros(1)}, path, header(**changes))
    with pytest.raises(PanopticBlendError, match=message) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_whole_header_is_read(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "weights.safetensors", header())
    assert read_checkpoint(tmp_path / "weights.safetensors").config == CONFIG


def test_only_safetensors_carry_a_config(tmp_path: Path) -> None:
    torch.save(state_of(tiny()), tmp_path / "weights.pth")
    with pytest.raises(PanopticBlendError, match=r"weights\.pth: holds weights without their config; name the config"):
        read_checkpoint(tmp_path / "weights.pth")


NESTED = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "header",
    [
        {"categories": NESTED},
        {"config": NESTED},
        *(
            {key: value}
            for key in ("config", "categories")
            for value in ("", "3", "null", "{}x", '"x"', "[[]]", "[1]", "\x00")
        ),
        {"categories": '{"a": 1}'},
        {"config": '{"model": {"fcos": {"num_convs": 10000000}}}'},
        {"config": '{"model": []}'},
    ],
)
def test_headers_of_any_shape(tmp_path: Path, header: dict[str, str]) -> None:
    path = tmp_path / "weights.safetensors"
    whole = {"config": CONFIG.model_dump_json(), "categories": json.dumps(CATEGORIES.records())}
    save_file({"w": torch.ones(1)}, path, metadata=whole | header)
    with pytest.raises(PanopticBlendError) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(f"{path}: its header cannot be read (")
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000
    inspect_weights(path)


def test_a_config_that_asks_for_far_more_than_the_file_holds(saved: Path) -> None:
    checkpoint = read_checkpoint(saved)
    require_modest(saved, checkpoint.config, checkpoint.state)
    greedy = checkpoint.config.changed(
        ["model.fpn.channels=8192", "model.fcos.num_convs=64", "model.fcos.shared_convs=64"]
    )
    with pytest.raises(
        PanopticBlendError, match=r"its config describes a network of \d\d\d,\d+,\d+,\d+ numbers, but it hold"
    ):
        require_modest(saved, greedy, checkpoint.state)
    save_checkpoint(saved, checkpoint.state, greedy, CATEGORIES)
    with pytest.raises(PanopticBlendError, match="fetch it again"):
        load(saved)


# --- whole or not at all ---------------------------------------------------------------------------------------------


def test_a_checkpoint_is_written_whole_or_not_at_all(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def fail(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(saved, tiny(1).state_dict(), CONFIG, CATEGORIES)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_checkpoint_replaces_an_older_one(saved: Path) -> None:
    model = tiny(1)
    save_checkpoint(saved, model.state_dict(), CONFIG, CATEGORIES)
    assert is_same(read_checkpoint(saved).state, state_of(model))
    assert list(saved.parent.iterdir()) == [saved]
