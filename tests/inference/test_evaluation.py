"""Evaluation of a perfect and of an empty model, by hand; agreement of categories; choice of the arithmetic."""

from __future__ import annotations

import json
import math
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import EvaluationSample
from panoptic_blend.data.protocol import Sample
from panoptic_blend.data.regions import Regions
from panoptic_blend.data.targets import target_of_segments
from panoptic_blend.failures import in_one_line
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.instance_results import read_instance_results
from panoptic_blend.inference.evaluation import _Scores, evaluate, require_same_categories
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_conversion import output_instances, true_instances
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.postprocessing.fusion import fuse
from panoptic_blend.runtime import precision
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import (
    Category,
    Cutout,
    Detections,
    Output,
    PanopticBlendError,
    PanopticMap,
    Segment,
)


class Oracle(nn.Module):
    """Predicts the annotation of one image after the other, or nothing if ``is_silent``."""

    def __init__(self, dataset: CocoPanoptic, is_silent: bool = False) -> None:
        super().__init__()
        self.register_buffer("pixel_mean", torch.zeros(3))
        maps = map(dataset.truth, range(len(dataset)))
        self._targets = (target_of_segments(Regions.of_panoptic(x), dataset.categories) for x in maps)
        self._is_silent = is_silent

    def predict(self, images: list[Tensor], output_sizes: list[tuple[int, int]]) -> list[Output]:
        assert not self.training
        target = next(self._targets)
        count = 0 if self._is_silent else len(target["labels"])
        detections = Detections(
            target["boxes"][:count],
            torch.linspace(0.9, 0.5, count),
            target["labels"][:count],
            instance_masks(target)[:count],
        )
        semantic = target["semantic"].long() * (not self._is_silent)
        semantic[semantic == 255] = 0
        panoptic = fuse(detections, semantic, stuff_area=1)
        cutouts = [Cutout.from_mask(mask.numpy()) for mask in detections.masks]
        found = detections.boxes, detections.scores, detections.labels, cutouts
        return [Output(*found, semantic=semantic, panoptic=panoptic, bases=None, attentions=None)]


EMPTY, VOID = torch.zeros(0), PanopticMap(np.zeros((2, 2), np.int32), [])
NOTHING = Output(EMPTY.reshape(0, 4), EMPTY, EMPTY.long(), [], torch.zeros(2, 2).long(), VOID, None, None)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoPanoptic:
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, train=0, val=12, seed=5)
    return CocoPanoptic(root, "val2017")


def run(model: Any, dataset: CocoPanoptic, *overrides: str, **options: Any) -> dict[str, float]:
    config = load_config("demo/shapes_r18", ["data.workers=0", *overrides])
    return evaluate(cast(PanopticBlend, model), dataset, config, **options).columns()


def test_perfect_predictions_score_one_everywhere(dataset: CocoPanoptic, tmp_path: Path) -> None:
    model = Oracle(dataset).train()
    seen: list[tuple[int, int]] = []
    columns = run(model, dataset, results=tmp_path / "r.json", progress=lambda done, total: seen.append((done, total)))
    assert columns == pytest.approx(dict.fromkeys(columns, 1.0))
    assert list(columns) == ["PQ", "SQ", "RQ", "PQ_Th", "PQ_St", "mIoU", "AP_box", "AP_Th"]
    assert model.training, "the training mode is restored"
    assert seen == [(i, 12) for i in range(1, 13)]
    assert len(list((tmp_path / "r").glob("*.png"))) == 12


def test_an_instance_model_has_the_columns_of_things(dataset: CocoPanoptic) -> None:
    columns = run(Oracle(dataset), dataset, "model.semantic.enabled=false")
    assert columns == pytest.approx({"AP_box": 1.0, "AP_Th": 1.0, "PQ_Th": 1.0})
    assert [*columns] == ["AP_box", "AP_Th", "PQ_Th"]


