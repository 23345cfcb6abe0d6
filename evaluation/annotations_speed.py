"""Measure the time and memory that opening a data set as large as COCO takes, and compare them with targets.

    python -m evaluation.annotations_speed --images 118000

Writes two data sets, JSON in COCO's formats and empty files for pictures and PNGs: one with panoptic annotation, one
with instances alone. Opens each in a fresh process, which reads and checks the JSON and finds every file. Then two
forked workers read 2,000 annotations each, in random order and without pictures. Exits non-zero if a target is missed.
Memory is read from Linux's /proc: pages in RAM and, for a worker, those that it shares with no other process. The
target for resident memory excludes the imported libraries, because torch alone takes more (0.5 GB in the builds for
CUDA).
"""

from __future__ import annotations

import argparse
import cmath
import json
import math
import multiprocessing
import pickle
import random
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from evaluation.timing import Measurement, measurement_table
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.instances import CocoInstances
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.formats.coco_instances import read_instances_json
from panoptic_blend.formats.coco_panoptic import read_panoptic_json

SPLIT = "train2017"
Kind = Literal["panoptic", "instances"]
KINDS: tuple[Kind, ...] = ("panoptic", "instances")
"""The annotations that are measured."""
WORKERS, SAMPLES = 2, 2000
MEGABYTE = 10**6


def main() -> None:
    """Measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_000)
    images, is_missed = parser.parse_args().images, False
    for kind in KINDS:
        title, measurements = measure_in_fresh_process(images, kind)
        Console().print(measurement_table(title, measurements))
        is_missed |= any(measurement.is_missed for measurement in measurements)
    sys.exit(is_missed)


def measure_in_fresh_process(images: int, kind: Kind) -> tuple[str, list[Measurement]]:
    """Write a data set and measure it in a fresh process; return its description and the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        write = write_data_set if kind == "panoptic" else write_instances
        number = write(Path(folder), images)
        size = _json(Path(folder), kind).stat().st_size
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            measurements = fresh.submit(measure, Path(folder), kind).result()
    items = "segments" if kind == "panoptic" else "instances"
    return f"{images} images, {number} {items}, {size / MEGABYTE:.0f} MB of JSON", measurements


def write_data_set(root: Path, images: int, seed: int = 0) -> int:
    """Write a data set of empty pictures and PNGs with about 11 segments per image; return the number of segments."""
    rng, known, segments = random.Random(seed), coco_categories(), 0
    pictures, maps = root / SPLIT, _json(root).with_suffix("")
    for folder in (pictures, maps):
        folder.mkdir(parents=True)
    with _json(root).open("w") as file:
        file.write('{"info": {"description": "generated"}, "licenses": [], "images": [')
        for image_id in range(1, images + 1):
            file.write(", " * (image_id > 1) + json.dumps(_image(image_id, rng)))
            (pictures / f"{image_id:012d}.jpg").touch()
        file.write('], "annotations": [')
        for image_id in range(1, images + 1):
            infos = [_segment(rng, rng.choice(known).id) for _ in range(rng.randint(2, 20))]
            record = {"segments_info": infos, "file_name": f"{image_id:012d}.png", "image_id": image_id}
            file.write(", " * (image_id > 1) + json.dumps(record))
            (maps / f"{image_id:012d}.png").touch()
            segments += len(infos)
        file.write(f'], "categories": {json.dumps(known.records())}}}')
    return segments


def write_instances(root: Path, images: int, seed: int = 0) -> int:
    """Write a data set of empty pictures with 7.3 instances per image, in any order; return their number.

    Polygons have 43 numbers on average, as in COCO, with two decimals. One instance in 80 is a crowd with run lengths.
    """
    rng, things = random.Random(seed), [category for category in coco_categories() if category.is_thing]
    outlines = [json.dumps([_outline(rng)]) for _ in range(2000)]
    (root / SPLIT).mkdir(parents=True)
    path = _json(root, "instances")
    path.parent.mkdir()
    number = int(7.3 * images)
    with path.open("w") as file:
        file.write('{"info": {"description": "generated"}, "licenses": [], "images": [')
        for image_id in range(1, images + 1):
            record = _image(image_id, rng) | {"height": 480, "width": 640}
            file.write(", " * (image_id > 1) + json.dumps(record))
            (root / SPLIT / f"{image_id:012d}.jpg").touch()
        file.write('], "annotations": [')
        for annotation_id in range(1, number + 1):
            crowd = rng.random() < 1 / 80
            shape = json.dumps(_run_lengths(rng)) if crowd else rng.choice(outlines)
            box = [round(rng.uniform(0, 300), 2) for _ in range(4)]
            fields = {"area": box[2] * box[3], "iscrowd": int(crowd), "image_id": rng.randint(1, images), "bbox": box}
            fields |= {"category_id": rng.choice(things).id, "id": annotation_id}
            file.write(", " * (annotation_id > 1) + f'{{"segmentation": {shape}, {json.dumps(fields)[1:]}')
        file.write(f'], "categories": {json.dumps([{"id": c.id, "name": c.name} for c in things])}}}')
    return number


