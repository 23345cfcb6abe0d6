from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from branches import backbone_of, branch_of
from foreign import BLENDMASK, MMDETECTION, RCNN, Shapes
from torchvision.models import resnet18

from panoptic_blend.checkpoints.description import lines
from panoptic_blend.checkpoints.importing import import_weights, recognize
from panoptic_blend.checkpoints.inspection import inspect_weights
from panoptic_blend.checkpoints.io import load_weights, read_checkpoint
from panoptic_blend.cli import main as cli
from panoptic_blend.config.experiment import load_config
from panoptic_blend.formats.categories import Categories, coco_categories, numbered_categories
from panoptic_blend.inference.predictor import load
from panoptic_blend.models.build import build_model
from panoptic_blend.structures import PanopticBlendError

DEMO = ["model.num_things=3", "model.num_stuff=2"]


def state_of(*overrides: str) -> dict[str, Any]:
    torch.manual_seed(0)
    return build_model(load_config("demo/shapes_r18", [*DEMO, *overrides])).state_dict()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Weights of the demo's model without a config."""
    torch.save({"model": state_of()}, tmp_path / "bare.pth")
    return tmp_path / "bare.pth"


def refused(*arguments: Any) -> str:
    with pytest.raises(PanopticBlendError) as error:
        import_weights(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def write_official(path: Path, shapes: Shapes) -> None:
    """A checkpoint of full size, of zeros in half precision."""
    torch.save({"model": {name: torch.zeros(s, dtype=torch.float16) for name, s in shapes.items()}}, path)


def test_import_of_an_official_checkpoint(tmp_path: Path) -> None:
    write_official(tmp_path / "RT_R_50.pth", BLENDMASK["instance/blendmask_rt_r50_4x"])
    done = import_weights(tmp_path / "RT_R_50.pth", tmp_path / "new" / "rt.safetensors")
    assert done.names == ("instance/blendmask_rt_r50_4x",)
    assert done.categories == coco_categories()
    predictor = load(tmp_path / "new" / "rt.safetensors")
    assert predictor.config == load_config("instance/blendmask_rt_r50_4x")
    assert backbone_of(predictor.model).stride_in_1x1
    assert predictor.model.pixel_std.tolist() == [1, 1, 1]
    assert branch_of(predictor.model).top_layer.weight.dtype == torch.float32


def test_weights_of_others_can_be_used_as_they_are(bare: Path) -> None:
    predictor = load(bare, overrides=["model.fusion.confidence=0.5"])
    assert predictor.config == load_config("demo/shapes_r18", [*DEMO, "model.fusion.confidence=0.5"])
    assert predictor.categories == numbered_categories(3, 2)
    assert torch.equal(
        predictor.model.fpn.pyramid.get_parameter("inner_blocks.0.0.weight"),
        state_of()["fpn.pyramid.inner_blocks.0.0.weight"],
    )


def test_import_of_a_pickle_of_detectron2(tmp_path: Path) -> None:
    shapes = RCNN["panoptic/panoptic_fpn_r50_3x"]
    arrays = {name: np.full(shape, 0.5, dtype=np.float16) for name, shape in shapes.items()}
    content = {"model": arrays, "__author__": "Detectron2 Model Zoo"}
    (tmp_path / "model_final_c10459.pkl").write_bytes(pickle.dumps(content))
    done = import_weights(tmp_path / "model_final_c10459.pkl", tmp_path / "out.safetensors")
    assert done.names[0] == "panoptic/panoptic_fpn_r50_3x"
    checkpoint = read_checkpoint(tmp_path / "out.safetensors")
    assert checkpoint.config.train.weights == "panoptic_fpn_r50_3x_detectron2", "whose terms hold for it"
    boxes = checkpoint.state["instances.roi_heads.box_predictor.bbox_pred.bias"]
    assert boxes.shape == (324,)
    assert boxes[:5].tolist() == [0, 0, 0, 0, 0.5]


def test_weights_of_mmdetection_follow_its_rules(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """detectron2's configs have the same names and shapes, and are not offered."""
    weights = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in MMDETECTION.items()}
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    found = recognize(tmp_path / "w.pth")
    assert found.names == ("panoptic/panoptic_fpn_r50_3x_mmdet",)
    assert found.config == load_config(found.names[0]) and found.config.model.mask_rcnn.rules == "mmdetection"
    assert found.categories == coco_categories()
    said = lines(inspect_weights(tmp_path / "w.pth"))
    assert said.startswith("mmdetection, panoptic\n")
    assert "fits      panoptic/panoptic_fpn_r50_3x_mmdet\n" in said
    model = build_model(load_config("panoptic/panoptic_fpn_r50_3x"))
    load_weights(model, tmp_path / "w.pth")
    assert "w.pth: comes from mmdetection, but the model chooses detections by the rules of detectron2" in caplog.text
    caplog.clear()
    load_weights(model, tmp_path / "w.pth", partial=True)
    assert not caplog.text


def test_a_known_backbone_with_foreign_parts_is_no_known_model(tmp_path: Path) -> None:
    """As in mmdetection's Mask R-CNN, whose backbone has our names."""
    names = [name for name in MMDETECTION if name.startswith(("backbone.conv1", "backbone.layer", "neck."))]
    torch.save({"state_dict": {name: torch.zeros(1) for name in names}}, tmp_path / "w.pth")
    message = refused(tmp_path / "w.pth", tmp_path / "out.safetensors")
    assert "its names belong to no known model (neck.lateral_convs.0.conv.weight, " in message
    assert inspect_weights(tmp_path / "w.pth").source == "unknown"


def test_numbered_categories_where_nobody_says(bare: Path, tmp_path: Path) -> None:
    done = import_weights(bare, tmp_path / "out.safetensors")
    assert done.names[0] == "demo/shapes_r18"
    checkpoint = read_checkpoint(tmp_path / "out.safetensors")
    assert checkpoint.categories == done.categories == numbered_categories(3, 2)
    assert checkpoint.config == load_config("demo/shapes_r18", DEMO)
    expected = state_of()
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint.state.items())


