"""Exported models predict as their surface says: in threads, without torch, and not from a damaged folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import openvino
import pytest
from exported_folder import write_exported
from PIL import Image
from test_without_torch import ABSENT

import panoptic_blend
from panoptic_blend import deploy
from panoptic_blend.cli.models import running
from panoptic_blend.deploy.manifest import MANIFEST, TOP_LAYER
from panoptic_blend.deploy.predictor import ExportedPredictor
from panoptic_blend.files import file_digest
from panoptic_blend.inference.predictor import load as load_checkpoint
from panoptic_blend.prediction.find_pictures import find_pictures
from panoptic_blend.prediction.pictures import predict_pictures
from panoptic_blend.structures import PanopticBlendError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("deploy") / "exported")


@pytest.fixture(scope="module")
def predictor(folder: Path) -> ExportedPredictor:
    return deploy.load(folder, threads=1)


def picture(height: int = 50, width: int = 70, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height)), np.uint8)


def test_an_output_has_the_size_of_its_picture(predictor: ExportedPredictor) -> None:
    output = predictor.output(picture())
    count = len(output.scores)
    assert count > 0 and output.masks.shape == (count, 50, 70) and output.boxes.shape == (count, 4)
    assert output.semantic.shape == output.panoptic.segment_ids.shape == (50, 70)
    assert output.bases is not None and output.bases.shape == (4, 16, 23)  # of 64 x 90 pixels, without padding
    assert output.attentions is not None and output.attentions.shape == (count, 4, 4, 4)
    assert {segment.category for segment in output.panoptic.segments} <= {1, 2, 3, 4, 5}
    assert any(segment.is_thing for segment in output.panoptic.segments)


def test_the_padding_of_the_input_is_the_mean_of_each_channel(predictor: ExportedPredictor) -> None:
    image = predictor.prepare(picture())
    pixels = predictor.pixels(image)
    assert pixels.shape == (1, 3, 64, 96) and pixels.dtype == np.float32
    assert (pixels[0, :, :64, :90] == image.transpose(2, 0, 1)).all()
    assert pixels[0, :, 5, 90].tolist() == pixels[0, :, 63, 95].tolist() == [120, 110, 100]


def test_several_pictures_in_several_forms(predictor: ExportedPredictor) -> None:
    one = picture()
    maps = predictor.predict([one, Image.fromarray(one), (one / 255).astype(np.float32)])
    assert len(maps) == 3 and all((found.segment_ids == maps[0].segment_ids).all() for found in maps)
    with pytest.raises(PanopticBlendError, match=r"^picture 1: None is not a picture"):
        predictor.predict([one, None])  # type: ignore[list-item]


def test_threads_get_their_own_results(predictor: ExportedPredictor) -> None:
    pictures = [picture(40 + number, 60 - number, number) for number in range(12)]
    alone = [predictor.output(one) for one in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(predictor.output, pictures))
    for one, other in zip(alone, together, strict=True):
        assert (one.panoptic.segment_ids == other.panoptic.segment_ids).all()
        assert one.bases is not None and other.bases is not None and (one.bases == other.bases).all()


def test_openvino_gives_what_onnx_runtime_gives(folder: Path, tmp_path: Path, predictor: ExportedPredictor) -> None:
    other = write_openvino(folder, tmp_path / "openvino")
    with pytest.raises(PanopticBlendError, match=r"model.onnx: no such file|`files` are not those of its engine"):
        deploy.load(changed_record(shutil.copytree(other, tmp_path / "wrong"), engine="onnx"))
    found = deploy.load(other, threads=1)
    assert found.identity()["device"] == "openvino on cpu"
    pictures = [picture(), picture(100, 40, 1), picture(30, 90, 2)]
    expected = [predictor.output(one) for one in pictures]
    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(found.output, pictures))
    for ours, theirs in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-4)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=1e-4, atol=1e-3)
        assert ours.bases is not None and theirs.bases is not None
        np.testing.assert_allclose(ours.bases, theirs.bases, rtol=1e-4, atol=1e-3)
        assert (ours.panoptic.segment_ids != theirs.panoptic.segment_ids).mean() < 0.01


def write_openvino(folder: Path, other: Path) -> Path:
    """The exported model of ``folder`` for OpenVINO."""
    shutil.copytree(folder, other)
    openvino.save_model(openvino.Core().read_model(other / "model.onnx"), other / "model.xml", compress_to_fp16=False)
    (other / "model.onnx").unlink()
    files = {name: file_digest(other / name) for name in ("model.xml", "model.bin", TOP_LAYER)}
    return changed_record(other, engine="openvino", files=files)


def changed_record(folder: Path, **changes: object) -> Path:
    """The folder, after changes to its ``export.json``."""
    record = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(record | changes))
    return folder


def test_the_load_of_checkpoints_takes_an_exported_folder(folder: Path) -> None:
    found = panoptic_blend.load(folder, device="auto", overrides=["model.fusion.confidence=1"])
    assert isinstance(found, ExportedPredictor) and found.config.model.fusion.confidence == 1
    with pytest.raises(PanopticBlendError, match=rf"^{folder}: is an exported model, .*; leave out device='cuda'$"):
        panoptic_blend.load(folder, device="cuda")


def test_options_that_follow_the_network_may_change(folder: Path, predictor: ExportedPredictor) -> None:
    changed = deploy.load(folder, 1, ["model.fusion.confidence=1", "test.short_side=32"])
    assert not any(segment.is_thing for segment in changed.predict(picture()).segments)
    assert changed.prepare(picture()).shape == (32, 45, 3)
    assert changed.identity() == predictor.identity()
    with pytest.raises(PanopticBlendError, match=r"exported: model.fpn was fixed when the model was exported"):
        deploy.load(folder, 1, ["model.fpn.channels=64"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.onnx", b"nonsense", r"model.onnx: onnx cannot load it \(.*\); update the engine, or export"),
        (TOP_LAYER, b"nonsense", r"top_layer.npz: cannot be read \(.*\); export the model anew"),
    ],
)
def test_a_file_that_only_the_manifest_knows(
    folder: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).write_bytes(content)
    with pytest.raises(PanopticBlendError, match=f"{name}: is not the file that export.json describes"):
        deploy.load(copy)
    record = json.loads((copy / MANIFEST).read_text())
    record["files"][name] = file_digest(copy / name)
    (copy / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(PanopticBlendError, match=message):
        deploy.load(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "image"}, "has other inputs and outputs than export.json says; export the model anew"),
        ({"batch": 2}, "has other inputs and outputs than export.json says; export the model anew"),
        ({"multiple": 16}, "`input.multiple`: Input should be a multiple of 32"),
    ],
)
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_another_input_than_that_of_the_graph(
    folder: Path, tmp_path: Path, engine: str, changes: dict[str, object], message: str
) -> None:
    copy = (shutil.copytree if engine == "onnx" else write_openvino)(folder, tmp_path / "copy")
    given = json.loads((copy / MANIFEST).read_text())["input"]
    with pytest.raises(PanopticBlendError, match=message):
        deploy.load(changed_record(copy, input=given | changes))


def test_other_strides_than_those_of_the_graph(folder: Path, tmp_path: Path) -> None:
    copy = changed_record(shutil.copytree(folder, tmp_path / "copy"), bottom_stride=8)
    with pytest.raises(
        PanopticBlendError, match=r"bases of its graph does not have the stride 8 that export.json says"
    ):
        deploy.load(copy).predict(picture())


def test_a_folder_whose_manifest_is_lost(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / MANIFEST).unlink()
    with pytest.raises(PanopticBlendError, match=r"copy: has no export.json, .*; export the model anew"):
        panoptic_blend.load(copy)


def test_an_exported_model_is_no_checkpoint(folder: Path) -> None:
    with pytest.raises(PanopticBlendError, match=r"is an exported model; give the checkpoint that it was made from"):
        load_checkpoint(folder)


def test_numbers_that_are_not_finite_are_an_error(
    predictor: ExportedPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "pixels", lambda image: np.full((1, 3, 64, 96), np.nan, np.float32))
    with pytest.raises(PanopticBlendError, match="means: its graph gave numbers that are not finite"):
        predictor.output(picture())


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_pictures_at_once_have_the_results_of_one_after_the_other(folder: Path, tmp_path: Path, engine: str) -> None:
    model = folder if engine == "onnx" else write_openvino(folder, tmp_path / "openvino")
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        cv2.imwrite(str(photos / f"{number}.png"), picture(50 + number, 70, number))
    (photos / "3.png").write_bytes(b"broken")
    for at_once in (1, 3):
        predictor = deploy.load(model, threads=at_once, at_once=at_once)
        with pytest.raises(PanopticBlendError, match=r"3\.png.* \(1 of 6 pictures failed"):
            predict_pictures(predictor, find_pictures([photos])[0], tmp_path / str(at_once), lambda done, total: None)
    names = [path.relative_to(tmp_path / "1") for path in sorted((tmp_path / "1").rglob("*")) if path.is_file()]
    assert len(names) == 19  # map, drawing and instances of five pictures; three lists, and the journal
    for name in names:
        found = [(tmp_path / at_once / name).read_bytes() for at_once in ("1", "3")]
        assert found[0] == found[1] or name.name == "journal.jsonl"  # in the order in which they were finished


def test_the_command_and_the_library_predict_without_torch(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), picture())
    code = f"""
import sys; sys.modules.update({ABSENT})
import panoptic_blend; panoptic_blend.load({str(folder)!r}).predict({str(tmp_path / "photo.png")!r})
from panoptic_blend.cli.main import main; main()
"""
    given = ["predict", folder, tmp_path / "photo.png", "--output", tmp_path / "out"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, given)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [image] = json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"]
    assert (image["height"], image["width"]) == (50, 70)


def test_options_of_devices_are_refused(folder: Path) -> None:
    message = rf"^{folder}: is an exported model, which runs on the CPU as it is; leave out --device cuda$"
    with (
        pytest.raises(PanopticBlendError, match=message),
        running(folder, None, None, (), "cuda", 1, 1, "32-true"),
    ):
        pass
