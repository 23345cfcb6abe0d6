"""Measure how long ``panoptic-blend fit --dry-run`` takes on the splits of a data set, repeated to the size of COCO.

    python -m evaluation.fit_planning DIR --images 118000

The files are links in a temporary folder, as in `evaluation.doctor_speed`. Exits non-zero above ``--limit`` seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from evaluation.doctor_speed import cpu_seconds, replicate
from panoptic_blend.doctor.layout import find_splits
from panoptic_blend.fit.run import fit
from panoptic_blend.fit.wanted import Wanted


def main() -> None:
    """Parse the options, measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a small COCO root with the splits train2017 and val2017")
    parser.add_argument("--images", type=int, default=118_000, help="training pictures")
    parser.add_argument("--val-images", type=int, default=5000, help="validation pictures")
    parser.add_argument("--minutes", type=float, default=600.0, help="the time of the fit that is planned")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        for name, number in (("train2017", options.images), ("val2017", options.val_images)):
            replicate(find_splits(options.root.resolve(), name)[0], root, number, name)
        wall, cpu = time.perf_counter(), cpu_seconds()
        fit(root, Path(folder) / "run", Wanted(minutes=options.minutes, weights="none"), dry_run=True)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    print(f"a plan for {options.images} + {options.val_images} pictures: {wall:.0f} s, {cpu:.0f} s of CPU time")
    sys.exit(wall > options.limit)


if __name__ == "__main__":
    main()
