"""Measure whether ``predict`` on the CPU would be faster if reading, network and writing overlapped.

    python -m evaluation.throughput --pictures DIR --config instance/blendmask_rt_r50_4x --precision bf16-mixed

The pictures of DIR are repeated up to ``--images`` and predicted with random weights that find 100 instances in each:
one step after the other, as ``predict`` works on the CPU, and overlapped. Both ways write PNGs, JSON and drawings.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from unittest.mock import patch

import torch

from evaluation.speed import model_with_detections
from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.formats.categories import default_categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.prediction import pictures as prediction
from panoptic_blend.prediction.find_pictures import find_pictures


def main() -> None:
    """Parse the options, measure, and print images per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR")
    parser.add_argument("--config", default="panoptic/blendmask_r50_3x")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    predictor = predictor_with_detections(options.config, options.precision)
    with tempfile.TemporaryDirectory() as folder:
        pictures = copies(options.pictures, Path(folder) / "pictures", options.images)
        print(f"{options.config}, {options.precision}, {torch.get_num_threads()} threads")
        for _ in range(options.rounds):
            in_turn, overlapped = rate(predictor, pictures, depth=0), rate(predictor, pictures, depth=3)
            gain = f"{100 * (overlapped / in_turn - 1):+.1f} %"
            print(f"{in_turn:.2f} images/s one step after the other, {overlapped:.2f} overlapped ({gain})")


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


def rate(predictor: Predictor, pictures: Path, depth: int) -> float:
    """Images per second of ``predict`` with a fresh output folder and a queue of ``depth`` images before each step."""
    with tempfile.TemporaryDirectory() as folder, patch.object(Predictor, "queue_depth", depth):
        start = time.perf_counter()
        count = prediction.predict_pictures(
            predictor, find_pictures([pictures])[0], Path(folder) / "out", lambda done, total: None
        )
        return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
