"""The command line on real files: results, and bad input that ends in one line and exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import pytest

from panoptic_blend import build_model, load_config
from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.cli.main import main
from panoptic_blend.files import locked
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import read_picture
from panoptic_blend.formats.videos import writing_video
from panoptic_blend.shapes.dataset import CATEGORIES, write_shapes

SMALL = [
    "model.fpn.channels=32",
    "model.semantic.channels=32",
    "model.backbone.depth=14",
    "model.bottom.channels=32",
    "data.workers=0",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a folder")
    write_shapes(folder, train=2, val=2)
    return folder


@pytest.fixture(scope="module")
def weights(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained model for Shapes."""
    counts = ["model.num_things=6", "model.num_stuff=4", f"data.root={root}"]
    config = load_config("demo/shapes_r18", [*SMALL, *counts, "model.fusion.stuff_area=0"])
    path = tmp_path_factory.mktemp("weights") / "shapes.safetensors"
    save_checkpoint(path, build_model(config).state_dict(), config, Categories(CATEGORIES))
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of ``panoptic-blend ...``."""
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def error_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on standard error of a command that must fail with exit code 2."""
    assert run(monkeypatch, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def test_ground_truth_as_prediction_scores_100(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    truth = root / "annotations" / "panoptic_val2017.json"
    assert run(monkeypatch, "pq", truth, truth, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["All"]["pq"] == report["Things"]["sq"] == report["Stuff"]["rq"] == 1.0
    assert run(monkeypatch, "pq", truth, truth) == 0
    assert "100.0" in capsys.readouterr().out


def test_pq_and_draw_read_the_output_of_predict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, weights: Path, tmp_path: Path
) -> None:
    assert run(monkeypatch, "predict", weights, root / "val2017", "--output", tmp_path) == 0
    result = tmp_path / "panoptic.json"
    ids = [annotation["image_id"] for annotation in json.loads(result.read_text())["annotations"]]
    truth = root / "annotations" / "panoptic_val2017.json"
    assert ids == [image["id"] for image in json.loads(truth.read_text())["images"]]
    assert run(monkeypatch, "pq", truth, result) == 0
    assert run(monkeypatch, "draw", result, root / "val2017", "--output", tmp_path / "drawn", "--scale", 2) == 0
    for name in (path.stem for path in (root / "val2017").iterdir()):
        photo, drawn = (
            cv2.imread(str(root / "val2017" / f"{name}.jpg")),
            cv2.imread(str(tmp_path / f"drawn/{name}.jpg.png")),
        )
        assert photo is not None
        assert drawn is not None
        assert drawn.shape == (2 * photo.shape[0], 2 * photo.shape[1], 3)
        assert (tmp_path / "pictures" / f"{name}.jpg").exists()


def test_evaluate_prints_the_columns_and_keeps_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path
) -> None:
    assert run(monkeypatch, "evaluate", weights, "--output", tmp_path, "--per-class") == 0
    printed = capsys.readouterr().out
    for column in ("PQ", "SQ", "RQ", "PQ_Th", "PQ_St", "mIoU", "AP_box", "AP_Th", "Things", "Stuff", "AR100"):
        assert column in printed
    assert "Classes by mask (truth: panoptic)" in printed
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["instances_results.json", "panoptic_val2017.json"]


def test_annotations_and_photos_are_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path, root: Path, tmp_path: Path
) -> None:
    annotations = root / "annotations"
    truth = annotations / "panoptic_val2017.json"
    before = truth.read_bytes()
    assert "the data set's own annotation" in error_of(monkeypatch, capsys, "evaluate", weights, "-o", annotations)
    assert truth.read_bytes() == before
    photo = tmp_path / "pictures" / "photo.jpg"
    photo.parent.mkdir()
    photo.write_bytes(next((root / "val2017").iterdir()).read_bytes())
    before = photo.read_bytes()
    assert "would be overwritten" in error_of(monkeypatch, capsys, "predict", weights, photo, "-o", tmp_path)
    assert photo.read_bytes() == before


