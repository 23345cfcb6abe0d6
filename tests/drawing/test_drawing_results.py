"""Results in COCO's submission form are drawn with the images and categories of the data set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic_blend.drawing.results import draw_json
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import read_picture

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
    assert "which `draw` takes as --truth" in refused(
        draw_json, results, photos, tmp_path / "no", None, 1, None, nothing
    )
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
