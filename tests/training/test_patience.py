"""The early end of a run, by hand and in a run whose weights hardly move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend import load_config
from panoptic_blend.checkpoints.states import read_state
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.metrics.details import Tallies
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import Category
from panoptic_blend.training.log import read_log
from panoptic_blend.training.loop import train
from panoptic_blend.training.patience import Patience, require_comparable


def tallies(*ious: float) -> Tallies:
    """Images with one matched segment of a single class each."""
    column = np.array(ious)[:, None]
    ones, zeros = np.ones_like(column), np.zeros_like(column)
    return Tallies(tuple(range(len(ious))), (Category(1, "cat", True),), column, ones, zeros, zeros)


def waited(*evaluations: Sequence[float], limit: int = 2) -> list[tuple[int, int, bool]]:
    """What a patience says after each evaluation, when the run is interrupted after each one, so takes it twice."""
    state: dict[str, object] = {}
    found = []
    for iteration, ious in enumerate(evaluations, start=1):
        patience = Patience(limit, state)
        patience.follow(iteration, tallies(*ious))
        patience = Patience(limit, patience.state_dict(iteration))
        patience.follow(iteration, tallies(*ious))
        found.append((patience.waited, patience.best_iteration, patience.is_over))
        state = patience.state_dict(iteration + 1)
    return found


def test_evaluations_without_gain_are_counted_by_paired_intervals() -> None:
    best, worse, equal = [0.8] * 8, [0.7] * 8, [0.8] * 8
    unsure = [0.9, 0.6] * 4  # its mean is lower, but its interval reaches above zero
    better = [0.85] * 8
    assert waited(best, worse, equal) == [(0, 1, False), (1, 1, False), (2, 1, True)]
    assert waited(best, worse, unsure, worse) == [(0, 1, False), (1, 1, False), (0, 1, False), (1, 1, False)]
    assert waited(best, worse, better, best) == [(0, 1, False), (1, 1, False), (0, 3, False), (1, 3, False)]


def test_the_gain_is_that_over_the_best() -> None:
    patience = Patience(2, {})
    assert patience.follow(1, tallies(*[0.8] * 8)) is None
    patience.follow(2, tallies(*[0.5] * 8))
    gain = patience.follow(3, tallies(*[0.6] * 8))
    assert gain is not None
    assert (gain.value, gain.low, gain.high) == pytest.approx((-0.2, -0.2, -0.2))


def test_a_split_without_intervals_is_refused(generated: Path, refused: Callable[..., str]) -> None:
    assert refused(require_comparable, CocoPanoptic(generated, "val2017")) == (
        "train.patience needs 6 validation images for an interval, and panoptic_val2017.json has 3; leave it out"
    )
    require_comparable(CocoPanoptic(generated, "train2017"))


def test_a_run_ends_early_and_does_so_again_when_it_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shapes(tmp_path / "data", train=2, val=6, seed=7)
    tiny = [
        "model.fpn.channels=32",
        "model.fcos.num_convs=1",
        "model.bottom.channels=32",
        "model.semantic.channels=32",
        "model.backbone.depth=14",
    ]
    tiny += ["data.short_sides=[64]", "test.short_side=64", "train.batch_size=2", "train.rescale=false"]
    tiny += ["train.precision=32-true", "train.warmup_iterations=0", "train.lr=1e-12", "train.iterations=3"]
    tiny += ["train.evaluate_every=1", "train.patience=1", "model.backbone.norm=frozen_bn", "train.steps=[]"]
    config = load_config("demo/shapes_r18", [*tiny, f"data.root={tmp_path / 'data'}"])
    output = tmp_path / "run"
    monkeypatch.setattr("panoptic_blend.training.loop.draw_curves", lambda folder: None)
    for resume in (False, True):
        train(config, output, resume)
        assert (
            "stopped at iteration 2 of 3: 1 evaluations in a row without gain of PQ over iteration 1; the best weights "
            "are in best.safetensors\n"
        ) in capsys.readouterr().out
        assert read_state(output / "state_000000002.pt")["patience"]["best_iteration"] == 1
        gains = [record for record in read_log(output) if "PQ_gain" in record]
        assert gains == [{"iteration": 2, "PQ_gain": 0, "PQ_gain_low": 0, "PQ_gain_high": 0}]


def test_patience_needs_evaluations() -> None:
    with pytest.raises(Exception, match="patience=2 needs evaluations during training; set evaluate_every"):
        load_config("demo/shapes_r18", ["train.patience=2"])
