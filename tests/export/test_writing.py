"""A trained model becomes a folder, whole or not at all, whose graph computes what the network does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import ExportedProgram

from panoptic_blend import deploy
from panoptic_blend.checkpoints.digest import weights_digest
from panoptic_blend.config.experiment import load_config
from panoptic_blend.deploy.engines import open_graph
from panoptic_blend.deploy.manifest import GRAPH_FILES, Engine, read_manifest
from panoptic_blend.export import writing
from panoptic_blend.export.tracing import PixelNetwork, trace
from panoptic_blend.export.writing import ExportRequest, export_model
from panoptic_blend.formats.categories import numbered_categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.build import build_model
from panoptic_blend.postprocessing.interpolation import Floats

TINY = [
    *("model.num_things=3", "model.num_stuff=2", "model.fpn.channels=32", "model.semantic.channels=32"),
    *("model.bottom.channels=16", "model.bottom.num_convs=0", "model.fcos.num_convs=1", "model.backbone.depth=14"),
    *("model.bottom.features=[p3]", "data.root=/home/somebody/data"),
]


def tiny(name: str = "demo/shapes_r18", *options: str) -> Predictor:
    torch.manual_seed(0)
    config = load_config(name, [*TINY, *options])
    return Predictor(build_model(config), config, numbered_categories(3, 2))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return tiny()


@pytest.fixture(scope="module")
def program(predictor: Predictor) -> ExportedProgram:
    return trace(predictor.model, 32)


@pytest.fixture
def traced_once(program: ExportedProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes longer than all the rest."""
    monkeypatch.setattr(writing, "trace", lambda *arguments: program)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_the_graph_of_an_engine_computes_what_the_network_does(
    predictor: Predictor, tmp_path: Path, engine: Engine
) -> None:
    folder = tmp_path / "exported"
    export_model(predictor, ExportRequest("best.safetensors", engine, folder))
    manifest = read_manifest(folder)
    assert {path.name for path in folder.iterdir()} == {*manifest.files, "export.json"}
    assert not any(b"/home" in path.read_bytes() or __file__.encode() in path.read_bytes() for path in folder.iterdir())
    assert manifest.source.sha256 == weights_digest(predictor.model)
    assert manifest.config.model == predictor.config.model
    with np.load(folder / "top_layer.npz", allow_pickle=False) as layer:
        assert {name: array.shape for name, array in layer.items()} == {"weight": (196, 32, 3, 3), "bias": (196,)}

    pixels = 255 * torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with open_graph(folder, manifest, 1)(pixels.numpy()) as outputs:
        found = {name: value.copy() for name, value in outputs.items()}
    with torch.no_grad():
        expected = PixelNetwork(predictor.model)(pixels)
    assert list(found) == list(expected) == list(manifest.outputs)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("traced_once")
def test_a_graph_that_computes_something_else_leaves_no_folder(
    predictor: Predictor, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_nothing(program: ExportedProgram, engine: Engine, outputs: list[str], folder: Path) -> None:
        for name in GRAPH_FILES[engine]:
            (folder / name).touch()

    @contextmanager
    def another(pixels: Floats) -> Iterator[dict[str, Floats]]:
        yield {name: x.numpy() + np.float32(0.5 * (name == "p4_logits")) for name, x in network(pixels).items()}

    def network(pixels: Floats) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return PixelNetwork(predictor.model)(torch.from_numpy(pixels))

    monkeypatch.setattr(writing, "write_graph", write_nothing)
    monkeypatch.setattr(writing, "open_graph", lambda *arguments: another)
    message = refused(export_model, predictor, ExportRequest("a", "openvino", tmp_path / "exported"))
    assert message.startswith("openvino: its graph computes another p4_logits than the network, by 0.5; ")
    assert not any(tmp_path.iterdir())


def test_a_network_without_a_quality_layer(tmp_path: Path) -> None:
    joint = tiny("demo/shapes_r18", "model.fcos.quality=joint")
    export_model(joint, ExportRequest("a", "onnx", tmp_path / "a"))
    manifest = read_manifest(tmp_path / "a")
    assert list(manifest.outputs)[:4] == ["p3_logits", "p3_distances", "p3_features", "p4_logits"]
    assert manifest.strides().keys() == manifest.outputs.keys()
    assert deploy.load(tmp_path / "a").output(np.zeros((64, 64, 3), np.uint8)).panoptic.segment_ids.shape == (64, 64)


def test_kernels_are_refused_by_name(tmp_path: Path, refused: Callable[..., str]) -> None:
    kernels = tiny("demo/kernelblend_r18")
    assert refused(export_model, kernels, ExportRequest("a", "onnx", tmp_path / "a")).startswith(
        "model.blender.merge=refine cannot be exported: "
    )


def test_a_network_for_masks_is_refused_by_name(tmp_path: Path, refused: Callable[..., str]) -> None:
    scorer = tiny("demo/shapes_r18", "model.blender.rescoring=mask_iou")
    assert refused(export_model, scorer, ExportRequest("a", "onnx", tmp_path / "a")).startswith(
        "model.blender.rescoring=mask_iou cannot be exported: "
    )


def test_mask_rcnn_is_refused_by_name(tmp_path: Path, refused: Callable[..., str]) -> None:
    mask_rcnn = tiny("instance/mask_rcnn_r50_3x")
    assert refused(export_model, mask_rcnn, ExportRequest("a", "onnx", tmp_path / "a")).startswith(
        "model.instances=mask_rcnn cannot be exported: "
    )


def test_only_an_exported_model_is_replaced(predictor: Predictor, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite, problem in ((False, "is not an empty folder"), (True, "is not an exported model")):
        request = ExportRequest("a", "onnx", tmp_path, overwrite=overwrite)
        assert problem in refused(export_model, predictor, request)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "export.json").write_text("{}")
    assert "add --overwrite" in refused(export_model, predictor, ExportRequest("a", "onnx", tmp_path))
