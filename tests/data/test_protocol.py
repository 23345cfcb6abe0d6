"""A user-defined data set in memory works for training, evaluation and sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.protocol import PanopticDataset, Sample, read_sample
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
    options = [
        "model.fpn.channels=32",
        "model.semantic.channels=32",
        "model.backbone.depth=14",
        "model.bottom.channels=32",
        "data.workers=2",
    ]
    options += ["data.short_sides=[64]", "test.short_side=64", "train.batch_size=2", "train.rescale=false"]
    options += ["train.iterations=2", "train.precision=32-true", "model.fusion.stuff_area=0", "data.root=nowhere"]
    output = tmp_path_factory.mktemp("squares")
    data: tuple[PanopticDataset, PanopticDataset] = Squares(4), Squares(3, "others")
    evaluation = train(load_config("demo/shapes_r18", options), output, datasets=data)
    assert evaluation.panoptic
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


def test_a_sweep_of_data_without_panoptic_annotation_says_what_to_do(
    finished: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    predictor = load(finished / LAST, overrides=["data.workers=0"])  # the error would keep processes alive
    data = Broken(lambda sample: replace(sample, panoptic=None))
    message = refused(open_cache, tmp_path / "cache.zip", predictor, data, lambda done, total: None)
    assert message == (
        "0.png: has no panoptic annotation, which this needs; make one with `panoptic-blend data convert "
        "coco-instances`"
    )


class Broken(Squares):
    """Squares whose samples are changed on the way out."""

    def __init__(self, change: Callable[[Sample], Sample]) -> None:
        super().__init__(2)
        self._change = change

    def __getitem__(self, index: int) -> Sample:
        return self._change(super().__getitem__(index))


def with_segment(sample: Sample, category: int, is_thing: bool) -> Sample:
    segments = [Segment(1, category, is_thing, None, 0, None), sample.panoptic_truth().segments[1]]
    return replace(sample, panoptic=PanopticMap(sample.panoptic_truth().segment_ids, segments))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: replace(s, image=s.image.numpy()), "its pixels are ndarray, not a uint8 tensor (3, H, W)"),
        (lambda s: replace(s, image=s.image.float()), "its pixels are torch.float32 of shape (3, 64, 64), not a uint8"),
        (lambda s: replace(s, image=s.image[:1]), "its pixels are torch.uint8 of shape (1, 64, 64), not a uint8"),
        (lambda s: replace(s, image=s.image.permute(1, 2, 0)), "torch.uint8 of shape (64, 64, 3), not a uint8"),
        (lambda s: replace(s, image=s.image[:, :50]), "its pixels have the size (50, 64), but the image table says"),
        (
            lambda s: replace(s, panoptic=PanopticMap(s.panoptic.segment_ids[:, :50], s.panoptic.segments)),
            "its segment ids have the size (64, 50), but the image table says (64, 64)",
        ),
        (lambda s: with_segment(s, 4, True), "segment 1 has category 4, which is unknown"),
        (lambda s: with_segment(s, 3, False), "segment 1 has category 3, which is a thing"),
        (lambda s: with_segment(s, 7, True), "segment 1 has category 7, which is a stuff class"),
    ],
)
def test_a_sample_that_contradicts_itself_is_refused(
    change: Callable[[Sample], Sample], problem: str, refused: Callable[..., str]
) -> None:
    message = refused(read_sample, Broken(change), 1)
    assert message.startswith("squares: image 1: ")
    assert problem in message
    assert read_sample(Squares(2), 1).image_id == 1
