"""Measure the processor time of ``panoptic-blend report`` for a picture of 640 x 480.

    python -m evaluation.report_speed --data datasets/coco --images 200

The maps are those of `evaluation.pq_speed`, made from the PNGs of a COCO root; the photos are its photos at this size.
Reported is the time of the whole report, with 1,000 resamples, divided by the number of images, and this time for 5,000
images: what is done once for a page is in both. Exits non-zero if 5,000 images would take more than 60 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from evaluation.pq_speed import SIZE, write_pairs
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.report.command import ReportRequest, write_report
from panoptic_blend.scoring.details import Resampling

IMAGES, SECONDS = 5000, 60.0


def main() -> None:
    """Measure, print, and exit non-zero if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("datasets/coco"), help="root of a COCO data set")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(options.data, options.split, options.images, Path(folder))
    total = IMAGES * seconds
    print(f"{1000 * seconds:.1f} ms of processor time per image, {total:.0f} s for {IMAGES} (target {SECONDS:.0f} s)")
    sys.exit(total > SECONDS)


def measure(data: Path, split: str, images: int, folder: Path) -> float:
    """Write pairs, photos and a report of them to ``folder``; returns seconds of processor time per image."""
    source = data / "annotations" / f"panoptic_{split}.json"
    write_pairs(source, images, folder)
    photos = folder / "photos"
    photos.mkdir()
    names = read_panoptic_json(source, pictures=True).images.file_names
    for number, name in enumerate(islice(cycle(names), images), start=1):
        photo = cv2.resize(np.asarray(cv2.imread(str(data / split / name))), SIZE[::-1])
        cv2.imwrite(str(photos / f"{number}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])
    request = ReportRequest(folder / "truth.json", folder / "prediction.json", photos, folder / "report.html")
    start = time.process_time()
    write_report(request, Resampling())
    return (time.process_time() - start) / images


if __name__ == "__main__":
    main()
