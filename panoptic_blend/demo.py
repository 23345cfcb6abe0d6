"""The demo: generate the Shapes data set, train and evaluate a model on it, and draw figures of its predictions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.protocol import PanopticDataset, Sample
from panoptic_blend.drawing.figures import side_by_side, stack
from panoptic_blend.drawing.overlay import draw, enlarge
from panoptic_blend.formats.images import Picture, write_picture
from panoptic_blend.inference.explanation import explain
from panoptic_blend.inference.predictor import Predictor, load
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.terminal import print_tables, progress_line
from panoptic_blend.training.initialization import LAST
from panoptic_blend.training.loop import train

_SCALE = 3
"""Factor by which the figures enlarge the small pictures of Shapes."""
_ROWS = 5
"""Maximum number of images or detections in a figure."""


def run_demo(output: Path, data_root: Path, name: str = "demo/shapes_r18") -> None:
    """Generate Shapes in ``data_root``, train in ``output``, print tables and draw figures; finished steps are skipped.

    Args:
        name: name or path of the config.
    """
    config = load_config(name, [f"data.root={data_root}"])
    if not _is_generated(data_root):
        with progress_line("generating Shapes") as progress:
            write_shapes(data_root, 2000, 200, progress=lambda done: progress(done, 2200))
    print(f"data set: {data_root}")
    # a finished run is not trained again, only evaluated
    evaluation = train(config, output, resume=True, share_cores=True)
    print_tables(*evaluation.tables()[1:])  # the table of classes is long
    predictor = load(output / LAST, precision=config.train.precision)
    for path in draw_figures(predictor, CocoPanoptic(data_root, config.data.val), output / "figures"):
        print(f"see {path}")


def draw_figures(predictor: Predictor, dataset: PanopticDataset, folder: Path) -> list[Path]:
    """Draw truth and prediction of a few images, and the bases and, if it has instances, attentions of the first one.

    The last two are as figures 3 and 1 of the BlendMask paper. Returns the paths of the figures.
    """
    explained = explain(predictor, _picture(dataset[0]), best=_ROWS).figures()
    rows = [_comparison(predictor, dataset, i) for i in range(min(_ROWS, len(dataset)))]
    figures: dict[str, Picture] = {"panoptic.png": stack(rows)}
    figures |= {name: explained[name] for name in ("bases.png", "attentions.png") if name in explained}
    for file_name, figure in figures.items():
        write_picture(folder / file_name, figure)
    return [folder / file_name for file_name in figures]


def _comparison(predictor: Predictor, dataset: PanopticDataset, index: int) -> Picture:
    sample = dataset[index]
    photo = _picture(sample)
    maps = sample.panoptic_truth(), predictor.predict(photo)
    drawn = [draw(*enlarge(photo, panoptic, _SCALE), dataset.categories) for panoptic in maps]
    return side_by_side([_enlarged(photo), *drawn], ["photo", "truth", "prediction"])


def _picture(sample: Sample) -> Picture:
    return np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())


def _enlarged(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_CUBIC), np.uint8)


def _is_generated(root: Path) -> bool:
    return all((root / "annotations" / f"panoptic_{split}2017.json").exists() for split in ("train", "val"))