def test_two_runs_cannot_predict_into_one_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path, root: Path, tmp_path: Path
) -> None:
    with locked(tmp_path / "out"):
        message = error_of(monkeypatch, capsys, "predict", weights, root / "val2017", "-o", tmp_path / "out")
    assert "another process is using this folder" in message
    assert "journal.jsonl" not in {path.name for path in tmp_path.rglob("*")}


def test_a_broken_picture_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path, root: Path, tmp_path: Path
) -> None:
    for name, source in zip(("1.jpg", "01.jpg"), sorted((root / "val2017").iterdir()), strict=True):
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "0.png").write_text("no picture")
    message = error_of(monkeypatch, capsys, "predict", weights, tmp_path, "-o", tmp_path / "out")
    assert "0.png: cannot be decoded" in message
    assert "(1 of 3 pictures failed; the rest is written)" in message
    annotations = json.loads((tmp_path / "out" / "panoptic.json").read_text())["annotations"]
    assert len({annotation["image_id"] for annotation in annotations}) == 2, "1.jpg and 01.jpg are two images"


def test_shapes_are_written_to_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, "data", "shapes", "--output", tmp_path / "s", "--train", 1, "--val", 1, "--seed", 3) == 0
    assert len(list((tmp_path / "s" / "train2017").iterdir())) == 1


def test_bad_input_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, weights: Path, tmp_path: Path
) -> None:
    truth = root / "annotations" / "panoptic_val2017.json"
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:1000])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    cases: list[tuple[str, tuple[object, ...]]] = [
        ("nothing.json", ("pq", truth, tmp_path / "nothing.json")),
        ("not valid JSON", ("pq", tmp_path / "text.jpg", truth)),
        ("nothing.safetensors", ("predict", tmp_path / "nothing.safetensors", root)),
        ("cut.safetensors", ("predict", tmp_path / "cut.safetensors", root)),
        ("no such file", ("predict", weights, tmp_path / "nothing.jpg")),
        ("text.jpg", ("predict", weights, tmp_path / "text.jpg", "--output", tmp_path / "p")),
        ("no pictures", ("predict", weights, tmp_path / "empty")),
        ("did you mean demo/shapes_r18", ("train", "demo/shapes_18")),
        ("did you mean `iterations`", ("train", "demo/shapes_r18", "train.iteration=1")),
        ("train.lr", ("train", "demo/shapes_r18", "train.lr=fast")),
        ("no such folder", ("train", "demo/shapes_r18", f"data.root={tmp_path / 'none'}")),
        ("panoptic_val2018.json", ("evaluate", weights, "data.val=val2018")),
        ("--video FILE", ("predict", weights)),
        ("--video FILE", ("predict", weights, root, "--video", tmp_path / "text.jpg")),
        ("nothing.mp4: no such file", ("predict", weights, "--video", tmp_path / "nothing.mp4")),
        ("file: not a video", ("predict", weights, "--video", tmp_path / "file")),
        ("cuda", ("predict", weights, root / "val2017", "--device", "cuda:99")),
        ("fcos.class_logits", ("evaluate", weights, "--config", "demo/coco_overfit_r18", *SMALL)),
        ("file", ("draw", truth, root / "val2017", "--output", tmp_path / "file" / "below")),
    ]
    for expected, arguments in cases:
        assert expected in error_of(monkeypatch, capsys, *arguments), arguments


