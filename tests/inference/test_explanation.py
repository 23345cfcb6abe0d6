"""What a model's results are made of: the parts give the results, whatever parts a model has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from panoptic_blend import build_model, load_config
from panoptic_blend.drawing.explanation import SHOWN_SIDES, Explanation
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import Picture, write_picture
from panoptic_blend.inference.explained_pictures import explain_pictures
from panoptic_blend.inference.explanation import explain
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.prediction.find_pictures import FoundPicture
from panoptic_blend.prediction.sharing import ALONE
from panoptic_blend.shapes.dataset import CATEGORIES

TINY = (
    *("model.num_things=6", "model.num_stuff=4", "model.fpn.channels=32", "model.bottom.channels=32"),
    *("model.semantic.channels=32", "test.short_side=64", "test.long_side=96"),
)
ALL_SCORES = "model.fcos.score_threshold=0"
WITHOUT = {
    "attentions": ["model.blender.merge=assemble", "model.bottom.num_bases=16", "model.blender.attention_size=4"],
    "kernels": ["model.blender.merge=convolve"],
    "a semantic head": ["model.semantic.enabled=false"],
    "instances": ["model.fcos.score_threshold=0.999"],
}


def predictor(*overrides: str) -> Predictor:
    """A model with random weights that finds many instances."""
    torch.manual_seed(1)
    config = load_config("demo/shapes_r18", [*TINY, ALL_SCORES, *overrides])
    return Predictor(build_model(config), config, Categories(CATEGORIES))


@pytest.fixture(scope="module")
def photo() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def blended(photo: Picture) -> tuple[Predictor, Explanation]:
    model = predictor()
    return model, explain(model, photo, [4, 2])


def test_the_results_are_those_of_a_prediction(blended: tuple[Predictor, Explanation], photo: Picture) -> None:
    model, found = blended
    output = model.output(photo)
    assert list(found.detections) == [2, 4] and found.remarks == []
    assert len(found.titles) == len(output.scores) > 4
    np.testing.assert_array_equal(found.boxes, output.boxes.numpy())
    np.testing.assert_array_equal(found.panoptic.segment_ids, output.panoptic.segment_ids)
    assert found.semantic is not None
    np.testing.assert_array_equal(found.semantic.segment_ids, output.semantic.numpy() + 1)
    for number, one in found.detections.items():
        assert one.score == pytest.approx(float(output.scores[number - 1]))
        np.testing.assert_array_equal(one.mask, output.masks[number - 1].numpy())
        assert one.title == f"{number} {CATEGORIES[output.labels[number - 1]].name} {one.score:.2f}"


def test_the_parts_give_the_score_and_the_mask(blended: tuple[Predictor, Explanation]) -> None:
    for one in blended[1].detections.values():
        parts, origin = one.parts, one.parts.origin
        assert (
            origin is not None and origin.quality is not None and parts.crops is not None and parts.weights is not None
        )
        assert one.score == pytest.approx((origin.probability * origin.quality) ** 0.5, rel=1e-5)
        stride = {"p3": 8, "p4": 16, "p5": 32}[origin.level]
        assert origin.stride == stride
        assert origin.point[0] == pytest.approx((origin.column * stride + stride // 2) * 80 / 96)
        assert parts.weights.sum(axis=0) == pytest.approx(1, abs=1e-5)
        blended_by_hand = 1 / (1 + np.exp(-(parts.weights * parts.crops).sum(axis=0)))
        np.testing.assert_allclose(parts.probabilities, blended_by_hand, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "formula"),
    [
        (["model.fcos.quality=iou"], r"sqrt\(class 0\.\d+ x IoU 0\.\d+\)"),
        (["model.fcos.quality=joint"], r"class 0\.\d+"),
        (["model.blender.rescoring=maskness"], r"sqrt\(class 0\.\d+ x center-ness 0\.\d+\) x mask [01]\.\d+"),
    ],
)
def test_what_a_score_was_computed_from(options: list[str], formula: str, photo: Picture) -> None:
    for one in explain(predictor(*options), photo, best=3).detections.values():
        origin = one.parts.origin
        assert origin is not None and re.fullmatch(formula, origin.formula)
        value = origin.probability if origin.quality is None else (origin.probability * origin.quality) ** 0.5
        assert one.score == pytest.approx(value * (1 if origin.factor is None else origin.factor), rel=1e-5)


def test_drawings(blended: tuple[Predictor, Explanation]) -> None:
    figures = blended[1].figures()
    assert set(figures) == {"classes.png", "bases.png", "attentions.png", "detection_2.png", "detection_4.png"}
    side = SHOWN_SIDES[0]  # to which the longer side of 80 pixels is enlarged
    assert figures["classes.png"].shape[1] == 4 * side + 3 * 6
    assert figures["bases.png"].shape[1] == 6 * side + 5 * 6
    assert all(np.ptp(picture) > 100 for picture in figures.values())


def test_a_detection_that_is_not_there(
    blended: tuple[Predictor, Explanation], photo: Picture, refused: Callable[..., str]
) -> None:
    model, found = blended
    count = len(found.titles)
    message = refused(explain, model, photo, [1, count + 1])
    assert message == f"instance {count + 1} of {count} cannot be explained; choose numbers from 1 to {count}"
    assert "instance 0 of" in refused(explain, model, photo, [0])


@pytest.mark.parametrize("part", WITHOUT)
def test_what_a_model_does_not_have_is_said(part: str, photo: Picture) -> None:
    found = explain(predictor(*WITHOUT[part]), photo, best=1)
    [remark] = found.remarks
    figures = found.figures()
    if part in ("attentions", "kernels"):
        assert ("without attentions" if part == "attentions" else "kernels, which are not drawn") in remark
        assert set(figures) == {"classes.png", "bases.png", "detection_1.png"}
    elif part == "a semantic head":
        assert "no semantic head" in remark and found.semantic is None
        assert figures["classes.png"].shape[1] == 3 * SHOWN_SIDES[0] + 2 * 6
    else:
        assert "no instance was found" in remark and found.detections == {}
        assert set(figures) == {"classes.png", "bases.png"}


def test_drawings_of_another_model_do_not_stay(photo: Picture, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", photo)
    found = [FoundPicture(tmp_path / "a.png", "a.png", "a")]
    for name in ("attentions.png", "detection_9.png", "notes.png"):
        write_picture(tmp_path / "a" / name, photo)
    explain_pictures(predictor(*WITHOUT["attentions"]), found, tmp_path, [1], lambda *_: None, ALONE)
    written = {path.name for path in (tmp_path / "a").iterdir()}
    assert written == {"classes.png", "bases.png", "detection_1.png", "notes.png"}


def test_mask_rcnn_has_masks_only(photo: Picture) -> None:
    torch.manual_seed(1)
    rules = {"score_threshold": 0, "head_channels": 32, "mask_channels": 32, "detections_per_image": 3}
    small = [f"model.mask_rcnn.{key}={value}" for key, value in rules.items()]
    config = load_config("panoptic/panoptic_fpn_r50_3x", [*TINY, "model.backbone.depth=18", *small])
    found = explain(Predictor(build_model(config), config, Categories(CATEGORIES)), photo, best=1)
    assert found.remarks == ["Mask R-CNN finds masks without bases, attentions and locations"]
    assert found.bases is None and found.detections[1].parts.origin is None
    assert set(found.figures()) == {"classes.png", "detection_1.png"}
