"""Small valid inputs of everything that reads files without torch, and the functions that read them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from evaluation.fuzz.runner import Reader
from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.yaml_files import find_config
from panoptic_blend.doctor.checkup import check
from panoptic_blend.download.unpacking import unpack_folder
from panoptic_blend.drawing.results import draw_json
from panoptic_blend.formats.images import read_picture, write_segment_ids
from panoptic_blend.formats.videos import VideoReader
from panoptic_blend.metrics.conversion import from_detectron2, from_hugging_face
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, categories_by_id
from panoptic_blend.report.command import ReportRequest, write_report
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.further import FURTHER
from panoptic_blend.scoring.run import ScoredFiles, Wanted, score
from panoptic_blend.scoring.shards import Shard, merge_parts, write_part

HEIGHT, WIDTH = 12, 16
CATEGORIES = [
    {"id": 1, "name": "cat", "isthing": 1, "color": [220, 20, 60], "supercategory": "animal"},
    {"id": 7, "name": "sky", "isthing": 0, "color": [70, 130, 180], "supercategory": "air"},
]
_FRAMES = 200
"""Frames read of a video, whatever it announces."""


def segment_ids() -> npt.NDArray[np.int32]:
    """A map (H, W) with sky, two cats and some void."""
    ids = np.full((HEIGHT, WIDTH), 70_000, np.int32)
    ids[2:6, 2:7], ids[7:11, 4:12], ids[:, -1] = 300, 4, 0
    return ids


def records(image: int, names: tuple[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The records of an image and of its annotation, for `segment_ids`."""
    infos = [
        {"id": 70_000, "category_id": 7, "area": 180 - 52, "bbox": [0, 0, 15, 12], "iscrowd": 0},
        {"id": 300, "category_id": 1, "area": 20, "bbox": [2, 2, 5, 4], "iscrowd": 0},
        {"id": 4, "category_id": 1, "area": 32, "bbox": [4, 7, 8, 4], "iscrowd": image - 1},
    ]
    record = {"id": image, "file_name": names[0], "width": WIDTH, "height": HEIGHT}
    return record, {"image_id": image, "file_name": names[1], "segments_info": infos}


def write_picture_files(folder: Path, *names: str) -> None:
    """Write gray-scale ramps in the formats of their names."""
    ramp = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        encoded = cv2.imencode(Path(name).suffix, ramp)[1]
        (folder / name).write_bytes(encoded.tobytes())


def write_panoptic(folder: Path) -> None:
    """Write a data set with one split of two images."""
    write_picture_files(folder / "val2017", "1.jpg", "2.png")
    both = [records(image, (name, f"{image}.png")) for image, name in ((1, "1.jpg"), (2, "2.png"))]
    maps = folder / "annotations" / "panoptic_val2017"
    for _, annotation in both:
        write_segment_ids(maps / annotation["file_name"], segment_ids())
    write_json(maps.with_suffix(".json"), [a for a, _ in both], [b for _, b in both], CATEGORIES)


def write_scored(folder: Path) -> None:
    """Write a data set and results for it, whose PNGs are in a zip."""
    write_panoptic(folder)
    both = [records(image, ("", f"{image}.png"))[1] for image in (1, 2)]
    (folder / "results.json").write_text(json.dumps({"annotations": both}))
    (folder / "groups.csv").write_text("image,site\n1,north\n2,south\n")
    write_zip(folder / "results.zip", "results")


def write_zip(path: Path, folder: str) -> None:
    """Write an archive of two maps."""
    write_segment_ids(path.with_name("map.png"), np.roll(segment_ids(), 1, axis=1))
    content = path.with_name("map.png").read_bytes()
    path.with_name("map.png").unlink()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for image in (1, 2):
            archive.writestr(f"{folder}/{image}.png", content)


def _json(folder: Path) -> Path:
    return folder / "annotations" / "panoptic_val2017.json"


def read_scored(folder: Path) -> None:
    """What ``pq --details --boundary --also all --group-by`` does."""
    files = _json(folder), folder / "results.json", None, folder / "results.zip"
    wanted = Wanted(folder / "out", also=FURTHER, group_by=folder / "groups.csv", resampling=Resampling(5))
    scores = score(ScoredFiles(*files, boundary=True, workers=1).read(wanted=wanted), wanted)
    json.dumps(scores.summary(Resampling(5)))


def write_parts(folder: Path) -> None:
    """Write the two parts of a run, without the files that they come from."""
    with TemporaryDirectory() as scratch:
        write_scored(Path(scratch))
        files = ScoredFiles(_json(Path(scratch)), _json(Path(scratch)), boundary=True, workers=1)
        for number in (1, 2):
            shard = Shard(number, 2)
            write_part(folder / f"{number}.npz", shard, files, files.read(part=shard.indices))


def read_parts(folder: Path) -> None:
    """What ``pq merge --details`` does."""
    wanted = Wanted(folder / "out", also=FURTHER, resampling=Resampling(5))
    json.dumps(score(merge_parts([folder / "1.npz", folder / "2.npz"]), wanted).summary(Resampling(5)))


def read_reported(folder: Path) -> None:
    """What ``report`` does, of a data set as its own results."""
    request = ReportRequest(_json(folder), _json(folder), folder / "val2017", folder / "page.html", workers=1)
    write_report(request, Resampling(5))