def test_all_detections_are_written_as_coco_takes_them(dataset: CocoPanoptic, tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    expected = run(Oracle(dataset), dataset, "model.fusion.confidence=1", instance_results=path)
    sizes = dict(zip(dataset.images.ids, dataset.images.sizes, strict=True))
    results = read_instance_results(path, sizes, dataset.categories.thing_ids, "truth")
    assert results.has_masks and len(results.images) == 12
    metric = AveragePrecision(dataset.categories)
    for index, image in enumerate(dataset.images.ids):
        metric.update(dataset.truth(index), results.of(image), image)
    found = metric.compute()
    assert found.mask
    assert (found.box.ap, found.mask.ap) == (expected["AP_box"], expected["AP_Th"])
    [first, *_] = json.loads(path.read_text())
    assert [*first] == ["image_id", "category_id", "bbox", "score", "segmentation"]
    assert all(0.5 <= record["score"] <= 1 for record in json.loads(path.read_text()))


class WithInstances(CocoPanoptic):
    """Annotates the things of the maps as instances; they have other areas than their masks, so that all are large."""

    has_maps = True

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        assert sample.panoptic
        instances = true_instances(sample.panoptic, self.categories.thing_ids)
        large = replace(instances, areas=np.full(len(instances), 1e4))
        return replace(sample, instances=large, panoptic=sample.panoptic if self.has_maps else None)


def test_the_truth_of_ap_is_the_annotation_of_instances_where_there_is_one(dataset: CocoPanoptic) -> None:
    other = copy(dataset)
    other.__class__ = WithInstances
    for has_maps in (True, False):
        other.has_maps = has_maps  # type: ignore[attr-defined]
        config = load_config("demo/shapes_r18", ["data.workers=0"])
        found = evaluate(cast(PanopticBlend, Oracle(dataset)), other, config)
        assert found.instance_truth == "instances"
        assert found.figures()["AP_L"] == pytest.approx(1)
        assert math.isnan(found.figures()["AP_S"])
        assert found.best_by() == pytest.approx(("pq" if has_maps else "ap", 1.0))
        assert "PQ" in found.columns() if has_maps else [*found.columns()] == ["AP_box", "AP_Th"]
        titles = [str(table.title) for table in found.tables(per_class=True)]
        assert "Average precision (truth: instances)" in titles
        assert titles[-1] == "Classes by mask (truth: instances)"
        assert ("Panoptic quality" in titles) == has_maps


def test_images_of_one_data_set_have_the_same_annotations(dataset: CocoPanoptic) -> None:
    first, second = _Scores(dataset.categories), _Scores(dataset.categories)
    pixels = torch.zeros(3, 2, 2, dtype=torch.uint8)
    for scores, image, instances in ((first, 1, None), (second, 2, true_instances(VOID, ()))):
        scores.update(
            EvaluationSample(image, "a.jpg", pixels, pixels, VOID, instances), NOTHING, output_instances(NOTHING, [1])
        )
    assert first.evaluation(is_semantic=True).instance_truth == "panoptic"
    first.merge(second)
    with pytest.raises(PanopticBlendError, match="different annotations"):
        first.evaluation(is_semantic=True)


def test_empty_predictions_score_zero(dataset: CocoPanoptic) -> None:
    columns = run(Oracle(dataset, is_silent=True), dataset)
    assert columns["PQ"] == columns["AP_box"] == columns["AP_Th"] == columns["RQ"] == 0.0
    assert 0 < columns["mIoU"] < 0.2, "every pixel is predicted to be a thing, and some are"


def test_iou_of_things_alone_and_ap_without_things_are_no_figures() -> None:
    """Everything is a thing, stuff, or void."""
    categories = Categories([Category(1, "cat", is_thing=True), Category(2, "sky", is_thing=False)])
    things, stuff, void = (
        PanopticMap(np.full((2, 2), bool(segments), np.int32), segments)
        for segments in ([Segment(1, 1, True, None, 4, None)], [Segment(1, 2, False, None, 4, None)], [])
    )
    pixels = torch.zeros(3, 2, 2, dtype=torch.uint8)
    for truth, expected in ((things, (math.nan, 0.0)), (stuff, (0.0, math.nan)), (void, (math.nan, math.nan))):
        scores = _Scores(categories)
        scores.update(EvaluationSample(1, "1.jpg", pixels, pixels, truth), NOTHING, output_instances(NOTHING, [1]))
        found = scores.evaluation(is_semantic=True)
        assert found.instances.mask
        assert (found.mean_iou, found.instances.mask.ap) == pytest.approx(expected, nan_ok=True)


def test_categories_must_agree(dataset: CocoPanoptic) -> None:
    def made(*records: tuple[int, bool]) -> Categories:
        return Categories(Category(i, str(i), is_thing) for i, is_thing in records)

    other = copy(dataset)
    other.categories = made((5, False), (1, True))
    require_same_categories(made((1, True), (5, False)), other)
    for records, difference in (
        ([(1, True), (7, True)], "id 5, '5', is not in the data set"),
        ([(1, True), (5, False), (3, True)], "id 3, '3', is not in the model"),
        ([(1, True), (5, True)], "id 5 is a thing here and stuff in the model"),
    ):
        other.categories = made(*records)
        with pytest.raises(PanopticBlendError) as error:
            require_same_categories(made((1, True), (5, False)), other)
        assert str(error.value) == (
            f"{dataset.paths.json}: its categories are not the model's: {difference}; "
            "use a data set with the model's categories, or train on this one"
        )
    other.categories = Categories([Category(1, "1", True), Category(5, "grass", False)])
    with pytest.raises(PanopticBlendError, match=r"id 5 is 'grass' here and '5' in the model; use a data set"):
        require_same_categories(made((1, True), (5, False)), other)


def test_precision_auto_depends_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for has_bf16, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(precision, "_processor_has_bf16", lambda answer=has_bf16: answer)
        assert precision.resolve("auto", cpu) == expected
        assert precision.resolve("32-true", cpu) == "32-true"
        with precision.autocast("auto", cpu):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == (torch.bfloat16 if has_bf16 else torch.float32)
        np.testing.assert_array_equal(product.float(), np.full((2, 2), 2.0))


@pytest.mark.parametrize(
    ("vendor", "flags", "is_fast"),
    [
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("GenuineIntel", "avx512_bf16 amx_bf16", True),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx512f", False),
    ],
)
def test_which_processors_compute_faster_in_bf16(vendor: str, flags: str, is_fast: bool) -> None:
    cpuinfo = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu sse2 {flags}\n"
    assert precision.fast_bf16(cpuinfo) == is_fast


def test_scoring_while_a_gpu_runs_the_network_changes_nothing(
    dataset: CocoPanoptic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(depth: int) -> tuple[dict[str, float], list[str], dict[str, bytes]]:
        monkeypatch.setattr("panoptic_blend.inference.evaluation._queue_depth", lambda model: depth)
        folder, seen = tmp_path / str(depth), list[str]()
        folder.mkdir()
        files = {"results": folder / "r.json", "instance_results": folder / "i.json"}
        columns = run(Oracle(dataset), dataset, watch=lambda sample, output: seen.append(sample.file_name), **files)
        return columns, seen, {path.name: path.read_bytes() for path in folder.rglob("*.*")}

    in_turn = found(0)
    assert in_turn[1] == list(dataset.images.file_names) and len(in_turn[2]) == 14
    assert found(3) == in_turn


def test_an_exception_of_a_library_says_at_which_image(dataset: CocoPanoptic) -> None:
    class Failing(Oracle):
        def predict(self, images: list[Tensor], output_sizes: list[tuple[int, int]]) -> list[Output]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError) as error:
        run(Failing(dataset), dataset)
    first = dataset.images.file_names[0]
    assert str(in_one_line(error.value)) == (
        f"evaluating {first}: memory ran out; lower test.short_side or test.long_side"
    )