def test_the_installed_command_exits_with_2_and_no_traceback(tmp_path: Path) -> None:
    code = "from panoptic_blend.cli.main import main; main()"
    command = [sys.executable, "-c", code, "pq", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_a_folder_of_labelme_files_becomes_a_data_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    labeled = tmp_path / "labeled"
    labeled.mkdir()
    for photo in (root / "val2017").iterdir():
        (labeled / photo.name).write_bytes(photo.read_bytes())
        boxes = {"car": [[1, 1], [40, 30]], "sky": [[0, 0], [80, 50]], "night sky": [[0, 51], [80, 90]]}
        shapes = [{"label": label, "shape_type": "rectangle", "points": box} for label, box in boxes.items()]
        content = {"imagePath": photo.name, "imageData": None, "shapes": shapes}
        (labeled / photo.name).with_suffix(".json").write_text(json.dumps(content))
    convert = "data", "convert", "labelme", labeled, "--output", tmp_path / "own"
    options = "--stuff", "sky, night sky", "--val-share", 0.5, "--rest", "ground"
    assert run(monkeypatch, *convert, *options) == 0
    printed = capsys.readouterr().out
    assert "train: 1 pictures" in printed and "val: 1 pictures" in printed
    assert ["night", "sky", "stuff", "2", "segments"] in [line.split()[:5] for line in printed.splitlines()]
    made = tmp_path / "own/annotations/panoptic_val.json"
    assert run(monkeypatch, "draw", made, tmp_path / "own/val", "-o", tmp_path / "drawn") == 0
    assert run(monkeypatch, "pq", made, made) == 0
    assert "ground" in capsys.readouterr().out
    assert "already exists" in error_of(monkeypatch, capsys, *convert, *options)


def test_instances_and_cityscapes_are_converted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    photo = next((root / "val2017").iterdir())
    height, width = cv2.imread(str(photo)).shape[:2]  # type: ignore[union-attr]
    content = {
        "images": [{"id": 1, "file_name": photo.name, "height": height, "width": width}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]}],
    }
    instances = tmp_path / "instances.json"
    instances.write_text(json.dumps(content))
    convert = (
        "data",
        "convert",
        "coco-instances",
        instances,
        "--pictures",
        root / "val2017",
        "--output",
        tmp_path / "own",
    )
    assert run(monkeypatch, *convert, "--link") == 0
    assert (tmp_path / "own/train" / photo.name).samefile(photo)
    assert "give both" in error_of(monkeypatch, capsys, *convert, "--stuff-maps", tmp_path)
    truth = root / "annotations/panoptic_val2017.json"
    cityscapes = "data", "convert", "cityscapes", truth, "--pictures", root / "val2017", "--output", tmp_path / "city"
    assert "`id` is" in error_of(monkeypatch, capsys, *cityscapes)


