"""Reading a COCO panoptic data set: finding its parts, unusual but valid data, and errors that name broken files."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from panoptic_blend.data import dataset as dataset_module
from panoptic_blend.data.dataset import CocoPanoptic, to_tensor
from panoptic_blend.data.regions import Regions
from panoptic_blend.data.targets import target_of_segments
from panoptic_blend.formats.coco_layout import find_root, find_split
from panoptic_blend.formats.images import Picture, write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.shapes.dataset import VAL_START, generate
from panoptic_blend.structures import Category, PanopticMap, Segment

Refused = Callable[..., str]
Ids = npt.NDArray[np.int32]

SPLIT = "val2017"
CATEGORIES = [Category(3, "cat", True), Category(5, "grass", False), Category(8, "sky", False)]
CAT, GRASS, SKY = (Segment(id, id, id == 3, None, 0, None) for id in (3, 5, 8))


def content_of(root: Path, split: str = SPLIT) -> Any:
    return json.loads((root / f"annotations/panoptic_{split}.json").read_text())


def change(root: Path, edit: Callable[[Any], object], split: str = SPLIT) -> None:
    """Edit the JSON of a split in place."""
    content = content_of(root, split)
    edit(content)
    (root / f"annotations/panoptic_{split}.json").write_text(json.dumps(content))


def write_set(root: Path, images: dict[str, tuple[bytes | Picture, Ids, list[Segment]]]) -> CocoPanoptic:
    """Write and open a data set; a picture is an array, or the bytes of its file."""
    annotations = root / "annotations"
    with PanopticWriter(annotations / f"panoptic_{SPLIT}.json", categories=CATEGORIES) as writer:
        for number, (name, (picture, ids, segments)) in enumerate(images.items(), start=1):
            if isinstance(picture, bytes):
                (root / SPLIT).mkdir(exist_ok=True)
                (root / SPLIT / name).write_bytes(picture)
            else:
                write_picture(root / SPLIT / name, picture)
            writer.add(number, name, PanopticMap.measured(ids, segments))
    return CocoPanoptic(root, SPLIT)


def encoded(suffix: str, array: npt.NDArray[np.integer]) -> bytes:
    done, data = cv2.imencode(suffix, array)
    assert done
    return data.tobytes()


def gray(height: int, width: int) -> Picture:
    return np.full((height, width, 3), 100, np.uint8)


def test_shapes_are_read_as_they_were_generated(generated: Path) -> None:
    dataset = CocoPanoptic(generated, SPLIT)
    assert len(dataset) == 3
    for index in range(3):
        sample, scene = dataset[index], generate(0, VAL_START + index)
        assert sample.image_id == VAL_START + index + 1 and sample.file_name == f"{sample.image_id:012d}.jpg"
        assert sample.image.dtype == torch.uint8
        assert sample.image.shape == (3, *scene.image.shape[:2])
        assert np.abs(sample.image.permute(1, 2, 0).numpy().astype(int) - scene.image).mean() < 8
        assert (sample.panoptic_truth().segment_ids == scene.panoptic.segment_ids).all()
        assert sample.panoptic_truth().segments == scene.panoptic.segments
        assert (dataset.picture(index) == sample.image.permute(1, 2, 0).numpy()).all()
        assert dataset.truth(index).segments == scene.panoptic.segments


def test_to_tensor_moves_the_channels_to_the_front() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    tensor = to_tensor(picture[:, ::-1])  # an array that lies backwards in memory
    assert tensor.shape == (3, 2, 4)
    assert tensor[:, 0, 0].tolist() == [9, 10, 11] and tensor[1, 1].tolist() == [22, 19, 16, 13]


def test_real_coco_is_read(coco_sample: Path) -> None:
    dataset = CocoPanoptic(coco_sample, SPLIT)
    assert (len(dataset), len(dataset.categories.thing_ids), len(dataset.categories.stuff_ids)) == (2, 80, 53)
    sample = dataset[0]
    assert (sample.image_id, sample.image.shape, len(sample.panoptic_truth().segments)) == (142238, (3, 427, 640), 18)
    target = target_of_segments(Regions.of_panoptic(sample.panoptic_truth()), dataset.categories)
    things = [s for s in sample.panoptic_truth().segments if s.is_thing and not s.is_crowd]
    assert target["boxes"].shape == (len(things), 4) and len(things) < 18
    assert int(target["semantic"].max()) == 255 and 0 in target["semantic"]


def test_the_root_is_given_or_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PANOPTIC_BLEND_DATA", "DETECTRON2_DATASETS"):
        monkeypatch.delenv(name, raising=False)
    assert find_root(None) == Path("datasets/coco")
    monkeypatch.setenv("DETECTRON2_DATASETS", "/big disk")
    assert find_root(None) == Path("/big disk/coco")
    monkeypatch.setenv("PANOPTIC_BLEND_DATA", "/my set")
    assert find_root(None) == Path("/my set")
    assert find_root("here") == Path("here")


def test_pngs_may_lie_beside_annotations(shapes: Path) -> None:
    inside, beside = shapes / "annotations" / f"panoptic_{SPLIT}", shapes / f"panoptic_{SPLIT}"
    assert find_split(shapes, SPLIT).maps == inside
    expected = CocoPanoptic(shapes, SPLIT).truth(0)
    inside.rename(beside)
    assert find_split(shapes, SPLIT).maps == beside
    assert CocoPanoptic(shapes, SPLIT).truth(0).segments == expected.segments
    inside.mkdir()
    assert find_split(shapes, SPLIT).maps == inside  # the official place comes first


def test_folders_may_be_symlinks_and_have_any_name(shapes: Path, tmp_path: Path) -> None:
    expected = CocoPanoptic(shapes, SPLIT).truth(0).segments
    odd = tmp_path / "Mein Datensatz 写真 'x'"
    shapes.rename(odd)
    (odd / SPLIT).rename(tmp_path / "photos on a big disk")
    (odd / SPLIT).symlink_to(tmp_path / "photos on a big disk", target_is_directory=True)
    (tmp_path / "link").symlink_to(odd, target_is_directory=True)
    for root in (odd, tmp_path / "link"):
        assert CocoPanoptic(str(root), SPLIT)[0].panoptic_truth().segments == expected


def test_pictures_may_lie_in_folders_and_have_any_name(tmp_path: Path) -> None:
    ids = np.full((4, 6), 5, np.int32)
    names = ["aachen/a 1.jpg", "köln/写真 (2).png", "x.y.jpeg"]
    dataset = write_set(tmp_path, {name: (gray(4, 6), ids, [GRASS]) for name in names})
    assert [dataset[i].file_name for i in range(3)] == names
    assert all((dataset[i].panoptic_truth().segment_ids == 5).all() for i in range(3))


def test_images_may_lack_things_or_stuff_or_any_segment(tmp_path: Path) -> None:
    half = np.repeat([[3], [0]], 2, axis=0) * np.ones((1, 5), np.int32)
    crowd = Segment(3, 3, True, None, 0, None, is_crowd=True)
    images: dict[str, tuple[bytes | Picture, Ids, list[Segment]]] = {
        "no things.png": (gray(4, 5), np.full((4, 5), 5, np.int32), [GRASS]),
        "no stuff.png": (gray(4, 5), half.astype(np.int32), [CAT]),
        "nothing.png": (gray(4, 5), np.zeros((4, 5), np.int32), []),
        "only a crowd.png": (gray(4, 5), np.full((4, 5), 3, np.int32), [crowd]),
        "one pixel.png": (gray(1, 1), np.full((1, 1), 3, np.int32), [CAT]),
    }
    dataset = write_set(tmp_path, images)
    maps = [dataset.truth(i) for i in range(5)]
    targets = [target_of_segments(Regions.of_panoptic(x), dataset.categories) for x in maps]
    assert [len(target["boxes"]) for target in targets] == [0, 1, 0, 0, 1]
    assert [tuple(instance_masks(target).shape) for target in targets] == [
        (0, 4, 5),
        (1, 4, 5),
        (0, 4, 5),
        (0, 4, 5),
        (1, 1, 1),
    ]
    semantics = [sorted(set(target["semantic"].flatten().tolist())) for target in targets]
    assert semantics == [[1], [0, 255], [255], [0], [0]]
    assert targets[1]["boxes"].tolist() == [[0, 0, 5, 2]] and targets[4]["boxes"].tolist() == [[0, 0, 1, 1]]


def test_gray_transparent_and_16_bit_photos_become_rgb(tmp_path: Path) -> None:
    ids = np.full((8, 8), 3, np.int32)
    single = np.full((8, 8), 77, np.uint8)
    photos = {
        "gray.jpg": encoded(".jpg", single),
        "gray.png": encoded(".png", single),
        "rgba.png": encoded(".png", np.full((8, 8, 4), 77, np.uint8)),
        "deep.png": encoded(".png", np.full((8, 8, 3), 77 * 257, np.uint16)),
        "deep gray.png": encoded(".png", np.full((8, 8), 77 * 257, np.uint16)),
    }
    dataset = write_set(tmp_path, {name: (photo, ids, [CAT]) for name, photo in photos.items()})
    for index in range(len(photos)):
        image = dataset[index].image
        assert image.shape == (3, 8, 8) and image.dtype == torch.uint8
        assert int(image.min()) >= 76 and int(image.max()) <= 78


@pytest.mark.parametrize("annotated", ["upright", "stored"])
def test_exif_rotation_is_applied_if_the_annotation_has_it(tmp_path: Path, annotated: str) -> None:
    """A camera held upright stores 16 x 32 pixels (height x width) and a clockwise quarter turn in the EXIF data."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255
    content = encoded(".jpg", stored)
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff + content[2:]
    truth = np.full((16, 32), 8, np.int32)
    truth[:, :16] = 3  # the bright half
    ids = np.rot90(truth, -1) if annotated == "upright" else truth
    dataset = write_set(tmp_path, {"a.jpg": (content, np.ascontiguousarray(ids), [CAT, SKY])})
    sample = dataset[0]
    assert sample.image.shape == (3, *ids.shape) == ((3, 32, 16) if annotated == "upright" else (3, 16, 32))
    bright = sample.image.float().mean(dim=0).numpy() > 127
    assert (bright == (sample.panoptic_truth().segment_ids == 3)).all()


