"""A sweep agrees with `evaluate` to the last bit, runs the model only once, and reports how certain a gain is."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_start_method
from pathlib import Path
from signal import SIGKILL
from typing import Any, cast

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.data import workers
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import evaluation_samples
from panoptic_blend.data.regions import Regions
from panoptic_blend.data.targets import target_of_segments
from panoptic_blend.failures import ForeignError
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import read_picture
from panoptic_blend.inference.evaluation import evaluate
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import Category, Cutout, Output, PanopticBlendError, Target
from panoptic_blend.sweep import cache as fusion_cache
from panoptic_blend.sweep import sweep as sweeps
from panoptic_blend.sweep.cache import FusionCache, open_cache
from panoptic_blend.sweep.description import draw_heat_map, lines, table, write_csv
from panoptic_blend.sweep.grid import Grid, Setting
from panoptic_blend.sweep.sweep import BEST, CURRENT, Sweep, best_index, gain_intervals, held_out_pq, qualities, sweep

CATEGORIES = Categories([Category(1, "cat", is_thing=True), Category(2, "sky", is_thing=False)])


class Blurred(nn.Module):
    """Predicts the annotation of one image after the other, but shifted, doubled, partly wrong, with random scores."""

    def __init__(self, dataset: CocoPanoptic, config: Config) -> None:
        super().__init__()
        self.register_buffer("pixel_mean", torch.zeros(3))
        self.register_buffer("weights", torch.zeros(4))
        maps = map(dataset.truth, range(len(dataset)))
        self._targets = (target_of_segments(Regions.of_panoptic(x), dataset.categories) for x in maps)
        self._fusion, self._rng = config.model.fusion.model_dump(), np.random.default_rng(3)

    def predict(self, images: list[Tensor], output_sizes: list[tuple[int, int]]) -> list[Output]:
        target, rng = next(self._targets), self._rng
        masks = [np.roll(m, rng.integers(-3, 4, 2), (0, 1)) for m in instance_masks(target).numpy() for _ in range(2)]
        scores = torch.from_numpy(np.sort(rng.random(len(masks), dtype=np.float32))[::-1].copy())
        labels = target["labels"].repeat_interleave(2)
        semantic = _patched(target, rng)
        cutouts = [Cutout.from_mask(mask) for mask in masks]
        panoptic = paint(cutouts, scores, labels, semantic, **self._fusion)
        boxes = torch.zeros(len(masks), 4)
        return [Output(boxes, scores, labels, cutouts, semantic, panoptic, bases=None, attentions=None)]


def _patched(target: Target, rng: np.random.Generator) -> Tensor:
    """The semantic map with a few squares of other classes, and stuff class 1 instead of 255."""
    semantic = target["semantic"].long().clone()
    semantic[semantic == 255] = 1
    for top, left, stuff in rng.integers(0, [100, 100, 5], (4, 3)):
        semantic[top : top + 12, left : left + 12] = int(stuff)
    return semantic


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoPanoptic:
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, train=0, val=6, seed=5)
    return CocoPanoptic(root, "val2017")


def config(*overrides: str) -> Config:
    return load_config("demo/shapes_r18", ["data.workers=0", *overrides])


def blurred(dataset: CocoPanoptic, *overrides: str) -> Predictor:
    options = config(*overrides)
    return Predictor(cast(PanopticBlend, Blurred(dataset, options)), options, dataset.categories)


def no_run(done: int, total: int) -> None:
    raise AssertionError("the model ran")


def quiet(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def cache(dataset: CocoPanoptic, tmp_path_factory: pytest.TempPathFactory) -> FusionCache:
    return open_cache(tmp_path_factory.mktemp("sweep") / "cache.zip", blurred(dataset), dataset, quiet)


@pytest.fixture(scope="module")
def found(cache: FusionCache, dataset: CocoPanoptic) -> Sweep:
    return sweep(cache, dataset, config(), workers=1)


SETTINGS = [
    Setting(0.2, 0.4, 128),
    Setting(0.45, 0.4, 256),
    Setting(0.5, 0.5, 0),
    Setting(0.7, 0.0, 1024),
    Setting(0.05, 1.0, 64),
]


def test_every_figure_equals_that_of_evaluate(dataset: CocoPanoptic, found: Sweep) -> None:
    by_setting = dict(zip(found.grid.settings(), found.pq.reshape(-1, 3).tolist(), strict=True))
    seen = set()
    for setting in SETTINGS:
        overrides = setting.overrides().split()
        report = evaluate(blurred(dataset, *overrides).model, dataset, config(*overrides)).panoptic
        assert report
        expected = tuple(report[group]["pq"] for group in ("All", "Things", "Stuff"))
        assert tuple(by_setting[setting]) == expected
        seen.add(expected)
    assert len(seen) == len(SETTINGS) and all(0 < pq < 1 for values in seen for pq in values)


def test_highlights_are_the_current_the_published_and_the_best_setting(found: Sweep) -> None:
    assert [(highlight.name, *vars(highlight.setting).values()) for highlight in found.highlights[:-1]] == [
        ("current", 0.2, 0.4, 128),
        ("paper", 0.2, 0.4, 256),
        ("official code", 0.45, 0.4, 256),
        ("detectron2", 0.5, 0.5, 256),
    ]
    current, best = found.highlight(CURRENT), found.highlight(BEST)
    assert best.pq[0] == found.pq[..., 0].max() > current.pq[0]
    assert best.gain == best.pq[0] - current.pq[0]
    assert best.low < best.gain < best.high
    assert (current.gain, current.low, current.high) == (0, 0, 0)


def test_results_do_not_depend_on_the_number_of_processes(
    cache: FusionCache, dataset: CocoPanoptic, found: Sweep
) -> None:
    seen: list[tuple[int, int]] = []
    other = sweep(cache, dataset, config(), workers=2, progress=lambda *step: seen.append(step))
    assert np.array_equal(other.pq, found.pq)
    assert (other.highlights, other.held_out_gain) == (found.highlights, found.held_out_gain)
    assert seen[-1] == (6, 6)


def test_its_processes_end_with_it(
    cache: FusionCache, dataset: CocoPanoptic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "cores", lambda: 2)
    monkeypatch.setattr(workers, "die_with_parent", lambda: (tmp_path / str(os.getpid())).touch())
    sweep(cache, dataset, config(), workers=2, grid=Grid((0.2,), (0.4,), (128,)))
    assert list(tmp_path.iterdir())
    assert not (tmp_path / str(os.getpid())).exists()


@pytest.mark.skipif(get_start_method() != "fork", reason="functions reach a process by fork only")
def test_a_killed_process_ends_a_sweep_in_one_line(
    cache: FusionCache, dataset: CocoPanoptic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    main = os.getpid()

    def die(*given: object) -> None:
        assert os.getpid() != main
        os.kill(os.getpid(), SIGKILL)

    monkeypatch.setattr(sweeps, "count_matches", die)
    with pytest.raises(PanopticBlendError) as error:
        sweep(cache, dataset, config(), workers=2)
    assert str(error.value) == "a fusing process was killed, perhaps because memory ran out; lower --workers"


@pytest.mark.parametrize("number", [1, 2])
def test_memory_that_runs_out_while_fusing_names_the_option(
    cache: FusionCache, dataset: CocoPanoptic, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*given: object) -> None:
        raise MemoryError("3 GiB")

    monkeypatch.setattr(sweeps, "count_matches", fail)
    with pytest.raises(ForeignError) as error:
        sweep(cache, dataset, config(), workers=number)
    assert str(error.value) == "fusing: memory ran out; lower --workers"
    assert "in __getitem__" in error.value.trace


def test_a_model_without_semantic_head_is_ranked_by_its_things(cache: FusionCache, dataset: CocoPanoptic) -> None:
    found = sweep(cache, dataset, config("model.semantic.enabled=false"), workers=1)
    assert found.group == "Things"
    assert found.grid.stuff_areas == (128,)
    assert found.highlight(BEST).pq[1] == found.pq[..., 1].max()


@pytest.mark.parametrize(("objective", "index"), [("pq", 0), ("things", 1), ("stuff", 2)])
def test_the_best_setting_has_the_highest_pq_of_the_objective(
    cache: FusionCache, dataset: CocoPanoptic, objective: Any, index: int, tmp_path: Path
) -> None:
    found = sweep(cache, dataset, config(), workers=1, objective=objective)
    assert found.highlight(BEST).pq[index] == found.pq[..., index].max()
    assert f"gain in {('PQ', 'PQ_Th', 'PQ_St')[index]} over" in list(lines(found))[1]
    draw_heat_map(found, tmp_path / "map.png")


def test_stuff_is_no_objective_without_semantic_head(cache: FusionCache, dataset: CocoPanoptic) -> None:
    with pytest.raises(PanopticBlendError, match="no semantic head; choose things"):
        sweep(cache, dataset, config("model.semantic.enabled=false"), objective="stuff")


def test_what_things_pay_for_stuff_is_warned_of(found: Sweep) -> None:
    current, best = found.highlight(CURRENT), found.highlight(BEST)
    paid = replace(
        found,
        highlights=[replace(current, pq=(0.0023, 0.012, 0.001)), replace(best, pq=(0.0116, 0.0, 0.03))],
    )
    assert list(lines(paid))[3:] == [
        "warning: PQ_Th falls by 100 %, 1.20 -> 0.00; to rank by things, add --objective things",
        "stuff: PQ_St 0.10 -> 3.00",
    ]
    swapped = replace(found, highlights=[replace(current, pq=(0.2, 0.2, 0.2)), replace(best, pq=(0.3, 0.1995, 0.15))])
    assert list(lines(swapped))[3:] == [
        "things: PQ_Th 20.00 -> 19.95",
        "warning: PQ_St falls by 25 %, 20.00 -> 15.00; to rank by stuff, add --objective stuff",
    ]


# The cache


def test_a_cache_is_reused_until_its_identity_changes(dataset: CocoPanoptic, tmp_path: Path) -> None:
    path, said = tmp_path / "cache.zip", list[str]()
    open_cache(path, blurred(dataset), dataset, quiet, said.append)
    again = open_cache(path, blurred(dataset, "model.fusion.confidence=0.7"), dataset, no_run, said.append)
    assert len(again) == len(list(again.read(range(6)))) == 6
    assert said == [f"{path}: does not exist yet, so the model is run", f"{path}: reused"]

    other = blurred(dataset)
    with torch.no_grad():
        other.model.get_buffer("weights")[2] = 1e-7
    for predictor, reason in (
        (other, "was made with other weights"),
        (blurred(dataset, "test.short_side=96"), "was made with other weights and config"),
        (blurred(dataset), "was made with other config"),
    ):
        open_cache(path, predictor, dataset, quiet, said.append)
        assert said[-1] == f"{path}: {reason}, so the model is run"


def test_a_changed_picture_invalidates_the_cache(shapes: Path, tmp_path: Path) -> None:
    path, said = tmp_path / "cache.zip", list[str]()
    data = CocoPanoptic(shapes, "val2017")
    open_cache(path, blurred(data), data, quiet)
    picture = shapes / "val2017" / data.images[1].file_name
    picture.write_bytes(picture.read_bytes() + b" ")
    open_cache(path, blurred(data), data, quiet, said.append)
    assert said == [f"{path}: was made with other data, so the model is run"]


@pytest.mark.parametrize("damage", ["cut short", "a bit", "no zip", "empty", "a member", "a member less"])
def test_a_damaged_cache_is_not_reused(dataset: CocoPanoptic, cache: FusionCache, tmp_path: Path, damage: str) -> None:
    path, said = tmp_path / "cache.zip", list[str]()
    whole = cache.path.read_bytes()
    third = len(whole) // 3
    flipped = whole[:third] + bytes([whole[third] ^ 4]) + whole[third + 1 :]
    contents = {"cut short": whole[:-400], "a bit": flipped, "no zip": b"hello", "empty": b""}
    if damage in contents:
        path.write_bytes(contents[damage])
    else:  # the checksums of the zip are right
        with zipfile.ZipFile(cache.path) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                if name != "2.npz":
                    target.writestr(name, source.read(name))
                elif damage == "a member":
                    target.writestr(name, source.read(name)[:-99])
    open_cache(path, blurred(dataset), dataset, quiet, said.append)
    assert said == [f"{path}: is damaged, so the model is run"]
    open_cache(path, blurred(dataset), dataset, no_run)


@pytest.mark.parametrize("sample", [b"", b"hello", b"\x93NUMPY\x01\x00\x02\x00{}"])
def test_a_cache_with_a_broken_sample_and_right_checksums_is_not_reused(
    dataset: CocoPanoptic, cache: FusionCache, tmp_path: Path, sample: bytes
) -> None:
    path, said = tmp_path / "cache.zip", list[str]()
    with zipfile.ZipFile(cache.path) as whole, zipfile.ZipFile(path, "w") as broken:
        for name in whole.namelist():
            broken.writestr(name, sample if name == "1.npz" else whole.read(name))
    open_cache(path, blurred(dataset), dataset, quiet, said.append)
    assert said == [f"{path}: is damaged, so the model is run"]


def test_an_error_of_the_model_leaves_no_cache(
    dataset: CocoPanoptic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> Iterator[Any]:
        yield next(evaluation_samples(*arguments))
        raise PanopticBlendError("picture 2: broken; restore it")

    monkeypatch.setattr(fusion_cache, "evaluation_samples", broken)
    with pytest.raises(PanopticBlendError, match="picture 2"):
        open_cache(tmp_path / "cache.zip", blurred(dataset), dataset, quiet)
    assert list(tmp_path.iterdir()) == []


# The statistics, by hand


def counts(*rows: tuple[float, int, int, int]) -> np.ndarray:
    """Statistics (classes, 4) of a thing and a stuff class."""
    return np.array(rows, dtype=np.float64)


def test_quality_by_hand() -> None:
    images = [counts((1.5, 2, 1, 1), (0.75, 1, 0, 0)), counts((0, 0, 0, 0), (0, 0, 1, 0)), np.zeros((2, 4))]
    expected = [[(0.5 + 0.75) / 2, 0.5, 0.75], [0, np.nan, 0], [np.nan, np.nan, np.nan]]
    assert np.array_equal(qualities(np.stack(images), CATEGORIES), expected, equal_nan=True)


def test_quality_of_things_without_any_class_of_stuff() -> None:
    things = Categories([Category(1, "cat", is_thing=True)])
    expected = [[0.5, 0.5, np.nan], [np.nan, np.nan, np.nan]]
    images = [[(1, 1, 1, 1)], [(0, 0, 0, 0)]]
    assert np.array_equal(qualities(np.array(images, float), things), expected, equal_nan=True)


def test_ties_go_to_the_setting_nearest_to_the_current_one() -> None:
    grid = Grid((0.1, 0.2, 0.3), (0.4,), (0, 1, 2))
    pq = np.array([5.0, 1, 1, 1, 1, 5, 5, 5, 5])
    assert best_index(pq, grid, current=4) == 5
    assert best_index(pq, grid, current=0) == 0
    assert best_index(np.zeros(9), grid, current=4) == 4


def test_a_gain_in_all_images_is_certain_and_a_gain_in_one_is_not() -> None:
    sky = (0.0, 0, 0, 0)
    plain = counts((0.5, 1, 1, 0), sky)  # PQ 1/3
    same = np.stack([np.stack([plain, plain, counts((0.5, 1, 0, 0), sky)])] * 20)  # the last: PQ 1/2
    assert gain_intervals(same, CATEGORIES, 0) == pytest.approx(np.array([[0, 0], [0, 0], [1 / 6, 1 / 6]]))
    one = same[:, :2].copy()
    one[3, 1] = counts((0.9, 1, 0, 0), sky)
    [_, (low, high)] = gain_intervals(one, CATEGORIES, 0)
    assert low == 0 < high  # a third of the resamples lack image 3


def test_intervals_depend_on_the_seed_alone() -> None:
    ious = np.random.default_rng(0).uniform(0.5, 1, (9, 2, 1))
    per_image = np.stack([np.concatenate([ious, np.ones((9, 2, 1)), np.zeros((9, 2, 2))], axis=-1)] * 2, axis=2)
    first, again, other = (gain_intervals(per_image, CATEGORIES, 0, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert other == pytest.approx(first, abs=0.02)


def test_each_half_is_fused_with_the_best_setting_of_the_other() -> None:
    grid = Grid((0.1, 0.2), (0.4,), (0,))
    hit, miss, none = (2.0**26, 0, 1, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 0)
    halves = np.array([[[hit, none], [miss, none]], [[miss, none], [hit, none]]], dtype=np.float64)
    assert held_out_pq(halves, CATEGORIES, 0, grid, current=0) == 0  # the best setting of one half is the other's worst
    assert held_out_pq(halves[[0, 0]], CATEGORIES, 0, grid, current=0) == 1


# Table, lines, CSV and heat map


def test_all_combinations_are_written(found: Sweep, tmp_path: Path) -> None:
    write_csv(found, tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19 * 11 * 6 > 500
    best = max(rows, key=lambda row: float(row["PQ"]))
    assert float(best["PQ"]) == found.highlight(BEST).pq[0]
    [row] = [r for r in rows if (r["confidence"], r["overlap"], r["stuff_area"]) == ("0.2", "0.4", "128")]
    assert (float(row["PQ"]), float(row["PQ_Th"]), float(row["PQ_St"])) == found.highlight(CURRENT).pq


def test_table_and_lines_name_the_best(found: Sweep) -> None:
    console = Console(width=80, file=(out := io.StringIO()))
    console.print(table(found))
    text = out.getvalue()
    best = found.highlight(BEST)
    for word in ("current", "official code", "0.45/0.4/256", f"{100 * best.pq[0]:.2f}", f"{100 * best.gain:+.2f}"):
        assert word in text
    first, gain, held_out_gain, *trade = lines(found)
    assert trade == [
        f"{name}: {column} {100 * before:.2f} -> {100 * after:.2f}"
        for name, column, before, after in zip(
            ("things", "stuff"), ("PQ_Th", "PQ_St"), found.highlight(CURRENT).pq[1:], best.pq[1:], strict=True
        )
    ]
    assert first == f"best of 1254 combinations: {best.setting.overrides()}"
    assert f"{100 * best.gain:.2f}, of which {100 * (best.gain - max(best.low, 0)):.2f} are within" in gain
    assert held_out_gain.endswith(f"{100 * found.held_out_gain:+.2f}")


def test_no_gain_is_reported_if_the_current_setting_is_best(
    cache: FusionCache, dataset: CocoPanoptic, tmp_path: Path
) -> None:
    found = sweep(cache, dataset, config(), workers=1, grid=Grid((0.2,), (0.4,), (128,)))
    assert list(lines(found))[1:] == ["this is the current setting"]
    assert found.held_out_gain == 0
    draw_heat_map(found, tmp_path / "one.png")  # the published settings lie outside its only cell
    assert read_picture(tmp_path / "one.png").shape == (660, 1560, 3)


def test_the_heat_map_is_a_picture_with_red_outlines(found: Sweep, tmp_path: Path) -> None:
    draw_heat_map(found, tmp_path / "sweep.png")
    picture = read_picture(tmp_path / "sweep.png").astype(int)
    assert picture.shape == (660, 1560, 3)
    is_red = (picture[..., 0] > 240) & (picture[..., 1:].max(axis=2) < 40)
    assert is_red.sum() > 300
