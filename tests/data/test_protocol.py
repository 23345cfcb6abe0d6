"""A user-defined data set in memory works for training, evaluation and sweep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.protocol import PanopticDataset, Sample
from panoptic_blend.formats.categories import Categories
from panoptic_blend.inference.predictor import load
from panoptic_blend.structures import Category, PanopticMap, Segment, Size
from panoptic_blend.sweep.cache import open_cache
from panoptic_blend.sweep.sweep import sweep
from panoptic_blend.training.initialization import LAST
from panoptic_blend.training.loop import train

SIDE = 64


@dataclass(frozen=True)
class Table:
    """An `ImageTable` of lists."""

    ids: list[int]
    file_names: list[str]
    sizes: list[Size]


class Squares:
    """Images of a bright square on a dark ground, in memory; image i is called ``i.png``."""

    annotation = None

    def __init__(self, number: int, name: str = "squares") -> None:
        self.name = name
        self.images = Table(list(range(number)), [f"{i}.png" for i in range(number)], [(SIDE, SIDE)] * number)
        self.categories = Categories([Category(3, "square", True), Category(7, "ground", False)])

    def __len__(self) -> int:
        return len(self.images.ids)

    def __getitem__(self, index: int) -> Sample:
        corner, ids = 4 * (index % 8), np.full((SIDE, SIDE), 2, dtype=np.int32)
        ids[corner : corner + 32, corner : corner + 32] = 1
        image = torch.from_numpy((ids == 1) * np.uint8(200)).expand(3, SIDE, SIDE).contiguous()
        segments = [Segment(1, 3, True, None, 0, None), Segment(2, 7, False, None, 0, None)]
        return Sample(index, f"{index}.png", image, PanopticMap.measured(ids, segments))

    def version(self) -> Iterator[bytes]:
        yield f"{self.name} {len(self)}".encode()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ["model.fpn.channels=32", "model.semantic.channels=32", "model.bottom.channels=32", "data.workers=2"]
    options += ["data.short_sides=[64]", "test.short_side=64", "train.batch_size=2", "train.rescale=false"]
    options += ["train.iterations=2", "train.precision=32-true", "model.fusion.stuff_area=0", "data.root=nowhere"]
    output = tmp_path_factory.mktemp("squares")
    data: tuple[PanopticDataset, PanopticDataset] = Squares(4), Squares(3, "others")
    evaluation = train(load_config("demo/shapes_r18", options), output, datasets=data)
    assert evaluation.panoptic["All"]["n"] == 2
    return output


def test_a_trained_model_has_the_categories_of_the_data_set(finished: Path) -> None:
    predictor = load(finished / LAST)
    assert [(c.id, c.name) for c in predictor.categories] == [(3, "square"), (7, "ground")]
    assert (finished / "results" / "panoptic_val2017" / "2.png").exists()


def test_a_sweep_runs_the_model_again_for_another_version_of_the_data(finished: Path, tmp_path: Path) -> None:
    predictor = load(finished / LAST)
    said: list[str] = []
    for name in ("a", "a", "b"):
        data = Squares(3, name)
        cache = open_cache(tmp_path / "cache.zip", predictor, data, lambda done, total: None, said.append)
        assert len(sweep(cache, data, predictor.config, workers=1).highlights) == 5
    assert [line.partition(": ")[2] for line in said] == [
        "does not exist yet, so the model is run",
        "reused",
        "was made with other data, so the model is run",
    ]
