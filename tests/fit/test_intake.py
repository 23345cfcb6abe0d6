"""Folders of labeled pictures become data sets with a training and a validation split."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic_blend.config.experiment import load_config
from panoptic_blend.convert.recognition import recognize
from panoptic_blend.data.splits import open_training, open_validation
from panoptic_blend.doctor.checkup import check
from panoptic_blend.fit.checking import require_sound
from panoptic_blend.fit.intake import Prepared, prepare, require_apart
from panoptic_blend.fit.stuff_hints import stuff_hint
from panoptic_blend.formats.images import write_picture, write_values

Refused = Callable[..., str]
SQUARE = [2, 2, 12, 2, 12, 12, 2, 12]


def lengths(prepared: Prepared) -> list[int]:
    """The numbers of pictures of both splits, as training opens them."""
    semantic = [] if prepared.has_panoptic else ["model.semantic.enabled=false"]
    config = load_config("demo/shapes_r18", [*prepared.overrides(), *semantic])
    opened = open_training(config), open_validation(config)
    assert all(split.dataset[0] for split in opened)
    return [len(split.dataset) for split in opened]


def picture(path: Path) -> None:
    write_picture(
        path, np.random.default_rng(len(path.name) + ord(path.stem[-1])).integers(0, 255, (20, 30, 3), np.uint8)
    )


def instances(folder: Path, second: list[int], name: str = "instances_default", **fields: Any) -> Path:
    """COCO instances, as CVAT exports them: four pictures, each with a square of 100 pixels and a ``second`` shape."""
    for i in range(4):
        picture(folder / f"images/{i}.png")
    shapes = enumerate([(i, shape) for i in range(4) for shape in (SQUARE, second)])
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in range(4)],
        "annotations": [
            {"id": k, "image_id": i, "category_id": 1, "segmentation": [s], "iscrowd": 0, **fields}
            for k, (i, s) in shapes
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / f"annotations/{name}.json").write_text(json.dumps(content))
    return folder


def test_a_prepared_folder_is_found_from_every_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(instances(tmp_path / "cats", SQUARE).parent)
    prepared = prepare(Path("cats"), Path("run"))
    monkeypatch.chdir("/")
    assert sum(lengths(prepared)) == 4


def test_the_splits_of_a_data_set_are_found_and_opened_by_its_options(generated: Path, tmp_path: Path) -> None:
    prepared = prepare(generated, tmp_path)
    assert (prepared.root, prepared.train, prepared.val) == (generated, "train2017", "val2017")
    assert (prepared.things, prepared.has_panoptic, prepared.remarks) == ("panoptic", True, ())
    assert lengths(prepared) == [7, 3]
    assert {path.name for path in tmp_path.iterdir()} == {"checked"}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("training", "validation"), ("training", "validation")),
        (("Train", "Val"), ("Train", "Val")),
        (("train", "test"), ("train", None)),
        (("photos",), ("photos", None)),
        (("train", "train_more"), "has several training splits, train, train_more"),
        (("train", "val", "val_small"), "has several validation splits, val, val_small"),
        (("a", "b"), "has the splits a, b, none of them called train"),
    ],
)
def test_splits_are_told_by_their_names(names: tuple[str, ...], found: Any, tmp_path: Path, refused: Refused) -> None:
    from panoptic_blend.fit.intake import _splits

    if isinstance(found, str):
        assert found in refused(_splits, names, tmp_path)
    else:
        assert _splits(names, tmp_path) == found


def test_errors_end_it_with_the_lines_of_the_check(
    shapes: Path, tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shapes / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"][0]["area"] += 1
    path.write_text(json.dumps(content))
    assert "has errors (1), the first of kind area" in refused(prepare, shapes, tmp_path / "run")
    assert "to repair: panoptic-blend data check" in capsys.readouterr().err
    assert not (tmp_path / "run/checked").exists()
    content["annotations"][0]["segments_info"][0]["area"] -= 1
    path.write_text(json.dumps(content))
    assert prepare(shapes, tmp_path / "run").remarks == ()


def test_a_sample_is_decoded_and_all_that_is_missing_is_found(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [*_, last] = sorted((shapes / "train2017").iterdir())
    last.write_bytes(b"broken")
    report = check(shapes, only=["train2017"], most=2)
    assert [split.name for split in report.splits] == ["train2017"] and report.is_sound, "it is not in the sample"
    assert not check(shapes, only=["train2017"]).is_sound
    monkeypatch.setattr("panoptic_blend.fit.checking.MOST_DECODED", 2)
    assert require_sound(shapes, ["train2017"], tmp_path / "checked", is_full=False) == [
        "train2017: 2 of 7 pictures and their PNGs were decoded to check them; "
        f"`panoptic-blend data check {shapes}` decodes all"
    ]
    last.unlink()
    assert [p.kind.name for split in check(shapes, only=["train2017"], most=2).splits for p in split.problems] == [
        "picture-missing"
    ]


def test_instances_become_panoptic_with_background_and_are_not_converted_twice(tmp_path: Path) -> None:
    folder = instances(tmp_path / "cvat", [20, 2, 28, 2, 28, 10, 20, 10])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    prepared = prepare(folder, tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert (prepared.things, prepared.has_panoptic) == ("panoptic", True)
    assert lengths(prepared) == [3, 1]
    remark = "all labels are things, so pixels without one are the stuff class 'background'"
    assert prepared.remarks[:2] == (f"{folder} was read as COCO instances", remark)
    made = {path: path.lstat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert prepare(folder, tmp_path / "run") == prepared
    assert {path: path.lstat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == made
    picture(folder / "images/5.png")
    assert prepare(folder, tmp_path / "run") == prepared
    assert (tmp_path / "run/converted").stat().st_mtime_ns != made[tmp_path / "run/converted"], "made anew"


@pytest.mark.parametrize(
    ("second", "hidden", "things", "has_panoptic"),
    [
        # a square of 100 pixels beside the other one, of which 10 or 50 are shared
        ([11, 2, 21, 2, 21, 12, 11, 12], "5 %", "instances", True),
        ([7, 2, 17, 2, 17, 12, 7, 12], "25 %", "instances", False),
    ],
)
def test_overlaps_decide_where_things_come_from(
    second: list[int], hidden: str, things: str, has_panoptic: bool, tmp_path: Path
) -> None:
    prepared = prepare(instances(tmp_path / "in", second), tmp_path / "run")
    assert (prepared.things, prepared.has_panoptic) == (things, has_panoptic)
    assert any(f"{hidden} of the pixels of things are hidden" in remark for remark in prepared.remarks)
    assert lengths(prepared) == [3, 1]


def test_masks_of_cvat_that_are_all_crowds_are_objects(tmp_path: Path) -> None:
    prepared = prepare(instances(tmp_path / "in", [20, 2, 28, 2, 28, 10, 20, 10], iscrowd=1), tmp_path / "run")
    assert any("8 annotations are all crowds" in remark for remark in prepared.remarks)


def yolo(folder: Path) -> None:
    for split in ("train", "val"):
        picture(folder / f"images/{split}/{split}.png")
        (folder / f"labels/{split}").mkdir(parents=True)
        (folder / f"labels/{split}/{split}.txt").write_text("0 0.1 0.1 0.9 0.1 0.1 0.9\n1 0 0 1 0 1 1 0 1")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, sky]")


def cvat(folder: Path) -> None:
    shapes = '<polygon label="cat" points="2,2;20,2;2,15"/><polygon label="sky" points="0,0;30,0;30,20;0,20"/>'
    images = []
    for name in "ab":
        picture(folder / f"images/{name}.png")
        images.append(f'<image name="{name}.png" width="30" height="20">{shapes}</image>')
    labels = "<labels><label><name>cat</name></label><label><name>sky</name></label></labels>"
    (folder / "annotations.xml").write_text(f"<annotations><meta>{labels}</meta>{''.join(images)}</annotations>")


def labelme(folder: Path) -> None:
    shapes = [
        {"label": "cat", "points": [[2, 2], [20, 2], [2, 15]], "shape_type": "polygon"},
        {"label": "sky", "points": [[0, 0], [29, 19]], "shape_type": "rectangle"},
    ]
    for split in ("train", "val"):
        picture(folder / f"{split}/{split}.png")
        content = {"shapes": shapes, "imagePath": f"{split}.png", "imageData": None}
        (folder / f"{split}/{split}.json").write_text(json.dumps(content))


def roboflow(folder: Path) -> None:
    for split in ("train", "valid"):
        instances(folder, SQUARE)
        shutil.move(folder / "images", folder / split)
        shutil.move(folder / "annotations/instances_default.json", folder / split / "_annotations.coco.json")
        (folder / "annotations").rmdir()


CATS = np.where(np.indices((20, 30)).sum(0) < 20, 1, 2).astype(np.uint8)
"""A cat, the class 1, before the sky, 2."""


def voc(folder: Path) -> None:
    picture(folder / "JPEGImages/a.png")
    picture(folder / "JPEGImages/b.png")
    colors = np.where(CATS[..., None] == 1, [255, 0, 0], [0, 0, 255]).astype(np.uint8)
    for name in ("SegmentationClass/a.png", "SegmentationClass/b.png"):
        write_picture(folder / name, colors)
        write_picture(folder / name.replace("Class", "Object"), colors)
    (folder / "labelmap.txt").write_text("background:0,0,0::\ncat:255,0,0::\nsky:0,0,255::\n")
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    for split, name in (("train", "a"), ("val", "b"), ("trainval", "a\nb")):
        (folder / f"ImageSets/Segmentation/{split}.txt").write_text(name)


def ade20k(folder: Path) -> None:
    for split in ("training", "validation"):
        picture(folder / f"images/{split}/{split}.png")
        write_values(folder / f"annotations/{split}/{split}.png", CATS)
        instances = np.stack([CATS, CATS == 1, CATS * 0], axis=-1).astype(np.uint8)
        write_picture(folder / f"annotations_instance/{split}/{split}.png", instances)
    rows = ("1\t0.5\t1\t1\t0\tcat", "2\t0.5\t1\t1\t1\tsky")
    (folder / "objectInfo150.txt").write_text("\n".join(rows))


def vistas(folder: Path) -> None:
    for split in ("training", "validation"):
        picture(folder / f"{split}/images/{split}.png")
        write_values(folder / f"{split}/v2.0/instances/{split}.png", ((CATS - 1) * 256.0).astype(np.uint16))
    labels = [{"readable": "cat", "instances": True}, {"readable": "sky", "instances": False}]
    (folder / "config_v2.0.json").write_text(json.dumps({"labels": labels}))


def cityscapes(folder: Path) -> None:
    for split in ("train", "val", "test"):
        picture(folder / f"leftImg8bit/{split}/ulm/ulm_{split}_leftImg8bit.png")
        ids = np.where(CATS == 1, 26000, 23).astype(np.uint16)
        write_values(folder / f"gtFine/{split}/ulm/ulm_{split}_gtFine_instanceIds.png", ids)


def supervisely(folder: Path) -> None:
    corners = {"cat": [[2, 2], [20, 2], [2, 15]], "sky": [[0, 5], [29, 5], [29, 19], [0, 19]]}
    figures = [
        {"classTitle": name, "geometryType": "polygon", "points": {"exterior": points, "interior": []}}
        for name, points in corners.items()
    ]
    for split in ("train", "val"):
        picture(folder / f"{split}/img/{split}.png")
        (folder / f"{split}/ann").mkdir()
        content = {"size": {"height": 20, "width": 30}, "objects": figures}
        (folder / f"{split}/ann/{split}.png.json").write_text(json.dumps(content))
    (folder / "meta.json").write_text(json.dumps({"classes": [{"title": "cat"}, {"title": "sky"}]}))


def label_studio(folder: Path) -> None:
    result = [
        {
            "type": "polygonlabels",
            "original_width": 30,
            "original_height": 20,
            "value": {"points": [[left, 0], [left + 45, 0], [left + 45, 100], [left, 100]], "polygonlabels": [name]},
        }
        for left, name in ((5, "cat"), (50, "sky"))
    ]
    tasks = []
    for name in "ab":
        picture(folder / f"images/{name}.png")
        image = f"/data/upload/1/0123abcd-{name}.png"
        tasks.append({"data": {"image": image}, "annotations": [{"result": result}]})
    (folder / "project-1.json").write_text("\ufeff" + json.dumps(tasks))


def id_masks(folder: Path) -> None:
    for name in "ab":
        picture(folder / f"images/{name}.png")
        write_values(folder / f"classes/{name}.png", CATS)
        write_values(folder / f"instances/{name}.png", CATS % 2)
    (folder / "classes.json").write_text('{"1": "cat", "2": "sky"}')


@pytest.mark.parametrize(
    ("write", "kind", "splits"),
    [
        (yolo, "YOLO", ["train", "val"]),
        (cvat, "CVAT", ["all"]),
        (labelme, "LabelMe", ["train", "val"]),
        (roboflow, "COCO instances", ["train", "valid"]),
        (voc, "Pascal VOC", ["train", "val"]),
        (ade20k, "ADE20K", ["training", "validation"]),
        (vistas, "Mapillary Vistas", ["training", "validation"]),
        (cityscapes, "Cityscapes", ["train", "val"]),
        (supervisely, "Supervisely", ["train", "val"]),
        (label_studio, "Label Studio", ["all"]),
        (id_masks, "masks of ids", ["all"]),
    ],
)
def test_formats_are_recognized_by_content(
    write: Callable[[Path], None], kind: str, splits: list[str], tmp_path: Path, refused: Refused
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder)
    source = recognize(folder)
    assert source is not None and (source.kind, list(source.splits)) == (kind, splits)
    if write is roboflow:
        return
    if source.tells_stuff:
        assert f"is {kind}, which tells what is stuff; leave --stuff out" in refused(recognize, folder, ["sky"])
    prepared = prepare(folder, tmp_path / "run", stuff=[] if source.tells_stuff else ["sky"])
    assert lengths(prepared) == [1, 1]
    assert not any("background" in remark for remark in prepared.remarks)


def test_masks_without_a_table_are_named_with_the_command(tmp_path: Path, refused: Refused) -> None:
    id_masks(tmp_path)
    for name in ("classes.json", "instances/a.png", "instances/b.png"):
        (tmp_path / name).unlink()
    (tmp_path / "images").rename(tmp_path / "my photos")
    message = refused(recognize, tmp_path)
    assert "classes looks like masks of the pictures in my photos; name their values in a classes.json" in message
    words = (
        f"data convert masks {tmp_path}/classes --classes classes.json --pictures '{tmp_path}/my photos' --output NEW`"
    )
    assert words in message
    (tmp_path / "data.zip").write_bytes(b"PK")
    assert "is a file; unpack it if it is packed" in refused(recognize, tmp_path / "data.zip")


def test_things_that_look_like_stuff_are_named() -> None:
    def content(name: str, areas: list[int]) -> dict[str, Any]:
        images = [{"id": i, "width": 10, "height": 10} for i in range(3)]
        annotations = [{"image_id": i, "segments_info": [{"category_id": 1, "area": a}]} for i, a in enumerate(areas)]
        return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": name, "isthing": 1}]}

    assert stuff_hint(content("cat", [10, 10, 10])) is None
    assert stuff_hint(content("dirt road", [1])) is not None
    assert stuff_hint(content("roadster", [1])) is None
    hint = stuff_hint(content("zebra, crossing", [30, 30, 60]))
    assert hint is not None and hint.endswith(
        "covers 40 % of the pictures that show it; if so, add --stuff '\"zebra, crossing\"'"
    )


def test_folders_that_cannot_be_taken_in_are_refused(generated: Path, tmp_path: Path, refused: Refused) -> None:
    assert "no such folder" in refused(prepare, tmp_path / "nowhere", tmp_path / "run")
    (tmp_path / "empty").mkdir()
    assert "no labels of a known format were found" in refused(prepare, tmp_path / "empty", tmp_path / "run")
    assert "lies in the folder of the labels" in refused(require_apart, generated, generated / "run")
    assert "is COCO panoptic, whose `isthing`" in refused(lambda: prepare(generated, tmp_path / "run", stuff=["sky"]))
