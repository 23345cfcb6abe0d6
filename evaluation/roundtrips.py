"""Read what `data export` writes by the libraries of the tools that it is for, and compare every segment with its mask.

    python -m evaluation.roundtrips --pictures 20

Each format is read by every library that is installed: labelme, pycocotools, supervision, datumaro, ultralytics,
label-studio-sdk, fiftyone, torchvision, cityscapesscripts and Pillow. Pictures are of Shapes, with holes, crowds, void
and segments in several parts. The exit code is 1 if a segment is lost, or has another class, or if pixels differ
although masks or a tolerance of 0 were asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.table import Table

from evaluation.roundtrip_readers import READERS, Reader, Shapes
from panoptic_blend.interchange.exporting import WRITERS, drawing, export
from panoptic_blend.interchange.source import open_source
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.terminal import print_tables

WAYS: dict[str, dict[str, Any]] = {
    "masks": {"tolerance": None, "masks": True},
    "polygons, 0": {"tolerance": 0.0, "masks": False},
    "polygons, 1": {"tolerance": 1.0, "masks": False},
}


@dataclass(frozen=True)
class Verdict:
    """How the segments of one export were read: all, those with the very same pixels, and the lowest and mean IoU."""

    form: str
    reader: str
    way: str
    segments: int
    missing: int
    exact: int
    lowest: float
    mean: float
    error: str = ""

    def is_right(self, reader: Reader) -> bool:
        """Whether nothing is lost, and no pixel differs where none may."""
        may_differ = self.way == "polygons, 1" or (self.way != "masks" and not reader.fills_as_we_do)
        return not self.error and not self.missing and (may_differ or self.exact == self.segments)


def compared(truth: dict[str, Shapes], found: dict[str, Shapes]) -> tuple[int, int, list[float]]:
    """The number of true segments, of those without a counterpart of their class, and the IoU of each with its own."""
    missing, ious = 0, []
    for name, shapes in truth.items():
        left = list(found.get(name, ()))
        for label, mask in shapes:
            own = [
                (float((mask & m).sum() / max((mask | m).sum(), 1)), i) for i, (n, m) in enumerate(left) if n == label
            ]
            best, place = max(own, default=(0.0, -1))
            missing += best == 0
            if best:
                ious.append(best)
                del left[place]
        missing += len(left)
    return sum(map(len, truth.values())), missing, ious


def judged(reader: Reader, way: str, root: Path, folder: Path) -> Verdict:
    """Export, read and compare."""
    source = replace(open_source(root, "val2017"), split="val")
    drawn = drawing(reader.form, **WAYS[way])
    export(source, reader.form, folder, drawn, lambda done, total: None, link=False, with_pictures=True)
    truth = dict[str, Shapes]()
    for place in source.places:
        picture, shapes = source.read(place), Shapes()
        for region in picture.regions:
            if reader.form != "yolo-seg" or not region.segment.is_crowd:
                mask = np.zeros(picture.size, bool)
                mask[region.cutout.window] = region.cutout.mask
                shapes.append((region.category.name, mask))
        truth[Path(picture.name).stem] = shapes
    try:
        segments, missing, ious = compared(truth, dict(reader.read(folder)))
    except Exception as error:  # of any library
        return Verdict(reader.form, reader.package, way, 0, 0, 0, 0, 0, f"{type(error).__name__}: {error}"[:200])
    exact = sum(iou == 1 for iou in ious)
    lowest, mean = (min(ious), float(np.mean(ious))) if ious else (0.0, 0.0)
    return Verdict(
        reader.form, f"{reader.package} {_version(reader.package)}", way, segments, missing, exact, lowest, mean
    )


def _version(package: str) -> str:
    return version("pillow" if package == "PIL" else package.replace("_", "-"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge all formats and libraries that are installed; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20, help="number of generated pictures")
    parser.add_argument("--only", nargs="*", help="only these libraries")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    given = parser.parse_args(arguments)
    chosen = [reader for reader in READERS if not given.only or reader.package in given.only]
    absent = sorted({reader.package for reader in chosen if find_spec(reader.package) is None})
    verdicts, are_right = list[Verdict](), True
    with TemporaryDirectory() as name:
        write_shapes(Path(name) / "shapes", train=1, val=given.pictures, seed=0)
        for number, reader in enumerate(reader for reader in chosen if reader.package not in absent):
            for way in WAYS:
                if not (WRITERS[reader.form].has_masks if way == "masks" else WRITERS[reader.form].has_polygons):
                    continue
                folder = Path(name) / f"{number} {way}"
                verdicts.append(judged(reader, way, Path(name) / "shapes", folder))
                are_right &= verdicts[-1].is_right(reader)
    table = Table(
        "format", "read by", "written as", "segments", "lost", "same pixels", "lowest IoU", "mean IoU", "error"
    )
    for each in verdicts:
        figures = [str(each.segments), str(each.missing), str(each.exact), f"{each.lowest:.3f}", f"{each.mean:.4f}"]
        table.add_row(each.form, each.reader, each.way, *figures, each.error)
    print_tables(table, remarks=[f"not installed: {', '.join(absent)}"] if absent else [])
    if given.output:
        given.output.write_text(json.dumps([vars(each) for each in verdicts], indent=1) + "\n")
    return 0 if are_right else 1


if __name__ == "__main__":
    sys.exit(main())
