"""Several result sets with one truth: the same results as separately, with every map of the truth read once."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.failures import ForeignError, in_one_line
from panoptic_blend.formats.images import decode_segment_runs, read_segment_ids, write_segment_ids
from panoptic_blend.scoring import file_pairs
from panoptic_blend.scoring.evaluate_files import detail_files, detail_result_sets, evaluate_files
from panoptic_blend.scoring.file_pairs import FilePairs, FilePolicy, Pair, iter_images
from panoptic_blend.structures import Runs

Refused = Callable[..., str]


@pytest.fixture
def truth(shapes: Path) -> Path:
    return shapes / "annotations" / "panoptic_val2017.json"


@pytest.fixture
def results(truth: Path, tmp_path: Path) -> list[tuple[Path, Path]]:
    """Three result sets: the truth moved by some pixels, without areas, with PNGs in unusual folders."""
    found = []
    for shift in (0, 2, 5):
        path, folder = tmp_path / f"{shift}.json", tmp_path / f"PNGs {shift}"
        for png in truth.with_suffix("").iterdir():
            write_segment_ids(folder / png.name, np.roll(read_segment_ids(png), shift, axis=1))
        path.write_text(json.dumps({"annotations": json.loads(truth.read_text())["annotations"]}))
        found.append((path, folder))
    return found


def falsify(path: Path) -> None:
    """Increase the first area of each image by 1."""
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["segments_info"][0]["area"] += 1
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_processes_finds_the_same_to_the_last_bit(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    truth, folder, results = generated / "annotations" / "panoptic_train2017.json", tmp_path / "m", tmp_path / "m.json"
    results.write_text(json.dumps({"annotations": json.loads(truth.read_text())["annotations"]}))
    for png in truth.with_suffix("").iterdir():
        write_segment_ids(folder / png.name, np.roll(read_segment_ids(png), 3, axis=1))
    one = detail_files(truth, results, boundary=True, workers=1)
    monkeypatch.setattr(file_pairs, "MAX_GROUP", 2)
    progress: list[tuple[int, int]] = []
    found = detail_files(truth, results, progress=lambda *at: progress.append(at), boundary=True, workers=workers)
    assert progress == [(number, 7) for number in range(1, 8)]
    assert list(found.segments()) == list(one.segments())
    for report in ({}, {"boundary": True}):
        assert found.compute(**report) == one.compute(**report)
    assert np.array_equal(found.tallies().iou_sum, one.tallies().iou_sum)
    assert evaluate_files(truth, results, workers=workers) == one.compute()


def test_many_images_are_shared_by_all_cores_and_few_are_not(
    truth: Path, results: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = FilePairs(truth, results[0][0], prediction_folder=results[0][1])
    monkeypatch.setattr(file_pairs, "cores", lambda: 2)
    assert set(iter_images([pairs], lambda _: os.getpid())) == {os.getpid()}
    monkeypatch.setattr(file_pairs, "MANY", 3)
    assert os.getpid() not in set(iter_images([pairs], lambda _: os.getpid()))
    monkeypatch.setattr(file_pairs, "can_fork", lambda: False)
    assert set(iter_images([pairs], lambda _: os.getpid())) == {os.getpid()}


@pytest.mark.parametrize("area", ["png", "json"])
def test_results_are_the_same_as_separately(truth: Path, results: list[tuple[Path, Path]], area: str) -> None:
    policy = FilePolicy(area="json" if area == "json" else "png")
    if area == "json":
        falsify(truth)
    together = detail_result_sets(truth, results, policy=policy, boundary=True)
    assert len({details.compute()["All"]["pq"] for details in together}) == 3
    for details, (path, folder) in zip(together, results, strict=True):
        alone = detail_files(truth, path, prediction_folder=folder, policy=policy, boundary=True)
        assert list(details.segments()) == list(alone.segments())
        assert details.compute(boundary=True) == alone.compute(boundary=True)


def test_each_map_is_read_once(truth: Path, results: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()

    def watched(data: bytes, path: str | Path, size: tuple[int, int]) -> Runs:
        read[str(path)] += 1
        return decode_segment_runs(data, path, size)

    monkeypatch.setattr(file_pairs, "decode_segment_runs", watched)
    detail_result_sets(truth, results)
    maps = [png for folder in (truth.with_suffix(""), *(folder for _, folder in results)) for png in folder.iterdir()]
    assert read == {str(png): 1 for png in maps} and len(maps) == 12


def test_each_set_can_be_iterated_separately(truth: Path, results: list[tuple[Path, Path]]) -> None:
    first = FilePairs(truth, results[0][0], prediction_folder=results[0][1])
    second = first.with_results(*results[1])
    assert len(first) == len(second) == 3 and first.categories == second.categories

    def tables(pairs: Sequence[Pair]) -> list[list[list[int]]]:
        return [pair.comparison.table.tolist() for pair in pairs]

    alone = [[table for [table] in iter_images([pairs], tables)] for pairs in (first, second)]
    both = iter_images([first, second], tables)
    assert alone == [list(tables) for tables in zip(*both, strict=True)] and alone[0] != alone[1]


@pytest.mark.parametrize("workers", [1, 3])
def test_errors_name_the_broken_file(
    truth: Path, results: list[tuple[Path, Path]], refused: Refused, workers: int
) -> None:
    detail = partial(detail_result_sets, workers=workers)
    (path, folder), name = results[1], next(truth.with_suffix("").iterdir()).name
    shutil.copy(folder / name, folder / "copy.png")
    (folder / name).write_bytes(b"broken")
    assert refused(detail, truth, results).startswith(f"{folder / name}: cannot be decoded")
    shutil.move(folder / "copy.png", folder / name)
    path.write_text(json.dumps({"annotations": json.loads(path.read_text())["annotations"][1:]}))
    assert refused(detail, truth, results).startswith("2.json: no prediction for image ")


@pytest.mark.parametrize("workers", [1, 3])
def test_area_mismatches_of_the_truth_are_reported_once(
    truth: Path, results: list[tuple[Path, Path]], refused: Refused, workers: int
) -> None:
    falsify(truth)
    message = refused(partial(detail_result_sets, workers=workers), truth, results)
    assert message.count(" in the JSON and ") == 3 and message.startswith("panoptic_val2017.json: stated areas")
    images = json.loads(truth.read_text())["images"]
    assert all(message.count(f"image {image['id']} ") == 1 for image in images)


def test_an_exception_of_a_library_says_at_which_image(
    truth: Path, results: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(file_pairs, "decode_segment_runs", exhausted)
    with pytest.raises(MemoryError) as error:
        detail_result_sets(truth, results)
    with pytest.raises(ForeignError) as same:
        detail_result_sets(truth, results, workers=2)
    assert str(same.value) == str(in_one_line(error.value)) and "MemoryError" in same.value.trace
    first = json.loads(truth.read_text())["images"][0]["file_name"]
    assert str(in_one_line(error.value)) == f"comparing {first}: memory ran out; lower --workers"
