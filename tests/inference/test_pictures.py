"""Prediction of pictures: after any interruption the results equal those of a plain loop, and no work is repeated."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from killable_predict import finish
from test_predictor import CATEGORIES, CONFIG, lively

from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.drawing.overlay import draw
from panoptic_blend.formats.images import read_picture, write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.inference.pictures import predict_pictures
from panoptic_blend.inference.predictor import Predictor, load

Refused = Callable[..., str]
COUNT = 7


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_checkpoint(path, lively(CONFIG).state_dict(), CONFIG, CATEGORIES)
    return path


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return load(checkpoint)


@pytest.fixture
def photos(generated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(generated / "train2017", tmp_path / "photos"))


@pytest.fixture
def plain(predictor: Predictor, photos: Path, tmp_path: Path) -> dict[str, bytes]:
    """The results of a loop without threads and without a journal."""
    output = tmp_path / "plain"
    with PanopticWriter(output / "panoptic.json", categories=CATEGORIES) as writer:
        for path in sorted(photos.iterdir()):
            picture = read_picture(path)
            panoptic = predictor.predict(picture)
            writer.add(int(path.stem), path.name, panoptic)
            write_picture(output / "pictures" / f"{path.stem}.jpg", draw(picture, panoptic, CATEGORIES))
    return contents(output)


def contents(folder: Path) -> dict[str, bytes]:
    """Every result by name, without the journal, whose lines are in the order in which images were finished."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "journal.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def noted(folder: Path) -> dict[str, int]:
    """Modification times of the files in the journal, by name."""
    lines = (folder / "journal.jsonl").read_text().splitlines()[1:]
    return {name: (folder / name).stat().st_mtime_ns for line in lines for name in json.loads(line)["files"]}


def ignore(done: int, total: int) -> None:
    """Show no progress."""


def count_of(calls: list[int]) -> Callable[[int, int], None]:
    return lambda done, total: calls.append(done)


def test_results_equal_those_of_a_plain_loop(
    predictor: Predictor, photos: Path, plain: dict[str, bytes], tmp_path: Path
) -> None:
    calls: list[int] = []
    assert predict_pictures(predictor, [photos], tmp_path / "out", count_of(calls)) == COUNT
    assert contents(tmp_path / "out") == plain
    assert len(plain) == 2 * COUNT + 1
    assert calls == list(range(COUNT + 1))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_continues_where_it_stopped(
    checkpoint: Path, photos: Path, plain: dict[str, bytes], tmp_path: Path, number: signal.Signals
) -> None:
    output, errors = tmp_path / "out", tmp_path / "errors.txt"
    command = [checkpoint, photos, "-o", output]
    before: dict[str, int] = {}
    for at, is_noted in ((2, False), (1, True)):
        code = finish(command, errors, number=int(number), at=at, noted=is_noted)
        said = errors.read_text()
        if number == signal.SIGINT:
            assert code == 130
            assert said == "interrupted; run the same command again to continue\n"
        else:
            assert (code, said) == (-number, "")
        assert not (output / "panoptic.json").exists(), "a JSON that exists is complete"
        after = noted(output)
        assert before.items() <= after.items(), "images in the journal are not predicted again"
        assert len(after) >= len(before) + 2 * (at if is_noted else at - 1)
        before = after
        with (output / "journal.jsonl").open("a") as journal:
            journal.write('{"source": "half a li')
        (output / "panoptic" / ".x.99.part.png").touch()
    assert finish(command, errors) == 0
    assert contents(output) == plain
    assert before.items() <= noted(output).items()
    assert noted(output).keys() == plain.keys() - {"panoptic.json"}


