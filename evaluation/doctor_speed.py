"""Measure how long ``panoptic-blend data check`` takes on the images of a split, repeated up to a given number.

    python -m evaluation.doctor_speed DIR --images 5000

The files are links in a temporary folder, each with its own name. Exits non-zero above ``--limit`` seconds of CPU time
per image, or if the check finds an error in the split.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from panoptic_blend.doctor.checkup import check
from panoptic_blend.doctor.layout import SplitPaths, find_splits

NAME = "val2017"


def main() -> None:
    """Parse the options, measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a small COCO root")
    parser.add_argument("--split", default=NAME)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--limit", type=float, default=0.024, help="seconds of CPU time per image")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        replicate(find_splits(options.root.resolve(), options.split)[0], root, options.images, NAME)
        wall, cpu = time.perf_counter(), cpu_seconds()
        report = check(root, NAME, workers=options.workers)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    counts = report.splits[0].counts
    print(f"{counts.images} images, {counts.segments} segments: {wall:.1f} s, {cpu:.1f} s of CPU time")
    print(f"per image: {1000 * wall / counts.images:.1f} ms, {1000 * cpu / counts.images:.1f} ms of CPU time")
    own, worker = _peak(resource.RUSAGE_SELF), _peak(resource.RUSAGE_CHILDREN)
    print(f"peak memory: {own} MiB in this process, at most {worker} MiB in a worker")
    sys.exit(not report.is_sound or cpu / counts.images > options.limit)


def replicate(source: SplitPaths, root: Path, number: int, name: str) -> None:
    """Write a split of this ``name`` with ``number`` images whose files are links to those of ``source``."""
    content = json.loads(source.json.read_bytes())
    annotations = {record["image_id"]: record for record in content["annotations"]}
    pictures, maps = root / name, root / "annotations" / f"panoptic_{name}"
    pictures.mkdir(parents=True)
    maps.mkdir(parents=True)
    images, records = [], []
    for i, image in enumerate(islice(cycle(content["images"]), number), start=1):
        annotation = annotations[image["id"]]
        picture, png = f"{i:012d}{Path(image['file_name']).suffix}", f"{i:012d}.png"
        (pictures / picture).symlink_to(source.pictures / image["file_name"])
        (maps / png).symlink_to(source.maps / annotation["file_name"])
        images.append({**image, "id": i, "file_name": picture})
        records.append({**annotation, "image_id": i, "file_name": png})
    written = {**content, "images": images, "annotations": records}
    maps.with_suffix(".json").write_text(json.dumps(written))


def cpu_seconds() -> float:
    """CPU seconds of this process and of the child processes that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss // 1024


if __name__ == "__main__":
    main()