def categories_json(path: Path, things: int, stuff: int) -> Path:
    records = numbered_categories(things, stuff).records()
    named = [record | {"name": f"class {record['id']}", "id": 10 * int(str(record["id"]))} for record in records]
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": named}))
    return path


def test_categories_of_a_json(bare: Path, tmp_path: Path) -> None:
    path = categories_json(tmp_path / "panoptic.json", 3, 2)
    done = import_weights(bare, tmp_path / "out.safetensors", None, path)
    assert [category.id for category in done.categories] == [10, 20, 30, 40, 50]
    assert done.categories == Categories(json.loads(path.read_text())["categories"])


def test_an_instance_model_takes_the_stuff_of_the_json(tmp_path: Path) -> None:
    torch.save(state_of("model.semantic.enabled=false"), tmp_path / "w.pth")
    config = tmp_path / "own.yaml"
    config.write_text(
        f"base: {Path('configs/demo/shapes_r18.yaml').resolve()}\nmodel: {{semantic: {{enabled: false}}}}\n"
    )
    assert "fits no config that comes with the library, the nearest is demo/shapes_r18: " in refused(
        tmp_path / "w.pth", tmp_path / "out.safetensors"
    )
    path = categories_json(tmp_path / "panoptic.json", 3, 4)
    done = import_weights(tmp_path / "w.pth", tmp_path / "out.safetensors", str(config), path)
    assert len(done.categories.stuff_ids) == 4
    assert read_checkpoint(tmp_path / "out.safetensors").config.model.num_stuff == 4
    done = import_weights(tmp_path / "w.pth", tmp_path / "numbered.safetensors", str(config))
    assert done.categories == numbered_categories(3, 0)


def test_categories_that_are_not_its_own(bare: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    path = categories_json(tmp_path / "panoptic.json", 3, 3)
    assert refused(bare, out, None, path) == (
        f"{path}: has 3 things and 3 stuff, the weights 3 things and 2 stuff; give the JSON that they were trained on"
    )
    for content in ("[]", "{}", '{"categories": 3}', '{"categories": []}', '{"categories": [{"id": 1}]}', "{"):
        path.write_text(content)
        assert refused(bare, out, None, path).startswith(f"{path}: ")
    assert not out.exists()


def test_a_config_they_are_not_for(bare: Path, tmp_path: Path) -> None:
    message = refused(bare, tmp_path / "out.safetensors", "demo/coco_overfit_r18")
    assert message.startswith(f"{bare}: not of this architecture: ")
    assert not (tmp_path / "out.safetensors").exists()


def test_nothing_is_overwritten(bare: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    import_weights(bare, out)
    before = out.read_bytes()
    assert refused(bare, out) == f"{out}: already exists; choose another name or remove it"
    assert refused(out, out).startswith(f"{out}: already exists")
    assert out.read_bytes() == before
    assert "is a checkpoint of ours" in refused(out, tmp_path / "again.safetensors")
    assert refused(bare, bare) == f"{bare}: checkpoints are safetensors; name it bare.safetensors"
    assert refused(bare, Path()).startswith(".: checkpoints are safetensors; ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.pth", "out.safetensors"]


def test_a_backbone_alone_has_no_model(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "r18.pth")
    message = refused(tmp_path / "r18.pth", tmp_path / "out.safetensors")
    assert message.endswith(f"holds a backbone alone; train from it with --weights {tmp_path / 'r18.pth'}")


# --- command line ----------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_inspect_and_import(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bare: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    assert run(monkeypatch, "weights", "inspect", bare) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{bare}: panoptic-blend, panoptic\n")
    assert "fits      demo/shapes_r18\n" in printed
    assert run(monkeypatch, "weights", "import", bare, out) == 0
    assert capsys.readouterr().out == f"{out}: demo/shapes_r18, 3 things and 2 stuff\n"
    assert run(monkeypatch, "weights", "inspect", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == str(out)
    assert (found["has_config"], found["fits"]) == (True, ["demo/shapes_r18"])
    assert run(monkeypatch, "weights", "import", bare, out) == 2
    assert capsys.readouterr().err == f"error: {out}: already exists; choose another name or remove it\n"
