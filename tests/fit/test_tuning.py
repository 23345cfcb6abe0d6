"""Tuning on one half and judging on the other, by hand; what is written; and splits that are too small for it."""

from __future__ import annotations

import math
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from panoptic_blend.checkpoints.io import read_checkpoint, read_figure, save_checkpoint
from panoptic_blend.config.experiment import Config
from panoptic_blend.config.model_options import Calibration
from panoptic_blend.fit import scores, tuning
from panoptic_blend.fit.tuning import UNTUNED, Judgment, composed, tune
from panoptic_blend.formats.categories import Categories
from panoptic_blend.inference.predictor import load
from panoptic_blend.models.build import build_model
from panoptic_blend.models.calibration import calibrate
from panoptic_blend.structures import Category, Cutout, Runs, Segment
from panoptic_blend.sweep.cache import FusionCache, FusionSample
from panoptic_blend.sweep.grid import Setting
from panoptic_blend.sweep.sweep import Highlight
from panoptic_blend.training.initialization import BEST

CATEGORIES = Categories([Category(7, "cat", True), Category(9, "sky", False)])
LEFT, RIGHT = slice(0, 5), slice(5, 10)
CONFIG = Config().changed(["model.num_things=1", "model.num_stuff=1", "model.fusion.stuff_area=1"])


def sample(cat: slice, *found: tuple[float, slice]) -> FusionSample:
    """A cat in one half of the picture and sky in the other; detections of cats; a model that sees sky everywhere."""
    truth = np.full((10, 10), 2, np.int32)
    truth[:, cat] = 1
    return FusionSample(
        scores=np.array([score for score, _ in found], np.float32),
        labels=np.zeros(len(found), np.uint8),
        cutouts=[Cutout(np.ones((10, 5), bool), 0, half.start) for _, half in found],
        semantic=Runs.from_pixels(np.ones((10, 10), np.uint8)),
        truth=Runs.from_pixels(truth),
        segments=[Segment(1, 7, True, None, 50, None), Segment(2, 9, False, None, 50, None)],
    )


