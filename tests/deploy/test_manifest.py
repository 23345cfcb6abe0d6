"""The description of an exported model: it comes back as it was written, and what contradicts itself is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from panoptic_blend.config.experiment import Config
from panoptic_blend.deploy.manifest import (
    MANIFEST,
    Input,
    Manifest,
    Source,
    file_names,
    is_exported,
    output_axes,
    read_manifest,
)
from panoptic_blend.files import file_digest
from panoptic_blend.formats.categories import coco_categories

LEVELS = {f"p{n}": 2**n for n in range(3, 8)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported folder whose graph is not one."""
    config = Config()
    for name in file_names("onnx", config.model):
        (tmp_path / name).write_bytes(name.encode())
    manifest = Manifest(
        engine="onnx",
        version="0",
        source=Source(file="best.safetensors", sha256="0" * 64),
        config=config,
        categories=coco_categories(),
        input=Input(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
        outputs=output_axes(LEVELS, 4, 4),
        levels=LEVELS,
        bottom_stride=4,
        semantic_stride=4,
        files={name: file_digest(tmp_path / name) for name in file_names("onnx", config.model)},
    )
    (tmp_path / MANIFEST).write_text(json.dumps(manifest.record()))
    return tmp_path


def test_comes_back_as_it_was_written(folder: Path) -> None:
    found = read_manifest(folder)
    assert is_exported(folder) and not is_exported(folder / "model.onnx")
    assert found.config == Config() and found.categories == coco_categories()
    assert found.record() == json.loads((folder / MANIFEST).read_text())
    assert list(found.outputs)[:4] == ["p3_logits", "p3_distances", "p3_centerness", "p3_features"]
    assert len(found.outputs) == 5 * 4 + 2
    assert set(found.files) == {"model.onnx", "top_layer.npz"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": 2}, "`format`"),
        ({"colour": "red"}, "`colour`"),
        ({"engine": "tensorrt"}, "`engine`"),
        ({"engine": "openvino"}, "`files`"),
        ({"files": {"../model.onnx": "0" * 64}}, "`files`"),
        ({"categories": [{"id": 1, "isthing": 1}]}, "numbers of categories"),
        ({"categories": 3}, "`categories`"),
        ({"config": {"model": {"num_thing": 3}}}, "`config.model.num_thing`"),
        ({"precision": "int8"}, "`quantization`"),
        ({"semantic_stride": None}, "`semantic_stride`"),
        ({"levels": {"p3": 8}}, "`levels`"),
        ({"levels": {"p3": 0}}, "`levels.p3`"),
        ({"outputs": {"bases": ""}}, "`outputs`"),
        ({"input": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "`input.std.1`"),
    ],
)
def test_refuses_contradictions(
    folder: Path, refused: Callable[..., str], changes: dict[str, Any], problem: str
) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    message = refused(read_manifest, folder)
    assert message.startswith(f"{path}: ") and problem in message


def test_refuses_other_files(folder: Path, refused: Callable[..., str]) -> None:
    (folder / "model.onnx").write_bytes(b"changed")
    assert refused(read_manifest, folder).startswith(f"{folder / 'model.onnx'}: is not the file that export.json")
    (folder / "model.onnx").unlink()
    assert refused(read_manifest, folder).startswith(f"{folder / 'model.onnx'}: no such file")
    (folder / MANIFEST).write_text("[]")
    assert refused(read_manifest, folder).startswith(f"{folder / MANIFEST}: ")
    (folder / MANIFEST).unlink()
    assert refused(read_manifest, folder).startswith(f"{folder / MANIFEST}: no such file")