def read_drawn(folder: Path) -> None:
    """What ``draw`` does."""
    draw_json(_json(folder), folder / "val2017", folder / "out", None, 2, None, no_progress)


def read_checked(folder: Path) -> None:
    """What ``data check --fix`` does."""
    check(folder, "val2017", workers=1, fix=folder.with_suffix(".json"))


def write_config(folder: Path) -> None:
    """Write a config with a base, and overrides as lines of JSON."""
    text = "base: base.yaml\nmodel: {num_things: 3, fcos: {nms: 0.5}, fusion: {stuff_area: 100}}\n"
    text += "data: {root: x, train: a, val: b}\ntrain: {lr: 0.01, batch_size: 4, iterations: 1000, steps: [600, 800]}\n"
    (folder / "base.yaml").write_text(find_config("demo/shapes_r18").read_text(encoding="utf-8"))
    (folder / "own.yaml").write_text(text)
    lines = ["train.lr=0.1", "model.fcos.nms=0.5", "train.steps=[70,90]", "data.train=x"]
    (folder / "overrides.json").write_text(json.dumps(lines))


def read_config(folder: Path) -> None:
    """What every command with a config and overrides does."""
    try:
        lines = json.loads((folder / "overrides.json").read_bytes())
    except (ValueError, RecursionError):
        lines = []
    overrides = [str(line) for line in lines if line is not None] if isinstance(lines, list) else [str(lines)]
    load_config("demo/shapes_r18", overrides)
    load_config(folder / "own.yaml")


def write_pictures(folder: Path) -> None:
    """Write a picture in every format."""
    write_picture_files(folder, "a.png", "b.jpg", "c.gif", "d.webp", "e.bmp", "f.tiff")


def read_pictures(folder: Path) -> None:
    """What ``predict`` reads; the first damaged file is an error."""
    for path in sorted(folder.iterdir()):
        read_picture(path)


def write_videos(folder: Path) -> None:
    """Write a short video in two containers."""
    for name, code in (("a.avi", "MJPG"), ("b.mp4", "mp4v")):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*code), 10, (WIDTH, HEIGHT))
        for value in range(4):
            writer.write(np.full((HEIGHT, WIDTH, 3), 60 * value, np.uint8))
        writer.release()


def read_videos(folder: Path) -> None:
    """What ``predict --video`` reads."""
    for path in sorted(folder.iterdir()):
        video = VideoReader(path)
        for frame in video.frames():
            if frame.number >= _FRAMES:
                return
        video.require_complete()


def write_archive(folder: Path) -> None:
    """Write an archive as ``data download`` fetches it."""
    write_zip(folder / "maps.zip", "maps")


def read_archive(folder: Path) -> None:
    """What ``data download`` does with an archive."""
    unpack_folder(folder / "maps.zip", ".png", 2, folder / "maps")


def write_memory(folder: Path) -> None:
    """Write maps in the forms of several libraries, as JSON."""
    ids = segment_ids().tolist()
    infos = [
        {"id": i, "category_id": c, "label_id": c, "isthing": c == 1, "score": 0.9, "was_fused": False}
        for i, c in ((70_000, 7), (300, 1), (4, 1))
    ]
    category = {0: -1, 70_000: 7, 300: 1, 4: 1}
    pairs = [[[category[i], i] for i in row] for row in ids]
    (folder / "own.json").write_text(json.dumps([ids, infos]))
    (folder / "hugging_face.json").write_text(json.dumps({"segmentation": ids, "segments_info": infos}))
    (folder / "torchmetrics.json").write_text(json.dumps(pairs))


def read_memory(folder: Path) -> None:
    """Score maps in memory, each as truth and as prediction."""
    quality, categories = PanopticQuality(CATEGORIES), categories_by_id(CATEGORIES)
    own, theirs, pairs = (_parsed(folder / name) for name in ("own.json", "hugging_face.json", "torchmetrics.json"))
    maps = []
    if isinstance(own, list) and len(own) == 2:
        result = _array(own[0]), own[1]
        maps += [result, from_detectron2(result, categories, [0, 1], [0] * 7 + [7])]
    if isinstance(theirs, dict):
        theirs["segmentation"] = _array(theirs.get("segmentation"))
        maps += [theirs, from_hugging_face(theirs, categories, {1: 1, 7: 7})]
    maps.append(_array(pairs))
    for panoptic in maps:
        quality.update(panoptic, panoptic)
    quality.compute()


def write_json(path: Path, images: list[Any], annotations: list[Any], categories: list[dict[str, Any]]) -> None:
    """Write a JSON in the layout of COCO."""
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None


def _array(value: Any) -> Any:
    """An array of nested lists, where numpy makes one."""
    try:
        return np.array(value)
    except (ValueError, OverflowError, RecursionError):
        return value


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


READERS = (
    Reader("pq", write_scored, read_scored),
    Reader("parts", write_parts, read_parts),
    Reader("report", write_panoptic, read_reported),
    Reader("draw", write_panoptic, read_drawn),
    Reader("check", write_panoptic, read_checked),
    Reader("config", write_config, read_config),
    Reader("pictures", write_pictures, read_pictures),
    Reader("videos", write_videos, read_videos),
    Reader("archive", write_archive, read_archive),
    Reader("memory", write_memory, read_memory),
)
