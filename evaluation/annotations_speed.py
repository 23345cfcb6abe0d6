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
import json
import multiprocessing
import pickle
import random
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from evaluation.timing import Measurement, measurement_table
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.formats.coco_panoptic import read_panoptic_json

SPLIT = "train2017"
WORKERS, SAMPLES = 2, 2000
MEGABYTE = 10**6


def main() -> None:
    """Measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_000)
    title, measurements = measure_in_fresh_process(parser.parse_args().images)
    Console().print(measurement_table(title, measurements))
    sys.exit(any(measurement.is_missed for measurement in measurements))


def measure_in_fresh_process(images: int) -> tuple[str, list[Measurement]]:
    """Write a data set and measure it in a fresh process; return its description and the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        segments = write_data_set(Path(folder), images)
        size = _json(Path(folder)).stat().st_size
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            measurements = fresh.submit(measure, Path(folder)).result()
    return f"{images} images, {segments} segments, {size / MEGABYTE:.0f} MB of JSON", measurements


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


def _json(root: Path) -> Path:
    return root / "annotations" / f"panoptic_{SPLIT}.json"


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


def measure(root: Path) -> list[Measurement]:
    """Open the data set and read from it; call this once in a fresh process, as it measures the process's memory."""
    libraries = _memory("status", "VmRSS")
    start = time.process_time()
    dataset = CocoPanoptic(root, SPLIT)
    seconds = time.process_time() - start
    peak, resident = _memory("status", "VmHWM"), _memory("status", "VmRSS")
    first, last = workers_memory(dataset)
    start = time.process_time()
    read_panoptic_json(dataset.paths.json)
    json_seconds = time.process_time() - start
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
        Measurement("pickled for a spawned worker, MB", len(pickle.dumps(dataset)) / MEGABYTE, 30),
    ]


class _Annotations(Dataset[tuple[float, float]]):
    """Reads annotations; an item is the unshared memory in MB of this worker after its first and its last sample."""

    def __init__(self, dataset: CocoPanoptic) -> None:
        self._dataset = dataset
        self._read, self._first, self._last = 0, 0.0, 0.0  # each worker counts in its own copy

    def __getitem__(self, index: int) -> tuple[float, float]:
        image = self._dataset.images[index]
        assert image.annotation.segments
        self._read += 1
        if self._read in (1, SAMPLES):
            self._last = _memory("smaps_rollup", "Private_Clean", "Private_Dirty")
            self._first = self._first or self._last
        return self._first, self._last


def workers_memory(dataset: CocoPanoptic) -> tuple[float, float]:
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