def test_predict_tells_pictures_with_an_equals_sign_from_overrides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, weights: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "a=2.jpg"
    picture.write_bytes(next((root / "val2017").iterdir()).read_bytes())
    out = tmp_path / "out"
    assert run(monkeypatch, "predict", weights, picture, "model.fusion.confidence=1", "--output", out) == 0
    [annotation] = json.loads((out / "panoptic.json").read_text())["annotations"]
    assert all("score" not in segment for segment in annotation["segments_info"]), "no instance is as sure as 1"
    missing = tmp_path / "b=2.jpg"
    assert error_of(monkeypatch, capsys, "predict", weights, missing) == (
        f"error: {missing}: no such file or folder; check the path"
    )
    assert "nothing to predict" in error_of(monkeypatch, capsys, "predict", weights, "test.short_side=64")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A command that meets an exception of another library."""

    def fail(*arguments: object, **options: object) -> None:
        raise ValueError("not foreseen\nby anyone")

    monkeypatch.setattr("panoptic_blend.scoring.evaluate_files.evaluate_files", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PANOPTIC_BLEND_TRACEBACK", "")


def test_a_foreign_exception_is_one_line_that_names_the_command_and_the_file_with_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broken: None, tmp_path: Path
) -> None:
    line = error_of(monkeypatch, capsys, "pq", "a.json", "b.json")
    [path] = tmp_path.glob("*.txt")
    assert line == f"error: panoptic-blend pq: ValueError: not foreseen; traceback: {path}"
    assert path.read_text().startswith("Traceback (most recent call last):")


@pytest.mark.parametrize("arguments", [["--traceback", "pq", "a", "b"], ["pq", "a", "b", "--traceback"]])
def test_the_option_traceback_prints_it_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: None,
    tmp_path: Path,
    arguments: list[str],
) -> None:
    assert run(monkeypatch, *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "error: panoptic-blend pq: ValueError: not foreseen"
    assert not list(tmp_path.glob("*.txt"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("output", "error"),
    [
        (">&-", "error: standard output is closed; redirect it to a file or to /dev/null\n"),
        (">/dev/full", "error: standard output: No space left on device; check the path and the disk\n"),
        ("| true", ""),
    ],
)
def test_output_that_cannot_be_printed_is_an_error(root: Path, output: str, error: str) -> None:
    truth = root / "annotations" / "panoptic_val2017.json"
    program = "import panoptic_blend.cli.main as cli; cli.main()"
    command = f"{sys.executable} -c '{program}' pq '{truth}' '{truth}' --json {output}"
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert process.stderr == error
    assert process.returncode == (2 if error else 0)


def test_a_video_needs_no_option_and_is_predicted_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, weights: Path, tmp_path: Path
) -> None:
    video, photo = tmp_path / "clip.MP4", next((root / "val2017").iterdir())
    with writing_video(tmp_path / "clip.mp4", 25) as add:
        add(read_picture(photo), 0.04)
    (tmp_path / "clip.mp4").rename(video)
    assert run(monkeypatch, "predict", weights, video, "--output", tmp_path / "out") == 0
    assert (tmp_path / "out" / "clip.mp4").exists()
    assert capsys.readouterr().out.startswith("1 panoptic maps: ")
    line = error_of(monkeypatch, capsys, "predict", weights, photo, video)
    assert line == f"error: {video}: is a video; predict each video by itself, in a folder of its own"


def test_what_a_folder_has_beside_pictures_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, weights: Path, tmp_path: Path
) -> None:
    photos = Path(shutil.copytree(root / "val2017", tmp_path / "photos"))
    (photos / "notes.txt").touch()
    output = tmp_path / "photos" / "out"
    for _ in range(2):
        assert run(monkeypatch, "predict", weights, photos, "--recursive", "--output", output) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith(f"{photos}: left out: ") and ".txt files: 1" in first
        assert second.startswith("2 panoptic maps: "), "not those of its own drawings"


def test_a_home_folder_that_cannot_be_written_is_not_spoken_of() -> None:
    code = """
import contextlib
from panoptic_blend.cli.main import main
with contextlib.suppress(SystemExit):
    main("--help")
import matplotlib
matplotlib.get_cachedir()
"""
    home = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR" and not name.startswith("XDG")}
    process = subprocess.run(
        [sys.executable, "-c", code], env=home | {"HOME": os.devnull}, capture_output=True, text=True
    )
    assert (process.returncode, process.stderr) == (0, "")


def test_two_commands_do_not_draw_into_one_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    truth = root / "annotations" / "panoptic_val2017.json"
    with locked(tmp_path / "out"):
        line = error_of(monkeypatch, capsys, "draw", truth, root / "val2017", "--output", tmp_path / "out")
    assert "another process is using this folder; wait until it ends" in line


def test_explain_draws_into_a_folder_for_each_picture(
    root: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["explain", weights, root / "val2017", "-o", tmp_path, "model.fcos.score_threshold=0"]
    assert run(monkeypatch, *command, "--detection", 4, "--detection", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["000001000001.jpg", "000001000002.jpg", "drawings"]
    assert lines[0].endswith(" instances, explained: 2, 4")
    common, folder = {"attentions.png", "bases.png", "classes.png"}, tmp_path / "000001000001"
    assert {path.name for path in folder.iterdir()} == common | {"detection_2.png", "detection_4.png"}
    assert run(monkeypatch, *command, "--detection", 1) == 0
    assert {path.name for path in folder.iterdir()} == common | {"detection_1.png"}
    capsys.readouterr()
    message = error_of(monkeypatch, capsys, *command, "--detection", 1000)
    assert "000001000001.jpg: instance 1000 of " in message and "choose numbers from 1 to " in message
    message = error_of(monkeypatch, capsys, "explain", weights, "-o", tmp_path)
    assert message == "error: nothing to explain; give pictures or folders of pictures"
