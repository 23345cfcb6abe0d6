"""Measure how many pictures ``predict`` does in a second on the CPU, one after the other and in parallel.

    python -m evaluation.throughput --pictures DIR --config instance/blendmask_rt_r50_4x --precision bf16-mixed
    python -m evaluation.throughput --pictures DIR --exported FOLDER

The pictures of DIR are repeated up to ``--images``. A config is predicted with random weights that find 100 instances
in each: one step after the other, as ``predict`` works on the CPU, and with reading, network and writing overlapped. An
exported model is given all cores for one picture, or each core a picture of its own, as ``predict`` does. All ways
write PNGs, JSON and drawings.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from evaluation.speed import model_with_detections
from panoptic_blend import deploy
from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.formats.categories import default_categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.machine import cores
from panoptic_blend.prediction import pictures as prediction
from panoptic_blend.prediction.find_pictures import find_pictures
from panoptic_blend.prediction.protocol import PicturePredictor


def main() -> None:
    """Parse the options, measure, and print images per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR")
    parser.add_argument("--config", default="panoptic/blendmask_r50_3x")
    parser.add_argument("--exported", type=Path, metavar="FOLDER", help="an exported model, in place of a config")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    ways = exported_ways(options.exported) if options.exported else config_ways(options.config, options.precision)
    name = options.exported or f"{options.config}, {options.precision}"
    with tempfile.TemporaryDirectory() as folder:
        pictures = copies(options.pictures, Path(folder) / "pictures", options.images)
        print(f"{name}, {cores()} cores")
        for _ in range(options.rounds):
            (one, first), (other, second) = ((words, rate(predictor, pictures)) for words, predictor in ways.items())
            print(f"{first:.2f} images/s {one}, {second:.2f} {other} ({100 * (second / first - 1):+.1f} %)")


def config_ways(name: str, precision: Precision) -> dict[str, PicturePredictor]:
    """A predictor with the model of ``evaluation.speed`` as it is, and one whose steps overlap."""
    plain = predictor_with_detections(name, precision)
    overlapped = _Overlapped(plain.model, plain.config, plain.categories, precision)
    return {"one step after the other": plain, "overlapped": overlapped}


class _Overlapped(Predictor):
    """A predictor whose steps overlap, as on a GPU."""

    queue_depth = 3


def exported_ways(folder: Path) -> dict[str, PicturePredictor]:
    """An exported model with all cores for one picture, and with a core for each picture."""
    return {"one picture at a time": deploy.load(folder), "one for each core": deploy.load(folder, at_once=cores())}


def predictor_with_detections(name: str, precision: Precision) -> Predictor:
    """A predictor with the model of ``evaluation.speed``."""
    config = load_config(name)
    categories = default_categories(config.model.num_things, config.model.num_stuff)
    return Predictor(model_with_detections(name, precision), config, categories, precision)


def copies(source: Path, folder: Path, number: int) -> Path:
    """Fill a new folder with ``number`` copies of the pictures in ``source``, used in turn."""
    folder.mkdir()
    pictures = [found.path for found in find_pictures([source])[0] if isinstance(found.path, Path)]
    for i, picture in enumerate(islice(cycle(pictures), number)):
        shutil.copyfile(picture, folder / f"{i}{picture.suffix}")
    return folder


def rate(predictor: PicturePredictor, pictures: Path) -> float:
    """Images per second of ``predict`` with a fresh output folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        count = prediction.predict_pictures(
            predictor, find_pictures([pictures])[0], Path(folder) / "out", lambda done, total: None
        )
        return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