def test_missing_parts_are_named(shapes: Path, refused: Refused, tmp_path: Path) -> None:
    def missing(path: Path) -> str:
        return f"{path}: missing; a COCO panoptic split `val2017` needs it"

    no = tmp_path / "no"
    expected = f"{no}: no such folder; set data.root or PANOPTIC_BLEND_DATA to your data set"
    assert refused(CocoPanoptic, no, SPLIT) == expected
    maps, pictures = shapes / "annotations" / f"panoptic_{SPLIT}", shapes / SPLIT
    shutil.rmtree(maps)
    assert refused(CocoPanoptic, shapes, SPLIT) == missing(maps)
    shutil.rmtree(pictures)
    assert refused(CocoPanoptic, shapes, SPLIT) == missing(pictures)
    path = shapes / "annotations" / "panoptic_val.json"
    assert refused(CocoPanoptic, shapes, "val") == (
        f"{path}: missing; a COCO panoptic split `val` needs it; the data set has train2017, {SPLIT}"
    )
    maps.with_suffix(".json").unlink()
    assert refused(CocoPanoptic, shapes, SPLIT) == missing(maps.with_suffix(".json")) + "; the data set has train2017"


def test_missing_files_are_named_before_training_starts(shapes: Path, refused: Refused) -> None:
    name = content_of(shapes)["images"][1]["file_name"]
    image_id = content_of(shapes)["images"][1]["id"]
    remedy = f"restore it, or remove image {image_id} from panoptic_val2017.json"
    png = shapes / "annotations" / f"panoptic_{SPLIT}" / Path(name).with_suffix(".png")
    png.unlink()
    assert refused(CocoPanoptic, shapes, SPLIT) == f"{png}: no such file; {remedy}"
    (shapes / SPLIT / name).unlink()
    assert refused(CocoPanoptic, shapes, SPLIT) == f"{shapes / SPLIT / name}: no such file; {remedy}"


