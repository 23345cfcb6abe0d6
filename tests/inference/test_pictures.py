"""Prediction of pictures: after any interruption the results equal those of a plain loop, and no work is repeated."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killable_predict import finish
from test_predictor import CATEGORIES, CONFIG, lively

from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.drawing.overlay import draw
from panoptic_blend.formats.images import read_picture, read_segment_ids, write_picture
from panoptic_blend.formats.instance_results import result_records
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.inference.predictor import Predictor, load
from panoptic_blend.metrics.instance_conversion import output_instances
from panoptic_blend.prediction import picture_jobs, pictures
from panoptic_blend.prediction.find_pictures import find_pictures
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]
COUNT = 7


def predict_pictures(predictor: Predictor, inputs: list[Path], *arguments: Any, **options: Any) -> int:
    return pictures.predict_pictures(predictor, find_pictures(inputs)[0], *arguments, **options)


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
    output, every = tmp_path / "plain", list[dict[str, Any]]()
    with PanopticWriter(output / "panoptic.json", categories=CATEGORIES) as writer:
        for path in sorted(photos.iterdir()):
            picture = read_picture(path)
            found = predictor.output(picture)
            panoptic = found.panoptic
            writer.add(int(path.stem), path.name, panoptic)
            records = [*result_records(int(path.stem), output_instances(found, CATEGORIES.thing_ids))]
            assert len(records) == len(found.boxes) > 0
            every += records
            (output / "instances").mkdir(exist_ok=True)
            (output / "instances" / f"{path.stem}.json").write_text(json.dumps(records))
            write_picture(output / "pictures" / f"{path.stem}.jpg", draw(picture, panoptic, CATEGORIES))
    lines = ",\n".join(map(json.dumps, every))
    (output / "instances_results.json").write_text(f"[\n{lines}\n]\n")
    return contents(output)


def contents(folder: Path) -> dict[str, bytes]:
    """Every result by name, without the journal, whose lines are in the order in which images were finished."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "journal.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def noted(folder: Path) -> dict[str, int]:
    """Modification times of the files in the journal, by name."""
    lines = (folder / "journal.jsonl").read_text().splitlines()[1:]
    files = [name for line in lines for name in json.loads(line)["files"]]
    return {name: (folder / name).stat().st_mtime_ns for name in files if (folder / name).exists()}


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
    assert len(plain) == 3 * COUNT + 2
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
        assert len(after) >= len(before) + 3 * (at if is_noted else at - 1)
        before = after
        with (output / "journal.jsonl").open("a") as journal:
            journal.write('{"source": "half a li')
        (output / "panoptic" / ".x.99.part.png").touch()
    assert finish(command, errors) == 0
    assert contents(output) == plain
    assert before.items() <= noted(output).items()
    assert noted(output).keys() == plain.keys() - {"panoptic.json", "instances_results.json"}


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


