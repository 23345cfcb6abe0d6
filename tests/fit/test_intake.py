"""Folders of labeled pictures become data sets with a training and a validation split."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.splits import open_training, open_validation
from panoptic_blend.fit.intake import prepare


def test_the_splits_of_a_data_set_are_found_and_opened_by_its_options(generated: Path, tmp_path: Path) -> None:
    prepared = prepare(generated, tmp_path)
    assert (prepared.train, prepared.val, prepared.remarks) == ("train2017", "val2017", ())
    config = load_config("demo/shapes_r18", prepared.overrides())
    assert [len(open_training(config).dataset), len(open_validation(config).dataset)] == [7, 3]
    assert not list(tmp_path.iterdir())
