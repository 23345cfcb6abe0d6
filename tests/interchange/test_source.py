"""What can be exported: data sets, predictions, and the pictures of a list."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic_blend.interchange.exporting import WRITERS, drawing, export
from panoptic_blend.interchange.label_writer import Drawing
from panoptic_blend.interchange.source import open_source, read_list

Refused = Callable[..., str]


def test_a_split_of_a_data_set_has_its_pictures(generated: Path, refused: Refused) -> None:
    source = open_source(generated, "val2017")
    assert (source.split, source.pictures, len(source.places)) == ("val2017", generated / "val2017", 3)
    assert not source.are_found and not source.scores
    picture = source.read(0)
    assert picture.name == "val_00000.png" or picture.name in source.images.file_names
    areas = [region.segment.area for region in picture.regions]
    assert areas == sorted(areas, reverse=True) and areas[0] == picture.regions[0].cutout.mask.sum()
    assert "has the splits train2017, val2017; choose one with --split" in refused(open_source, generated)
    assert "has neither annotations/panoptic_SPLIT.json nor" in refused(open_source, generated / "val2017")


def test_predictions_have_scores_with_and_without_images_and_categories(generated: Path, tmp_path: Path) -> None:
    truth = generated / "annotations/panoptic_val2017.json"
    content = json.loads(truth.read_text())
    first = content["annotations"][0]
    first["segments_info"][0]["score"] = 0.25
    shutil.copytree(generated / "annotations/panoptic_val2017", tmp_path / "panoptic")
    for name, kept in {"panoptic.json": content, "bare.json": {"annotations": [first]}}.items():
        (tmp_path / name).write_text(json.dumps(kept))
    whole = open_source(tmp_path, pictures=generated / "val2017")
    bare = open_source(tmp_path / "bare.json", maps=tmp_path / "panoptic", truth=truth)
    assert (len(whole.places), len(bare.places), bare.pictures) == (3, 1, generated / "val2017")
    for source in (whole, bare):
        scores = {region.segment.id: region.segment.score for region in source.read(next(iter(source.places))).regions}
        assert source.are_found and scores.pop(first["segments_info"][0]["id"]) == 0.25
        assert set(scores.values()) == {None}


@pytest.mark.parametrize("score", ["high", True, [1]])
def test_a_score_that_is_no_number_is_refused(shapes: Path, score: object, refused: Refused) -> None:
    path = shapes / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"][0]["score"] = score
    path.write_text(json.dumps(content))
    assert "`score` is" in refused(open_source, path)


def test_a_list_names_pictures_by_id_or_file_name(generated: Path, tmp_path: Path, refused: Refused) -> None:
    source, path = open_source(generated, "val2017"), tmp_path / "list.txt"
    ids, names = source.images.ids, source.images.file_names
    path.write_text(f"\n{names[2]}\r\n  {ids[0]}\n{names[0]}\n")
    assert list(source.only(read_list(path), path).places) == [0, 2]
    path.write_text("nowhere.png\n")
    assert "no image has the id or file name 'nowhere.png'" in refused(source.only, read_list(path), path)
    assert "names no picture" in refused(source.only, [], path)


def test_an_export_is_whole_or_not_there(shapes: Path, tmp_path: Path, refused: Refused) -> None:
    def run(form: str, **options: bool) -> None:
        choices = {"link": False, "with_pictures": True} | options
        export(open_source(shapes, "val2017"), form, tmp_path / "out", Drawing(), lambda *_: None, **choices)

    (shapes / "val2017" / open_source(shapes, "val2017").images.file_names[1]).unlink()
    assert "no such file" in refused(run, "cvat")
    assert not (tmp_path / "out").exists()
    run("cvat", with_pictures=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["annotations.xml"]
    assert "is not an empty folder" in refused(run, "cvat")


def test_links_are_the_pictures_themselves(shapes: Path, tmp_path: Path) -> None:
    source = open_source(shapes, "val2017")
    done = export(source, "labelme", tmp_path / "out", Drawing(0), lambda *_: None, link=True, with_pictures=True)
    name = source.images.file_names[0]
    assert (tmp_path / "out" / name).samefile(shapes / "val2017" / name)
    assert done.pictures == 3 and done.way_back[:2] == ["labelme", str(tmp_path / "out")]


def test_options_without_an_effect_are_refused(refused: Refused) -> None:
    assert "yolo-seg has polygons only" in refused(lambda: drawing("yolo-seg", None, masks=True))
    assert "masks writes no polygons" in refused(lambda: drawing("masks", 1.0, masks=False))
    assert "--masks writes no polygons" in refused(lambda: drawing("cvat", 1.0, masks=True))
    assert drawing("cvat", None, masks=False) == Drawing(1.0, False)
    assert {name for name, writer in WRITERS.items() if not writer.has_polygons} == {"masks", "cityscapes"}