ENDS = ("panoptic", ".png"), ("instances", ".json"), ("pictures", ".jpg")


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
    assert f"(1 of {COUNT} pictures failed; the rest is written)" in message
    assert len(json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"]) == COUNT - 1
    broken.write_bytes(whole)
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert predict_pictures(predictor, [photos], tmp_path / "out", ignore) == COUNT
    assert contents(tmp_path / "out") == plain


def failing(monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException, name: str, predictor: Predictor) -> None:
    """Make one step of `predict_pictures` raise an exception for one picture."""
    current: list[str] = []
    read = read_picture

    def noting(path: Path) -> Any:
        current[:] = [path.name]
        return read(path)

    def raising(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if current == [name]:
                raise error
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(pictures, "read_picture_at", noting)
    place, attribute = {
        "read": (predictor, "prepare"),
        "predict": (predictor, "run"),
        "save": (PanopticWriter, "save"),
        "draw": (pictures, "draw"),
        "write": (pictures, "write_picture"),
    }[step]
    monkeypatch.setattr(place, attribute, raising(getattr(place, attribute)))


@pytest.mark.parametrize("step", ["read", "predict", "save", "draw", "write"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory ran out; lower "),
        (ValueError("not foreseen"), "ValueError: not foreseen"),
        (PanopticBlendError("broken; restore it"), "broken; restore it"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), "x: File name too long"),
    ],
)
def test_a_picture_that_fails_in_any_step_costs_only_itself_and_the_next_run_makes_it(
    predictor: Predictor,
    photos: Path,
    tmp_path: Path,
    plain: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Exception,
    said: str,
) -> None:
    bad, output = sorted(photos.iterdir())[2], tmp_path / "out"
    with monkeypatch.context() as patched:
        failing(patched, step, error, bad.name, predictor)
        with pytest.raises(PanopticBlendError) as failure:
            predict_pictures(predictor, [photos], output, ignore)
    assert said in str(failure.value)
    assert f"(1 of {COUNT} pictures failed; the rest is written)" in str(failure.value)
    assert isinstance(error, (PanopticBlendError, OSError)) or bad.name in str(failure.value)
    assert (output / "failures.txt").read_text().startswith(str(failure.value).split(" (1 of")[0])
    has_map = step in {"draw", "write"}
    assert len(json.loads((output / "panoptic.json").read_text())["images"]) == COUNT - 1 + has_map
    times = noted(output)
    assert len(times) == 3 * (COUNT - 1)
    assert predict_pictures(predictor, [photos], output, ignore) == COUNT
    assert contents(output) == plain, "the list of failures is gone too"
    assert times.items() <= noted(output).items()


@pytest.mark.parametrize("step", ["save", "write"])
def test_a_full_disk_is_no_failure_of_a_picture(
    predictor: Predictor, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "out")
    failing(monkeypatch, step, full, sorted(photos.iterdir())[2].name, predictor)
    with pytest.raises(OSError, match="No space left"):
        predict_pictures(predictor, [photos], tmp_path / "out", ignore)
    assert len(noted(tmp_path / "out")) == 3 * 2
    assert not (tmp_path / "out" / "panoptic.json").exists()


def test_all_failures_are_listed_in_a_file(predictor: Predictor, photos: Path, tmp_path: Path) -> None:
    first, second, *_ = sorted(photos.iterdir())
    first.write_bytes(b"no picture")
    second = second.rename(photos / "two\nlines.jpg")
    with pytest.raises(PanopticBlendError) as failure:
        predict_pictures(predictor, [photos], tmp_path / "out", ignore)
    listed = tmp_path / "out" / "failures.txt"
    lines = listed.read_text().splitlines()
    assert str(failure.value) == f"{lines[0]} (2 of {COUNT} pictures failed, all in {listed}; the rest is written)"
    assert lines[0].startswith(f"{first}: cannot be decoded")
    assert "two\\nlines" in lines[1]
    assert len(lines) == 2


def test_pictures_of_one_stem_both_have_results(predictor: Predictor, photos: Path, tmp_path: Path) -> None:
    first, second, *others = sorted(photos.iterdir())
    first.rename(photos / "a.jpg")
    (photos / "sub").mkdir()
    second.rename(photos / "sub" / "b.jpg")
    write_picture(photos / "a.png", read_picture(others[0]))
    found, _ = find_pictures([photos], recursive=True)
    assert pictures.predict_pictures(predictor, found, tmp_path / "out", ignore) == COUNT + 1
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    names = {
        image["file_name"]: annotation["file_name"]
        for image, annotation in zip(content["images"], content["annotations"], strict=True)
    }
    assert names["a.jpg"] == "a.jpg.png"
    assert names["a.png"] == "a.png.png"
    assert names["sub/b.jpg"] == "sub/b.png"
    for name, png in names.items():
        ids = predictor.predict(read_picture(photos / name)).segment_ids
        assert np.array_equal(read_segment_ids(tmp_path / "out" / "panoptic" / png), ids)


def test_an_output_folder_that_is_deleted_meanwhile_is_an_error(
    predictor: Predictor, photos: Path, tmp_path: Path, refused: Refused, plain: dict[str, bytes]
) -> None:
    output = tmp_path / "out"

    def delete(done: int, total: int) -> None:
        if done == 3:
            shutil.rmtree(output)

    message = refused(predict_pictures, predictor, [photos], output, delete)
    assert message.startswith(f"{output / 'panoptic'}")
    assert message.endswith(".png: was removed after it was written; run the command again, with --overwrite")
    assert not (output / "panoptic.json").exists()
    assert predict_pictures(predictor, [photos], output, ignore, overwrite=True) == COUNT
    assert contents(output) == plain


def test_a_result_that_is_deleted_meanwhile_is_made_by_the_next_run(
    predictor: Predictor, photos: Path, tmp_path: Path, refused: Refused, plain: dict[str, bytes]
) -> None:
    output = tmp_path / "out"

    def delete(done: int, total: int) -> None:
        if done == 3:
            min((output / "panoptic").iterdir()).unlink()

    assert refused(predict_pictures, predictor, [photos], output, delete).endswith("run the same command again")
    times = noted(output)
    assert predict_pictures(predictor, [photos], output, ignore) == COUNT
    assert contents(output) == plain
    assert len(times.items() & noted(output).items()) == 3 * (COUNT - 1)


def test_a_nested_journal_is_no_journal(
    predictor: Predictor, photos: Path, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    predict_pictures(predictor, [photos], output, ignore)
    lines = (output / "journal.jsonl").read_text().splitlines()
    entry = json.loads(lines[1])
    nested = json.dumps(entry | {"image": {"id": 0}}).replace('{"id": 0}', '{"a":' * 600 + "1" + "}" * 600)
    (output / "journal.jsonl").write_text("\n".join([lines[0], nested, *lines[2:]]) + "\n")
    assert predict_pictures(predictor, [photos], output, ignore) == COUNT
    assert contents(output) == plain


def test_a_journal_with_the_name_of_no_possible_file_is_not_believed(
    predictor: Predictor, photos: Path, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    predict_pictures(predictor, [photos], output, ignore)
    first, second, *lines = (output / "journal.jsonl").read_text().splitlines()
    entry = json.loads(second) | {"files": {"x" * 5000: 1}}
    (output / "journal.jsonl").write_text("\n".join([first, json.dumps(entry), *lines]) + "\n")
    assert predict_pictures(predictor, [photos], output, ignore) == COUNT
    assert contents(output) == plain


@pytest.mark.parametrize(
    ("stems", "ids"),
    [
        (["000000000139", "000000000285"], [139, 285]),
        (["000012", "a"], [12, 1]),
        (["1", "a", "b", "3"], [1, 2, 4, 3]),
        (["000012", "12", "7"], [1, 2, 7]),  # two files with one number
        (["a"], [1]),
        (["20260101123456789", "9" * 30, "1"], [2, 3, 1]),  # no readers' ids are so large
    ],
)
def test_image_ids_are_the_numbers_that_are_names(stems: list[str], ids: list[int]) -> None:
    assert picture_jobs._image_ids(stems) == ids


def test_a_name_that_is_not_utf_8_is_predicted_too(predictor: Predictor, photos: Path, tmp_path: Path) -> None:
    name = "lat\udce9.png"  # OpenCV would end the process if it saw this name
    write_picture(photos / name, np.zeros((20, 30, 3), np.uint8))
    found, _ = find_pictures([photos / name])
    assert pictures.predict_pictures(predictor, found, tmp_path / "out", lambda done, total: None) == 1
    assert (tmp_path / "out" / "panoptic" / name).exists()


def test_pictures_of_a_list_and_elsewhere_are_predicted_and_continued(
    predictor: Predictor, photos: Path, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    """Half of them by address; one file is missing, one address leads nowhere, and one is of no known kind."""
    system = pytest.importorskip("fsspec").filesystem("memory")
    paths = sorted(photos.iterdir())
    for path in paths[:3]:
        system.pipe(f"/predict/{path.name}", path.read_bytes())
        path.unlink()
    lines = [*(f"memory://predict/{path.name}" for path in paths[:3]), *(path.name for path in paths[3:])]
    broken = ["missing.jpg", "memory://predict/nothing.jpg", "nowhere://a.jpg"]
    listed, output = photos / "list.txt", tmp_path / "out"
    listed.write_text("\n".join([*lines, *broken]))
    found, _ = find_pictures([], listed=listed)
    with pytest.raises(PanopticBlendError, match=f"missing.jpg: no such file.*3 of {COUNT + 3} pictures failed"):
        pictures.predict_pictures(predictor, found, output, ignore)
    failures = (output / "failures.txt").read_text().splitlines()
    assert [line.partition(": ")[0] for line in failures] == [str(photos / "missing.jpg"), *broken[1:]]
    listed.write_text("\n".join(lines))
    system.rm("/predict", recursive=True)  # what is finished is not fetched again
    found, _ = find_pictures([], listed=listed)
    with pytest.raises(PanopticBlendError, match="also has results of"):
        pictures.predict_pictures(predictor, found[1:], output, ignore)
    assert pictures.predict_pictures(predictor, found, output, ignore) == COUNT
    assert contents(output) == plain