def test_each_folder_is_listed_once_and_single_files_are_not_checked(
    generated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Path] = []
    scandir = os.scandir

    def count(path: Path) -> Any:
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", count)
    monkeypatch.setattr(dataset_module, "require_file", lambda path, remedy: pytest.fail(f"{path} is checked alone"))
    dataset = CocoPanoptic(generated, "train2017")
    assert len(dataset) == 7
    assert sorted(listed) == sorted([dataset.paths.pictures, dataset.paths.maps])


def rename(names: list[str], content: Any) -> None:
    for image, name in zip(content["images"], names, strict=True):
        image["file_name"] = name


def test_files_may_be_links_or_lie_in_folders_under_any_plain_name(shapes: Path, refused: Refused) -> None:
    names = [image["file_name"] for image in content_of(shapes)["images"]]
    pictures = shapes / SPLIT
    (pictures / "sub" / "a").mkdir(parents=True)
    (pictures / names[0]).rename(shapes / "elsewhere")
    (pictures / "sub" / "a" / "link.jpg").symlink_to(shapes / "elsewhere")
    (pictures / names[1]).rename(pictures / "sub" / "1.jpg")
    (shapes / "far").mkdir()
    (pictures / names[2]).rename(shapes / "far" / "2.jpg")
    (pictures / "linked").symlink_to(shapes / "far", target_is_directory=True)
    for name in ("sub/a/link.jpg", "./sub//a/./link.jpg", "sub/a/link.jpg/."):
        renamed = [name, "sub/1.jpg", "linked/2.jpg"]
        change(shapes, partial(rename, renamed))
        dataset = CocoPanoptic(shapes, SPLIT)
        assert [image.file_name for image in dataset.images] == renamed
        assert all(dataset.picture(i).size for i in range(3))
    (shapes / "elsewhere").unlink()
    assert refused(CocoPanoptic, shapes, SPLIT).startswith(f"{pictures}/sub/a/link.jpg: no such file; restore it")


