"""Results in COCO's form are drawn with the images and categories of the data set, and two models side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.cli import main as cli
from panoptic_blend.drawing.figures import GAP
from panoptic_blend.drawing.results import MapsFile, draw_beside, draw_json
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import read_picture, write_picture, write_segment_ids

Refused = Callable[..., str]


@pytest.fixture
def results(shapes: Path, tmp_path: Path) -> Path:
    """The annotations of the truth in reverse order without the first, and nothing else."""
    truth, path = shapes / "annotations/panoptic_val2017.json", tmp_path / "results.json"
    shutil.copytree(truth.with_suffix(""), path.with_suffix(""))
    path.write_text(json.dumps({"annotations": json.loads(truth.read_text())["annotations"][:0:-1]}))
    return path


def nothing(done: int, total: int) -> None:
    pass


def test_results_are_drawn_like_the_truth(shapes: Path, results: Path, tmp_path: Path, refused: Refused) -> None:
    truth, photos = shapes / "annotations/panoptic_val2017.json", shapes / "val2017"
    assert "and --truth of `draw`" in refused(draw_json, results, photos, tmp_path / "no", None, 1, None, nothing)
    assert draw_json(results, photos, tmp_path / "drawn", None, 1, None, nothing, truth) == 2
    assert draw_json(truth, photos, tmp_path / "expected", None, 1, None, nothing) == 3
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    by_id = {image.id: image.file_name for image in read_panoptic_json(truth).images}
    listed = [annotation["image_id"] for annotation in json.loads(results.read_text())["annotations"]]
    assert drawn == sorted(f"{by_id[image_id]}.png" for image_id in listed)
    for name in drawn:
        assert (read_picture(tmp_path / "drawn" / name) == read_picture(tmp_path / "expected" / name)).all()


def test_results_of_other_images_are_refused(shapes: Path, results: Path, tmp_path: Path, refused: Refused) -> None:
    content = json.loads(results.read_text())
    for record in content["annotations"]:
        record["image_id"] += 10**6
    results.write_text(json.dumps(content))
    truth = shapes / "annotations/panoptic_val2017.json"
    message = refused(draw_json, results, shapes / "val2017", tmp_path / "drawn", None, 1, None, nothing, truth)
    assert message.startswith(f"{results}: no image of panoptic_val2017.json is in it")


CAPTION = 18  # height of the strip above a small picture
RED, BLUE = [220, 20, 20], [20, 20, 220]


@pytest.fixture
def two_models(tmp_path: Path) -> Path:
    """A wide image 1 and a high image 2 of class 1, which A finds in both and B takes for class 2, in image 1 only."""
    sizes = {1: (10, 20), 2: (1500, 1200)}
    colored = [{"id": 1, "name": "r", "isthing": 0, "color": RED}, {"id": 2, "name": "b", "isthing": 0, "color": BLUE}]
    for name, category, found in (("truth", 1, [1, 2]), ("a/results", 1, [2, 1]), ("b/results", 2, [1])):
        path = tmp_path / f"{name}.json"
        for number in found:
            write_segment_ids(path.with_suffix("") / f"{number}.png", np.full(sizes[number], 5, np.int32))
        segments = [{"id": 5, "category_id": category, "iscrowd": 0}]
        records = [{"image_id": number, "file_name": f"{number}.png", "segments_info": segments} for number in found]
        path.write_text(json.dumps({"annotations": records}))
    truth = json.loads((tmp_path / "truth.json").read_text())
    images = [{"id": n, "file_name": f"{n}.jpg", "height": h, "width": w} for n, (h, w) in sizes.items()]
    (tmp_path / "truth.json").write_text(json.dumps(truth | {"images": images, "categories": colored}))
    for number, size in sizes.items():
        write_picture(tmp_path / "photos" / f"{number}.jpg", np.full((*size, 3), 128, np.uint8))
    return tmp_path


def is_of(color: list[int], pixel: np.ndarray) -> bool:
    """Whether a gray pixel was painted in the color of a class."""
    return bool(pixel.argmax() == np.argmax(color) and pixel.max() - pixel.min() > 50)


def test_two_models_beside_the_truth(two_models: Path, tmp_path: Path) -> None:
    first, second, truth = (MapsFile(two_models / f"{name}.json") for name in ("a/results", "b/results", "truth"))
    done: list[tuple[int, int]] = []
    photos, out = tmp_path / "photos", tmp_path / "out"
    count = draw_beside(first, second, photos, out, 2, None, lambda *at: done.append(at), truth)
    assert count == 1  # B has no map of image 2
    assert done == [(1, 1)]
    drawn = read_picture(tmp_path / "out" / "1.jpg.png")
    height, width = 20 + CAPTION, 40  # in two rows, because it is wider than high
    assert drawn.shape == (2 * height + GAP, 2 * width + GAP, 3)
    photo, *maps = (drawn[top + CAPTION + 10, left + 20] for top in (0, height + GAP) for left in (0, width + GAP))
    assert photo.tolist() == [128] * 3
    assert [is_of(color, pixel) for color, pixel in zip((RED, RED, BLUE), maps, strict=True)] == [True] * 3


def test_models_side_by_side_have_a_sensible_size(two_models: Path, tmp_path: Path) -> None:
    truth, first, second = (MapsFile(two_models / f"{name}.json") for name in ("truth", "a/results", "b/results"))
    draw_beside(truth, first, tmp_path / "photos", tmp_path / "two", None, None, nothing)
    large = read_picture(tmp_path / "two" / "2.jpg.png")
    assert large.shape == (1024 + 26, 3 * 819 + 2 * GAP, 3)  # 1200 x 1500 pixels are shrunk
    assert is_of(RED, large[500, 1200]) and is_of(RED, large[500, 2000])
    draw_beside(truth, second, tmp_path / "photos", tmp_path / "one", None, None, nothing)
    small = read_picture(tmp_path / "one" / "1.jpg.png")
    assert small.shape[1] == 3 * 480 + 2 * GAP  # 20 pixels are enlarged 24 times
    assert is_of(BLUE, small[100, 1200])


@pytest.mark.parametrize("option", ["--beside-maps", "--truth-folder"])
def test_options_that_would_draw_nothing_are_refused(
    two_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    truth, photos = two_models / "truth.json", two_models / "photos"
    monkeypatch.setattr("sys.argv", ["panoptic-blend", "draw", str(truth), str(photos), option, str(two_models)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert f"{option} draws nothing alone; give --beside" in capsys.readouterr().err
