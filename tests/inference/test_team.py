"""Several processes of a command give the files of one, and end together, tested with real processes over gloo."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from ranks import Ended, together
from test_predictor import TINY, lively

from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.config.experiment import Config
from panoptic_blend.data.dataset import CocoPanoptic

COUNT = 7


@pytest.fixture(scope="module")
def checkpoint(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of Shapes that remembers where its data are."""
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    categories = CocoPanoptic(generated, "val2017").categories
    counts = f"model.num_things={len(categories.thing_ids)}", f"model.num_stuff={len(categories.stuff_ids)}"
    config = Config().changed([*TINY, *counts, f"data.root={generated}", "data.workers=0"])
    save_checkpoint(path, lively(config).state_dict(), config, categories)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by name but the journal, whose lines are in the order in which pictures were finished."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "journal.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_evaluate_by_two_processes_equals_that_by_one(checkpoint: Path, tmp_path: Path) -> None:
    outputs = []
    for count in (1, 2):
        output = tmp_path / str(count)
        first, *others = together(count, ["evaluate", checkpoint, "-o", output], tmp_path)
        assert first.code == 0, first.said
        assert others == [Ended(0, "")] * (count - 1)
        outputs.append((first.said.replace(str(output), "").removeprefix("running on 2 x cpu\n"), contents(output)))
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0][1]["panoptic_val2017.json"])["annotations"]
    assert len({record["image_id"] for record in json.loads(outputs[0][1]["instances_results.json"])}) == 3


def test_a_cache_made_by_three_processes_equals_that_by_one(checkpoint: Path, tmp_path: Path) -> None:
    samples = []
    for count in (1, 3):
        output = tmp_path / str(count)
        assert together(count, ["cache", checkpoint, output], tmp_path) == [Ended(0, "")] * count
        assert [path.name for path in output.iterdir()] == ["cache.zip"]
        with zipfile.ZipFile(output / "cache.zip") as archive:
            samples.append({name: archive.read(name) for name in archive.namelist()})
    assert samples[0] == samples[1]
    assert list(samples[0]) == ["0.npz", "1.npz", "2.npz", "identity.json"]


def test_predict_continues_with_any_number_of_processes(checkpoint: Path, generated: Path, tmp_path: Path) -> None:
    """Two processes, of which the second is interrupted; three, of which the first is; one. None repeats a picture."""
    photos, command = generated / "train2017", ["predict", checkpoint, generated / "train2017", "-o"]
    plain, output = tmp_path / "plain", tmp_path / "out"
    [alone] = together(1, [*command, plain], tmp_path)
    assert alone.code == 0, alone.said
    said = "interrupted; run the same command again to continue\n"
    seen: dict[str, int] = {}
    for count, interrupt in ((2, (1, 2)), (3, (0, 1))):
        first, *others = together(count, [*command, output], tmp_path, interrupt=interrupt)
        assert first == Ended(130, f"running on {count} x cpu\n{said}")
        assert others == [Ended(0, "")] * (count - 1)
        assert not (output / "panoptic.json").exists()
        now = {path.name: path.stat().st_mtime_ns for path in (output / "pictures").iterdir()}
        assert seen.items() <= now.items()
        lines = [line for path in output.glob("journal*.jsonl") for line in path.read_text().splitlines()]
        seen = {Path(name).name: now[Path(name).name] for name in _drawings(lines)}
    assert 1 <= len(seen) < len(list(photos.iterdir()))
    assert together(1, [*command, output], tmp_path)[0].code == 0
    assert contents(output) == contents(plain)
    assert seen.items() <= {path.name: path.stat().st_mtime_ns for path in (output / "pictures").iterdir()}.items()


def _drawings(lines: list[str]) -> list[str]:
    files = [name for line in map(json.loads, lines) for name in line.get("files", ())]
    return [name for name in files if name.startswith("pictures/")]


def test_an_error_in_one_process_is_one_line(checkpoint: Path, generated: Path, tmp_path: Path) -> None:
    """The last picture, which the second process reads, is broken: evaluate ends, predict goes on and names it."""
    root = Path(shutil.copytree(generated, tmp_path / "shapes"))
    *_, broken = sorted((root / "val2017").iterdir())
    broken.write_bytes(b"no picture")
    evaluated = together(2, ["evaluate", checkpoint, f"data.root={root}"], tmp_path)
    assert evaluated[0].code == 2
    assert evaluated[0].said.splitlines()[1:] == [
        f"error: {broken}: cannot be decoded; it is cut short or not a picture, so fetch it again"
    ]
    assert evaluated[1] == Ended(0, "")
    predicted = together(2, ["predict", checkpoint, root / "val2017", "-o", tmp_path / "out"], tmp_path)
    assert predicted[0].code == 2
    assert predicted[0].said.splitlines()[1].endswith("(1 of 3 pictures failed; the rest is written)")
    assert predicted[1] == Ended(0, "")
    assert len(json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"]) == 2
