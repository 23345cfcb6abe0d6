"""Several result sets with one truth: the same results as separately, with every map of the truth read once."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.failures import in_one_line
from panoptic_blend.formats.images import decode_segment_runs, read_segment_ids, write_segment_ids
from panoptic_blend.scoring import file_pairs
from panoptic_blend.scoring.evaluate_files import detail_files, detail_result_sets
from panoptic_blend.scoring.file_pairs import FilePairs, FilePolicy, iter_images
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
    alone = [[found.table.tolist() for _, found in pairs.comparisons()] for pairs in (first, second)]
    both = iter_images([first, second], lambda pairs: [pair.comparison.table.tolist() for pair in pairs])
    assert alone == [list(tables) for tables in zip(*both, strict=True)] and alone[0] != alone[1]


def test_errors_name_the_broken_file(truth: Path, results: list[tuple[Path, Path]], refused: Refused) -> None:
    (path, folder), name = results[1], next(truth.with_suffix("").iterdir()).name
    shutil.copy(folder / name, folder / "copy.png")
    (folder / name).write_bytes(b"broken")
    assert refused(detail_result_sets, truth, results).startswith(f"{folder / name}: cannot be decoded")
    shutil.move(folder / "copy.png", folder / name)
    path.write_text(json.dumps({"annotations": json.loads(path.read_text())["annotations"][1:]}))
    assert refused(detail_result_sets, truth, results).startswith("2.json: no prediction for image ")


def test_area_mismatches_of_the_truth_are_reported_once(
    truth: Path, results: list[tuple[Path, Path]], refused: Refused
) -> None:
    falsify(truth)
    message = refused(detail_result_sets, truth, results)
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
    first = json.loads(truth.read_text())["images"][0]["file_name"]
    assert str(in_one_line(error.value)) == f"comparing {first}: memory ran out; lower --workers"