def test_finished_images_are_not_predicted_again(
    predictor: Predictor, photos: Path, plain: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    predict_pictures(predictor, [photos], output, ignore)
    times = noted(output)
    calls: list[int] = []
    assert predict_pictures(predictor, [photos], output, count_of(calls)) == COUNT
    assert calls == [COUNT]
    assert contents(output) == plain
    assert noted(output) == times


def test_changed_images_and_results_are_predicted_again(predictor: Predictor, photos: Path, tmp_path: Path) -> None:
    first, second, third, *others = sorted(photos.iterdir())
    output = tmp_path / "out"
    predict_pictures(predictor, [photos], output, ignore)
    times = noted(output)
    shutil.copy(others[0], first)
    (output / "panoptic" / f"{second.stem}.png").unlink()
    (output / "pictures" / f"{third.stem}.jpg").write_bytes(b"cut short")
    shutil.copy(third, photos / "more.jpg")  # not a number, so image ids are 1, 2, ... now
    predict_pictures(predictor, [photos], output, ignore)
    predict_pictures(predictor, [photos], tmp_path / "anew", ignore)
    assert contents(output) == contents(tmp_path / "anew")
    same = {name for name, time in noted(output).items() if times.get(name) == time}
    assert same == {f"{folder}/{path.stem}{end}" for path in others for folder, end in ENDS}
    assert [image["id"] for image in json.loads((output / "panoptic.json").read_text())["images"]] == [*range(1, 9)]


ENDS = ("panoptic", ".png"), ("pictures", ".jpg")


def test_other_results_are_not_mixed_in(
    predictor: Predictor, photos: Path, tmp_path: Path, refused: Refused, plain: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    predict_pictures(predictor, [photos], output, ignore)

    def refusal(other: Predictor) -> str:
        return refused(predict_pictures, other, [photos], output, ignore)

    model, config = predictor.model, predictor.config
    assert "made with other options" in refusal(
        Predictor(model, config.changed(["model.fusion.confidence=0.9"]), CATEGORIES)
    )
    assert "made with other precision" in refusal(Predictor(model, config, CATEGORIES, "bf16-mixed"))
    other = Predictor(lively(CONFIG), config, CATEGORIES)
    assert "made with other weights" in refusal(other)
    one = sorted(photos.iterdir())[0]
    assert "also has results of" in refused(predict_pictures, predictor, [one], output, ignore)
    assert contents(output) == plain
    same = Predictor(model, config.changed(["train.lr=0.5", "data.root=elsewhere"]), CATEGORIES)
    assert predict_pictures(same, [photos], output, ignore) == COUNT, "options without effect on results may differ"

    assert predict_pictures(other, [one], output, ignore, overwrite=True) == 1
    predict_pictures(other, [one], tmp_path / "anew", ignore)
    assert contents(output) == contents(tmp_path / "anew"), "the old results are removed"


@pytest.mark.parametrize("journal", [None, "", "no JSON\n", "[1]\n", '{"some": "other file"}\n'])
def test_files_that_are_not_in_a_journal_are_not_overwritten(
    predictor: Predictor, photos: Path, tmp_path: Path, refused: Refused, journal: str | None
) -> None:
    (tmp_path / "pictures").mkdir()
    old = tmp_path / "pictures" / f"{next(photos.iterdir()).stem}.jpg"
    old.write_bytes(b"mine")
    if journal is not None:
        (tmp_path / "journal.jsonl").write_text(journal)
    assert f"{old}: already exists" in refused(predict_pictures, predictor, [photos], tmp_path, ignore)
    assert old.read_bytes() == b"mine"
    assert predict_pictures(predictor, [photos], tmp_path, ignore, overwrite=True) == COUNT
    assert old.read_bytes() != b"mine"


def test_a_foreign_journal_cannot_lead_out_of_the_folder(
    predictor: Predictor, photos: Path, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    output, mine = tmp_path / "out", tmp_path / "mine.txt"
    mine.write_bytes(b"mine")
    predict_pictures(predictor, [photos], output, ignore)
    journal = output / "journal.jsonl"
    first, second, *lines = journal.read_text().splitlines()
    entry = json.loads(second)
    changes: list[dict[str, object]] = [{"files": 3}, {"image": None}, {"more": 1}, {"source": []}]
    broken = [entry | change for change in changes]
    out = entry | {"files": {"../mine.txt": 4}}
    journal.write_text("\n".join([first, *map(json.dumps, [*broken, out]), *lines]))
    with pytest.raises(Exception, match="leads out of its folder"):
        predict_pictures(predictor, [photos], output, ignore)
    journal.write_text("\n".join([first, *map(json.dumps, broken), *lines]))
    predict_pictures(predictor, [photos], output, ignore)
    assert contents(output) == plain
    assert mine.read_bytes() == b"mine"


def test_a_broken_picture_is_read_again_by_the_next_run(
    predictor: Predictor, photos: Path, tmp_path: Path, plain: dict[str, bytes], refused: Refused
) -> None:
    broken = sorted(photos.iterdir())[2]
    whole, times = broken.read_bytes(), broken.stat()
    broken.write_bytes(whole[:100])
    message = refused(predict_pictures, predictor, [photos], tmp_path / "out", ignore)
    assert f"{broken}: cannot be decoded" in message
    assert f"(1 of {COUNT} pictures skipped; the rest is written)" in message
    assert len(json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"]) == COUNT - 1
    broken.write_bytes(whole)
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert predict_pictures(predictor, [photos], tmp_path / "out", ignore) == COUNT
    assert contents(tmp_path / "out") == plain