class Images:
    """As much of a data set as tuning asks for."""

    name, annotation, categories = "images", None, CATEGORIES

    def __init__(self, number: int, panoptic: object = True) -> None:
        self.images, self._panoptic = SimpleNamespace(sizes=[(10, 10)] * number), panoptic

    def __len__(self) -> int:
        return len(self.images.sizes)

    def __getitem__(self, index: int) -> Any:
        return SimpleNamespace(panoptic=self._panoptic)


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tune a checkpoint whose model gives these samples; even ones are tuned on if the halves are to be ``known``."""
    save_checkpoint(tmp_path / BEST, {"w": torch.arange(3.0)}, CONFIG, CATEGORIES, {"pq": 0.25})
    monkeypatch.setattr(scores, "ENOUGH", 6)
    monkeypatch.setattr(tuning, "ENOUGH", 6)

    def tuned(samples: list[FusionSample], known: bool = False, images: Images | None = None) -> tuning.Tuned:
        path = tmp_path / "cache.zip"
        with zipfile.ZipFile(path, "w") as file:
            for number, item in enumerate(samples):
                file.writestr(f"{number}.npz", item.pack())
        monkeypatch.setattr(tuning, "load", lambda *_, **__: None)
        monkeypatch.setattr(tuning, "open_cache", lambda *_: FusionCache(path, range(len(samples))))
        if known:
            halves = [list(range(start, len(samples), 2)) for start in (0, 1)]
            monkeypatch.setattr(tuning, "_halves", lambda *_: halves)
        return tune(tmp_path / BEST, images or Images(len(samples)), tmp_path, workers=1)  # type: ignore[arg-type]

    return tuned


def test_scores_and_thresholds_are_tuned_and_judged_on_other_images(tuned: Any, tmp_path: Path) -> None:
    # of the two detections, the better one is right, and the other one hides the sky
    found = tuned([sample(LEFT, (0.45, LEFT), (0.3, RIGHT))] * 12)
    assert found.reliability.detections == 12
    # mean scores of 0.45 and 0.3 where all and none are right; then, by Platt's targets, 7/8 and 1/8
    assert found.reliability.before == pytest.approx((0.55 + 0.3) / 2)
    assert found.reliability.after == pytest.approx(1 / 8, abs=1e-3)
    # cat: 6 TP and 6 FP, sky: missed; then both perfect
    assert (found.judgment.images, found.judgment.group) == (6, "All")
    assert found.judgment.before.pq == pytest.approx((1 / 3, 2 / 3, 0)) and found.judgment.after.pq == (1, 1, 1)
    assert found.judgment.after.gain == pytest.approx(2 / 3)
    assert found.judgment.after.low > 0.6
    assert 1 / 8 < found.setting.confidence < 7 / 8
    assert found.remarks[0] == (
        "scores are calibrated, so that of detections with a score of 0.7 about 70 % are right: "
        "error 42.5 % before and 12.5 % after, on 12 other detections"
    )
    assert found.remarks[1].startswith("thresholds of the fusion are tuned on 6 images: +66.7 PQ (")

    best, untuned = read_checkpoint(tmp_path / BEST), read_checkpoint(tmp_path / UNTUNED)
    assert untuned.config == CONFIG
    assert Setting.from_options(best.config.model.fusion) == found.setting
    assert best.config.model.calibration == found.calibration
    assert best.config.changed([*Setting.from_options(CONFIG.model.fusion).overrides().split(),
        "model.calibration.temperature=1", "model.calibration.bias=0"]) == CONFIG  # fmt: skip
    # a finished training that is evaluated again must not replace it
    assert read_figure(tmp_path / BEST, "pq") == read_figure(tmp_path / UNTUNED, "pq") == 0.25


def test_tuning_again_gives_the_same_and_newer_weights_are_tuned_anew(tuned: Any, tmp_path: Path) -> None:
    samples = [sample(LEFT, (0.45, LEFT), (0.3, RIGHT))] * 12
    first = tuned(samples)
    config = read_checkpoint(tmp_path / BEST).config
    assert tuned(samples) == first
    assert read_checkpoint(tmp_path / BEST).config == config != CONFIG
    assert read_checkpoint(tmp_path / UNTUNED).config == CONFIG
    other = CONFIG.changed(["model.fusion.overlap=0.5"])
    save_checkpoint(tmp_path / BEST, {"w": torch.zeros(3)}, other, CATEGORIES)
    assert tuned(samples).setting.overlap == 0.5
    assert read_checkpoint(tmp_path / UNTUNED).config == other


def test_what_is_worse_on_the_other_half_is_not_used(tuned: Any) -> None:
    # on the half that is judged, the detection with the lower score is right
    pair = [sample(LEFT, (0.45, LEFT), (0.3, RIGHT)), sample(RIGHT, (0.45, LEFT), (0.3, RIGHT))]
    found = tuned(pair * 6, known=True)
    assert (found.setting, found.calibration) == (Setting.from_options(CONFIG.model.fusion), Calibration())
    assert found.reliability.before == found.reliability.after == pytest.approx((0.45 + 0.7) / 2)
    assert found.judgment.after.gain < 0
    assert found.remarks[0].startswith("scores stay as they were, as calibration makes them worse: error 57.5 % before")
    assert found.remarks[1].startswith("thresholds of the fusion stay as they were: the best ones of 6 images gain -")


def test_thresholds_that_stay_move_with_the_scores(tuned: Any) -> None:
    # any threshold gives this map, so the one of training stays
    found = tuned([sample(LEFT, (0.7, LEFT)), sample(LEFT, (0.7, LEFT), (0.1, LEFT))] * 6, known=True)
    moved = calibrate(torch.tensor(0.2).double(), **found.calibration.model_dump()).item()
    assert found.setting == replace(Setting.from_options(CONFIG.model.fusion), confidence=round(moved, 6))


def test_small_splits_and_weak_models_are_told(tuned: Any, tmp_path: Path) -> None:
    own = Setting.from_options(CONFIG.model.fusion)
    one = [sample(LEFT, (0.45, LEFT), (0.3, RIGHT))]
    for number in (1, 11):
        found = tuned(one * number)
        assert (found.setting, found.calibration, found.judgment, found.reliability) == (own, Calibration(), None, None)
        assert found.remarks == (
            f"thresholds and scores are not tuned: {number} validation images are too few to choose on one half and "
            "judge on the other; label 12 or more",
        )
    assert read_checkpoint(tmp_path / BEST).config == read_checkpoint(tmp_path / UNTUNED).config == CONFIG
    [line] = tuned(one * 12, images=Images(12, panoptic=None)).remarks
    assert "no panoptic annotation" in line

    some = tuned([*one * 6, *[sample(LEFT)] * 6])  # enough to choose thresholds, but not to calibrate
    assert (some.calibration, some.reliability, some.judgment.images) == (Calibration(), None, 6)
    assert some.judgment.after.gain > 0 and some.setting.confidence > 0.3
    assert "of 4 detections to learn it from, 2 are right and 2 wrong, and 6 of each are needed" in some.remarks[0]
    nothing = tuned([sample(LEFT)] * 12)
    assert nothing.judgment.before.pq == nothing.judgment.after.pq
    assert nothing.remarks[1] == "thresholds of the fusion stay as they were: no others are better"


def test_a_loss_of_things_is_told() -> None:
    before = Highlight("current", Setting(0.2, 0.4, 1), (0.3, 0.1, 0.5), 0, 0, 0)
    after = replace(before, name="best", pq=(0.35, 0.02, 0.68))
    assert tuning._losses(Judgment(6, "All", before, after)) == [
        "the tuned thresholds gain by stuff and lose by things: PQ of things 10.0 -> 2.0; untuned.safetensors has the "
        "thresholds of training"
    ]
    assert tuning._losses(Judgment(6, "All", before, replace(after, pq=(0.35, 0.1, math.nan)))) == []


def test_calibrations_compose() -> None:
    first, second = Calibration(temperature=2, bias=0.5), Calibration(temperature=0.7, bias=-1)
    scores = torch.tensor([0.1, 0.5, 0.9]).double()
    twice = calibrate(calibrate(scores, **first.model_dump()), **second.model_dump())
    assert calibrate(scores, **composed(first, second).model_dump()).tolist() == pytest.approx(twice.tolist())


def test_predictions_of_a_tuned_checkpoint_are_those_of_its_settings(tmp_path: Path) -> None:
    config = CONFIG.changed(["model.backbone.depth=18", "model.fpn.channels=32", "test.short_side=64"])
    torch.manual_seed(0)
    model = build_model(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "class_logits" in name:
                value.mul_(60 if name.endswith("weight") else 0.3)
    save_checkpoint(tmp_path / BEST, model.state_dict(), config, CATEGORIES)
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    plain = load(tmp_path / BEST).output(picture)
    setting, calibration = Setting(0.9, 0.1, 5), Calibration(temperature=0.5, bias=0.3)
    tuning._write(tmp_path / BEST, tmp_path, tuning.Tuned(setting, calibration, None, None, ()))
    predictor = load(tmp_path / BEST)
    scores = predictor.output(picture).scores
    assert torch.equal(scores, calibrate(plain.scores, 0.5, 0.3)) and scores[0] > scores[-1]
    assert predictor.model.paint.keywords == vars(setting)  # type: ignore[attr-defined]
    assert read_checkpoint(tmp_path / UNTUNED).config == config
