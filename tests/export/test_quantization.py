"""Which pictures calibrate, which parts stay in float32, and a tiny model in int8."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from panoptic_blend.cli.exporting import export
from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.deploy.manifest import GRAPH_FILES, MANIFEST, Engine, Quantization, read_manifest
from panoptic_blend.deploy.predictor import load
from panoptic_blend.export.quantization import (
    calibration_pictures,
    lines,
    measured,
    pooled,
)
from panoptic_blend.export.writing import ExportRequest, export_model
from panoptic_blend.formats.categories import numbered_categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.metrics.panoptic_quality import PanopticQuality
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms
from panoptic_blend.structures import PanopticMap, Segment

TINY = [
    *("model.num_things=6", "model.num_stuff=4", "model.fpn.channels=32", "model.semantic.channels=32"),
    *("model.bottom.channels=16", "model.bottom.num_convs=0", "model.fcos.num_convs=1", "model.backbone.depth=14"),
    *("test.short_side=64", "data.workers=0"),
]


def test_pictures_are_spread_over_a_folder_or_over_a_split(tmp_path: Path, generated: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.jpg").touch()
    assert [path.stem for path in calibration_pictures(tmp_path, "train2017", 3)] == ["0", "3", "6"]
    assert [path.stem for path in calibration_pictures(tmp_path, "train2017", 9)] == list("0123456")
    of_split = calibration_pictures(generated, "val2017", 100)
    assert of_split == sorted((generated / "val2017").iterdir())


def test_calibration_without_pictures_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert str(tmp_path) in refused(calibration_pictures, tmp_path, "train2017", 3)
    (tmp_path / "annotations").mkdir()
    assert "train2017: no such file or folder" in refused(calibration_pictures, tmp_path, "train2017", 3)
    assert "add --calibrate DIR" in refused(partial(export, Path("a"), int8=True))
    assert "add --int8" in refused(partial(export, Path("a"), calibrate=tmp_path))
    assert "nowhere: no such folder; give --check" in refused(partial(export, Path("a"), check=tmp_path / "nowhere"))


def test_a_part_gains_what_its_absence_from_int8_changes() -> None:
    asked: list[tuple[str, ...]] = []

    def agreement(parts: Collection[str]) -> float:
        asked.append(tuple(parts))
        return 90.0 + {"boxes": 4.0, "fpn": -0.5}.get("".join(parts), 0.0)

    assert measured(["fpn", "boxes", "bottom"], agreement) == (90.0, {"fpn": -0.5, "boxes": 4.0, "bottom": 0.0})
    assert asked == [(), ("fpn",), ("boxes",), ("bottom",)]


def test_the_lines_name_what_stayed_in_float32() -> None:
    found = Quantization(pictures=9, float32=("boxes",), all_int8=90, gains={"fpn": -0.5, "boxes": 4}, agreement=94)
    assert lines(found)[1:] == [
        "with one part in float32: fpn -0.5, boxes +4.0",
        "in float32 (1 or more): boxes; PQ 94.0",
    ]


def panoptic(row: list[int], categories: dict[int, int]) -> PanopticMap:
    segments = [Segment(number, category, True, None, 0, None) for number, category in categories.items()]
    return PanopticMap.measured(np.array([row], dtype=np.int32), segments)


def test_agreement_counts_segments_of_all_classes_alike() -> None:
    """IoUs of 1 and 3/4, and one segment missed: 1.75 / 2.5; the mean over the classes would be 43.75."""
    quality = PanopticQuality(numbered_categories(2, 1))
    truth = panoptic([1, 1, 1, 1, 2, 2, 3, 3], {1: 1, 2: 1, 3: 2})
    quality.update(truth, panoptic([1, 1, 1, 0, 2, 2, 0, 0], {1: 1, 2: 1}))
    assert pooled(quality) == pytest.approx(100 * 1.75 / 2.5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_tiny_model_in_int8(tmp_path: Path, generated: Path, engine: Engine) -> None:
    torch.manual_seed(0)
    config = load_config("demo/shapes_r18", TINY)
    model = build_model(config).eval()
    fold_norms(model)  # as loading does: the graph has the weights of the network
    predictor = Predictor(model, config, CocoPanoptic(generated, "val2017").categories)
    pictures = calibration_pictures(generated, "val2017", 2)
    digests = []
    for name in ("first", "second"):
        folder = tmp_path / name
        manifest = export_model(predictor, ExportRequest("a", engine, folder, calibration=pictures))
        assert read_manifest(folder) == manifest and manifest.precision == "int8"
        digests.append(manifest.files)
    assert digests[0] == digests[1]
    found = manifest.quantization
    assert found is not None and found.pictures == 2
    assert set(found.gains) == {
        *("backbone", "fpn", "class tower", "box tower", "classes", "boxes", "centerness", "bottom", "semantic")
    }
    assert (folder / GRAPH_FILES[engine][-1]).stat().st_size < 0.4 * 4 * sum(
        x.numel() for x in predictor.model.parameters()
    )
    assert load(folder, 1).predict(pictures[0]).segment_ids.ndim == 2
    record = json.loads((folder / MANIFEST).read_text())
    assert record["quantization"]["float32"] == list(found.float32)
