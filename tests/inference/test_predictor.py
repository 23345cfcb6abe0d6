"""Loading a model in every supported way, and predicting pictures with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from branches import branch_of
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.config.experiment import Config
from panoptic_blend.formats.categories import Categories, coco_categories
from panoptic_blend.inference.predictor import Predictor, load
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap

TINY = [
    "model.num_things=2",
    "model.num_stuff=2",
    "model.backbone.depth=14",
    "model.fpn.channels=32",
    "model.fcos.num_convs=1",
    "model.fcos.detections_per_image=20",
    "model.bottom.channels=16",
    "model.bottom.num_convs=1",
    "model.blender.roi_size=14",
    "model.blender.attention_size=4",
    "model.semantic.channels=32",
    "model.fusion.stuff_area=1",
    "test.short_side=64",
    "test.long_side=96",
]
CONFIG = Config().changed(TINY)
CATEGORIES = Categories(
    [Category(40, "cat", True), Category(7, "dog", True), Category(90, "grass", False), Category(30, "sky", False)]
)
Pixels = npt.NDArray[np.uint8]


def lively(config: Config) -> PanopticBlend:
    """A model whose random weights find instances of every class."""
    torch.manual_seed(0)
    model = build_model(config)
    for conv, std, bias in (
        (branch_of(model).fcos.class_logits, 0.3, -2.0),
        (branch_of(model).fcos.centerness, 0.1, 1.0),
        (branch_of(model).fcos.distances, 0.1, 2.0),
    ):
        nn.init.normal_(conv.weight, std=std)
        assert conv.bias is not None
        nn.init.constant_(conv.bias, bias)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_checkpoint(path, lively(CONFIG).state_dict(), CONFIG, CATEGORIES)
    return path


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return load(checkpoint)


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)


def is_same(first: PanopticMap, second: PanopticMap) -> bool:
    return np.array_equal(first.segment_ids, second.segment_ids) and first.segments == second.segments


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(PanopticBlendError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# --- predicting ------------------------------------------------------------------------------------------------------


def test_map_of_an_array(predictor: Predictor, pixels: Pixels) -> None:
    found = predictor.predict(pixels)
    assert found.segment_ids.shape == (50, 90)
    kinds = {category.id: category.is_thing for category in CATEGORIES}
    assert {segment.is_thing for segment in found.segments} == {True, False}
    assert all(kinds[segment.category] == segment.is_thing for segment in found.segments)
    assert sorted(np.unique(found.segment_ids[found.segment_ids > 0])) == [s.id for s in found.segments]


def test_path_array_and_list_agree(predictor: Predictor, pixels: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "it.png"
    cv2.imwrite(str(path), pixels[:, :, ::-1])
    expected = predictor.predict(pixels)
    assert is_same(predictor.predict(path), expected)
    assert is_same(predictor.predict(str(path)), expected)
    found = predictor.predict([pixels, path, str(path)])
    assert len(found) == 3
    assert all(is_same(item, expected) for item in found)
    assert predictor.predict([]) == []


def test_channels_are_red_green_blue(predictor: Predictor, pixels: Pixels) -> None:
    def bases(picture: Pixels) -> torch.Tensor:
        found = predictor.output(picture).bases
        assert found is not None
        return found

    turned = np.ascontiguousarray(pixels[:, :, ::-1])
    assert not torch.allclose(bases(turned), bases(pixels))
    assert torch.equal(bases(turned[:, :, ::-1]), bases(pixels))


def test_output_is_at_the_size_of_the_picture(predictor: Predictor) -> None:
    """300 x 100 pixels are resized to 96 x 32: the long side is the limit."""
    output = predictor.output(np.zeros((100, 300, 3), dtype=np.uint8))
    assert output.semantic.shape == output.panoptic.segment_ids.shape == (100, 300)
    assert output.masks.shape[1:] == (100, 300)
    assert output.bases is not None
    assert output.bases.shape[1:] == (8, 24)


def test_one_pixel(predictor: Predictor) -> None:
    assert predictor.predict(np.zeros((1, 1, 3), dtype=np.uint8)).segment_ids.shape == (1, 1)


def test_gray_and_transparent_files(predictor: Predictor, pixels: Pixels, tmp_path: Path) -> None:
    gray = pixels[:, :, 0]
    cv2.imwrite(str(tmp_path / "gray.png"), gray)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([pixels[:, :, ::-1], gray]))
    assert is_same(predictor.predict(tmp_path / "gray.png"), predictor.predict(np.dstack([gray] * 3)))
    assert is_same(predictor.predict(tmp_path / "alpha.png"), predictor.predict(pixels))


def test_many_pictures(predictor: Predictor, pixels: Pixels) -> None:
    """Batches and iterables give a list, in their order; a message names the picture."""
    turned = pixels[:, ::-1]
    expected = [predictor.predict(pixels), predictor.predict(turned)]
    both = np.stack([pixels, turned])
    channels_first = torch.from_numpy(both).permute(0, 3, 1, 2)
    several: Any = (both, channels_first, (pixels, turned), iter(both), (Image.fromarray(item) for item in both))
    for many in several:
        found = predictor.predict(many)
        assert len(found) == 2
        assert all(map(is_same, found, expected))
    assert predictor.predict(list(both[:0])) == []
    assert refused(lambda: predictor.predict([pixels, np.zeros(3)])).startswith("picture 1: an array of shape (3,)")
    assert refused(lambda: predictor.predict(["https://127.0.0.1/a.jpg"])).startswith(
        "picture 0: https://127.0.0.1/a.jpg"
    )


def test_files_that_are_not_pictures(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    assert refused(lambda: predictor.predict(tmp_path / "text.png")).startswith(f"{tmp_path / 'text.png'}: ")
    assert "no such file" in refused(lambda: predictor.predict(tmp_path / "nothing.png"))


def test_prediction_records_no_gradients(predictor: Predictor, pixels: Pixels) -> None:
    output = predictor.output(pixels)
    assert not output.scores.requires_grad
    assert not predictor.model.training


# --- loading ---------------------------------------------------------------------------------------------------------


def test_a_checkpoint_includes_config_and_categories(predictor: Predictor) -> None:
    assert predictor.config == CONFIG
    assert predictor.categories == CATEGORIES
    assert not predictor.model.training


def test_overrides(checkpoint: Path, pixels: Pixels) -> None:
    predictor = load(checkpoint, overrides=["model.fusion.confidence=1", "test.short_side=63"])
    assert predictor.config.test.short_side == 63
    found = predictor.predict(pixels)
    assert found.segments
    assert not any(segment.is_thing for segment in found.segments)


def test_config_and_weights_in_separate_files(
    checkpoint: Path, predictor: Predictor, pixels: Pixels, tmp_path: Path
) -> None:
    config = tmp_path / "it.yaml"
    config.write_text("model: {num_things: 2}")
    found = load(config, checkpoint, overrides=TINY)
    assert found.categories == CATEGORIES
    assert is_same(found.predict(pixels), predictor.predict(pixels))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_without_categories(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    state = lively(CONFIG).state_dict()
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    predictor = load("panoptic/blendmask_r50_3x", path, overrides=TINY)
    assert [(c.id, c.name, c.is_thing) for c in predictor.categories] == [
        (1, "thing 1", True),
        (2, "thing 2", True),
        (3, "stuff 3", False),
        (4, "stuff 4", False),
    ]
    assert "fits no config that comes with the library" in refused(lambda: load(path))


def test_weights_with_the_numbers_of_coco(tmp_path: Path) -> None:
    overrides = [*TINY, "model.num_things=80", "model.num_stuff=53"]
    torch.save(lively(Config().changed(overrides)).state_dict(), tmp_path / "weights.pth")
    predictor = load("panoptic/blendmask_r50_3x", tmp_path / "weights.pth", overrides=overrides)
    assert predictor.categories == coco_categories()


def test_a_config_has_no_weights() -> None:
    assert refused(lambda: load("panoptic/blendmask_r50_3x")) == (
        "panoptic/blendmask_r50_3x: a config has no weights; give a checkpoint, or weights with it"
    )


def test_what_holds_no_weights(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "x.yaml").write_text("seed: 1")
    for name, expected in (
        ("zz", "no such file or config; check the path"),
        ("zz.yaml", "no such file or config; check the path"),
        ("a" * 5000, "no such file or config; check the path"),
        ("", "is a folder; give the checkpoint in it, such as last.safetensors"),
        ("x.json", "is neither a checkpoint nor a config; give a checkpoint, such as last.safetensors"),
        ("x.yaml", "a config has no weights; give a checkpoint, or weights with it"),
    ):
        path = tmp_path / name
        assert refused(partial(load, path)) == f"{path}: {expected}"


def test_two_files_of_weights(checkpoint: Path) -> None:
    assert refused(lambda: load(checkpoint, "other.pth")) == (
        f"{checkpoint}: is a file of weights, and so is other.pth; give only one of these"
    )


def test_files_that_are_missing_or_do_not_fit(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("weights.pth", "weights.safetensors"):
        missing = tmp_path / name
        assert refused(lambda path=missing: load(path)).startswith(f"{missing}: no such file")  # type: ignore[misc]
        assert refused(lambda path=missing: load("demo/shapes_r18", path)).startswith(  # type: ignore[misc]
            f"{missing}: no such file"
        )
    assert refused(lambda: load("nowhere", checkpoint)).startswith("no config 'nowhere'")
    assert refused(lambda: load("demo/shapes_r18", checkpoint)).startswith(f"{checkpoint}: not of this architecture: ")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x", ""])
def test_unknown_device(checkpoint: Path, device: str) -> None:
    message = refused(lambda: load(checkpoint, device=device))
    assert message.startswith(f"device {device!r}: ")
    assert message.endswith("; use auto, cpu, cuda or cuda:0")