def _outline(rng: random.Random) -> list[float]:
    corners, radius = max(3, int(rng.lognormvariate(2.75, 0.8))), rng.uniform(5, 100)
    center = rng.uniform(100, 540), rng.uniform(100, 380)
    points = (cmath.rect(radius, 2 * math.pi * i / corners) + complex(*center) for i in range(corners))
    return [round(value, 2) for point in points for value in (point.real, point.imag)]


def _run_lengths(rng: random.Random) -> dict[str, object]:
    ends = sorted(rng.sample(range(1, 480 * 640), 1000))
    return {"counts": [b - a for a, b in pairwise([0, *ends, 480 * 640])], "size": [480, 640]}


def _json(root: Path, kind: Kind = "panoptic") -> Path:
    return root / "annotations" / f"{kind}_{SPLIT}.json"


def _image(image_id: int, rng: random.Random) -> dict[str, object]:
    name = f"{image_id:012d}.jpg"
    return {
        "license": rng.randint(1, 8),
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/{SPLIT}/{name}",
        "height": rng.choice([427, 480, 640]),
        "width": rng.choice([500, 640]),
        "date_captured": "2013-11-14 11:18:45",
        "flickr_url": f"http://farm9.staticflickr.com/{rng.randrange(10**4)}/{rng.randrange(10**10)}_{image_id:010x}_z.jpg",
        "id": image_id,
    }


def _segment(rng: random.Random, category_id: int) -> dict[str, object]:
    box = [rng.randrange(640) for _ in range(4)]
    return {
        "id": rng.randint(1, 2**24 - 1),
        "category_id": category_id,
        "iscrowd": int(rng.random() < 0.01),
        "bbox": box,
        "area": box[2] * box[3],
    }


def measure(root: Path, kind: Kind) -> list[Measurement]:
    """Open the data set and read from it; call this once in a fresh process, as it measures the process's memory."""
    libraries = _memory("status", "VmRSS")
    start = time.process_time()
    dataset = CocoPanoptic(root, SPLIT) if kind == "panoptic" else CocoInstances(root, SPLIT)
    seconds = time.process_time() - start
    peak, resident = _memory("status", "VmHWM"), _memory("status", "VmRSS")
    first, last = workers_memory(dataset)
    start = time.process_time()
    read: Any = read_panoptic_json if kind == "panoptic" else read_instances_json
    read(dataset.annotation)
    json_seconds = time.process_time() - start
    most_pickled = 30 if kind == "panoptic" else None  # polygons are in the JSON, PNGs are not
    return [
        Measurement("opening, CPU seconds", seconds, 20),
        Measurement("  reading the JSON alone", json_seconds),
        Measurement("resident after opening, MB", resident),
        Measurement("  imported libraries", libraries),
        Measurement("  data set", resident - libraries, 350),
        Measurement("peak while opening, MB", peak),
        Measurement("  above the imported libraries", peak - libraries),
        Measurement(f"unshared by a worker after {SAMPLES} samples, MB", last, 30),
        Measurement("  after the first sample", first),
        Measurement("pickled for a spawned worker, MB", len(pickle.dumps(dataset)) / MEGABYTE, most_pickled),
    ]


class _Annotations(Dataset[tuple[float, float]]):
    """Reads annotations; an item is the unshared memory in MB of this worker after its first and its last sample."""

    def __init__(self, dataset: CocoPanoptic | CocoInstances) -> None:
        self._dataset = dataset
        self._read, self._first, self._last = 0, 0.0, 0.0  # each worker counts in its own copy

    def __getitem__(self, index: int) -> tuple[float, float]:
        if isinstance(self._dataset, CocoInstances):
            self._dataset.truth(index)
        else:
            assert self._dataset.images[index].annotation.segments
        self._read += 1
        if self._read in (1, SAMPLES):
            self._last = _memory("smaps_rollup", "Private_Clean", "Private_Dirty")
            self._first = self._first or self._last
        return self._first, self._last


def workers_memory(dataset: CocoPanoptic | CocoInstances) -> tuple[float, float]:
    """Unshared memory in MB of the largest worker, after its first and after its last annotation."""
    rng = random.Random(0)
    order = [rng.randrange(len(dataset)) for _ in range(WORKERS * SAMPLES)]
    items = list(
        DataLoader(
            _Annotations(dataset), batch_size=None, sampler=order, num_workers=WORKERS, multiprocessing_context="fork"
        )
    )
    first, last = (max(values) for values in zip(*items, strict=True))
    return first, last


def _memory(file: str, *keys: str) -> float:
    """The sum of entries of a file in /proc/self, in megabytes."""
    entries = dict(re.findall(r"^(\w+):\s+(\d+) kB$", Path(f"/proc/self/{file}").read_text(), re.MULTILINE))
    return sum(int(entries[key]) for key in keys) * 1024 / MEGABYTE


if __name__ == "__main__":
    main()