def test_a_folder_with_the_name_of_an_image_is_refused(shapes: Path, refused: Refused) -> None:
    dataset = CocoPanoptic(shapes, SPLIT)
    path = shapes / SPLIT / dataset.images[1].file_name
    path.unlink()
    path.mkdir()
    assert refused(CocoPanoptic, shapes, SPLIT).startswith(f"{path}: is a folder, not a file; restore it")


def test_the_first_image_that_lacks_a_file_is_named(shapes: Path, refused: Refused) -> None:
    images = CocoPanoptic(shapes, SPLIT).images
    (shapes / SPLIT / images[1].file_name).unlink()
    png = shapes / "annotations" / f"panoptic_{SPLIT}" / images[0].annotation.png
    png.unlink()
    assert refused(CocoPanoptic, shapes, SPLIT).startswith(f"{png}: no such file; ")


def test_folders_may_be_unlistable(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", deny)
    assert len(CocoPanoptic(shapes, SPLIT)) == 3


@pytest.mark.parametrize("part", ["images", "annotations"])
@pytest.mark.parametrize("name", ["../secret.png", "a/../../b", "..", ""])
def test_names_that_lead_out_of_the_data_set_are_refused(shapes: Path, refused: Refused, part: str, name: str) -> None:
    (shapes / "secret.png").write_bytes(b"")
    change(shapes, lambda content: content[part][0].update(file_name=name))
    image_id = content_of(shapes)["images"][0]["id"]
    expected = f"panoptic_val2017.json: image {image_id}: file name {name!r} leads out of its folder; use plain"
    assert refused(CocoPanoptic, shapes, SPLIT).startswith(expected)


def test_names_too_long_for_the_disk_are_refused(shapes: Path, refused: Refused) -> None:
    change(shapes, lambda content: content["images"][0].update(file_name="a" * 5000))
    assert "from panoptic_val2017.json" in refused(CocoPanoptic, shapes, SPLIT)


def test_broken_json_is_refused(shapes: Path, refused: Refused) -> None:
    path = shapes / f"annotations/panoptic_{SPLIT}.json"
    path.write_bytes(path.read_bytes()[:-30])
    assert refused(CocoPanoptic, shapes, SPLIT).startswith(f"{path}: not valid JSON (")
    path.write_bytes(bytes(range(256)))
    assert refused(CocoPanoptic, shapes, SPLIT).startswith(f"{path}: not valid JSON (")


def test_broken_files_are_named_on_access(shapes: Path, refused: Refused) -> None:
    dataset = CocoPanoptic(shapes, SPLIT)
    names = [image.file_name for image in dataset.images]
    maps = shapes / "annotations" / f"panoptic_{SPLIT}"
    photo, png, small = shapes / SPLIT / names[0], (maps / names[1]).with_suffix(".png"), shapes / SPLIT / names[2]
    for path in (photo, png):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        index = (photo, png).index(path)
        expected = f"{path}: cannot be decoded; it is cut short or not a picture, so fetch it again"
        assert refused(dataset.__getitem__, index) == expected
    write_picture(small, gray(10, 20))
    height, width = dataset.images[2].size
    expected = (
        f"{small}: 20 x 10 pixels, annotated as {width} x {height} pixels; "
        "restore the original, or correct width and height in the JSON"
    )
    assert refused(dataset.__getitem__, 2) == expected


def test_a_map_that_disagrees_with_its_json_is_named_on_access(shapes: Path, refused: Refused) -> None:
    change(shapes, lambda content: content["annotations"][0]["segments_info"].append({"id": 77, "category_id": 1}))
    change(shapes, lambda content: content["annotations"][1]["segments_info"].pop())
    dataset = CocoPanoptic(shapes, SPLIT)
    first, second = (image.id for image in dataset.images[:2])
    expected = f"panoptic_val2017.json: image {first}: segment 77 is in the JSON"
    assert refused(dataset.__getitem__, 0).startswith(expected)
    assert f"/{second:012d}.png but not in" in refused(dataset.__getitem__, 1)
    assert dataset[2].panoptic_truth().segments


@pytest.mark.parametrize("top", ["", "panoptic_val2017/"])
def test_pngs_in_a_zip_are_read_in_place(shapes: Path, top: str) -> None:
    unzipped = CocoPanoptic(shapes, SPLIT)
    ids = [unzipped.truth(i).segment_ids for i in range(len(unzipped))]
    folder = unzipped.paths.maps
    archive = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, f"{top}{path.name}")
    shutil.rmtree(folder)
    zipped = CocoPanoptic(shapes, SPLIT)
    assert zipped.paths.maps == archive
    for i, expected in enumerate(ids):
        assert (zipped.truth(i).segment_ids == expected).all()
