"""The demo: generate Shapes, train, evaluate, and show what was learned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from torch import Tensor

from panoptic_blend.checkpoints.io import read_state
from panoptic_blend.config import Config, load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.images import Picture, write_picture
from panoptic_blend.data.shapes import write_shapes
from panoptic_blend.drawing import draw, enlarge
from panoptic_blend.engine.evaluate import evaluate
from panoptic_blend.engine.tables import column_table, progress_line, quality_table
from panoptic_blend.engine.train import LAST, STATE, train
from panoptic_blend.figures import draw_attentions, draw_bases, side_by_side, stack
from panoptic_blend.inference import Predictor, load

_SCALE = 3
"""Shapes' pictures are small; they are shown this much larger."""


def run_demo(output: Path, data_root: Path, name: str = "demo/shapes_r18") -> None:
    """Do what is not done yet: the data set in ``data_root``, training in ``output``, then tables and figures."""
    console = Console()
    config = load_config(name, [f"data.root={data_root}"])
    if not _is_generated(data_root):
        with progress_line("generating Shapes") as progress:
            write_shapes(data_root, 2000, 200, progress=lambda done: progress(done, 2200))
    console.print(f"data set: {data_root} (2000 training and 200 validation images)")
    if not _is_trained(output, config):
        train(config, output, resume=True)
    predictor = load(output / LAST, overrides=[f"data.root={data_root}"], precision=config.train.precision)
    dataset = CocoPanoptic(data_root, config.data.val)
    with progress_line("evaluating") as progress:
        evaluation = evaluate(predictor.model, dataset, predictor.config, None, predictor.precision, progress)
    console.print(quality_table(evaluation.panoptic), column_table(evaluation.columns()))
    for path in draw_figures(predictor, dataset, output / "figures"):
        console.print(f"see {path}")


def draw_figures(predictor: Predictor, dataset: CocoPanoptic, folder: Path, count: int = 6) -> list[Path]:
    """Photo | truth | prediction of the first ``count`` images, bases and attentions (the paper's figures 1 and 3)."""
    rows, picture = [], dataset.picture(0)
    for index in range(min(count, len(dataset))):
        photo, truth = dataset.picture(index), dataset.truth(index)
        prediction = predictor.output(photo).panoptic
        drawn = [draw(*enlarge(photo, panoptic, _SCALE), dataset.categories) for panoptic in (truth, prediction)]
        rows.append(side_by_side([_enlarged(photo), *drawn], ["photo", "truth", "prediction"]))
    output = predictor.output(picture)
    large = _enlarged(picture)
    shown = min(4, len(output.boxes))
    names = [predictor.categories.by_id[predictor.categories.thing_ids[label]].name for label in output.labels[:shown]]
    masks = np.stack([_enlarged(mask) for mask in output.masks[:shown].numpy().astype(np.uint8)] or [large[:0, :, 0]])
    attentions = draw_attentions(
        large,
        _array(output.boxes[:shown] * _SCALE),
        _array(output.attentions[:shown]),
        masks > 0,
        _array(output.bases),
        [f"{name} {score:.2f}" for name, score in zip(names, output.scores.tolist(), strict=False)],
    )
    figures = {
        "panoptic.png": stack(rows),
        "bases.png": draw_bases(large, _array(output.bases)),
        "attentions.png": attentions,
    }
    for file_name, figure in figures.items():
        write_picture(folder / file_name, figure)
    return [folder / file_name for file_name in figures]


def _enlarged(picture: Picture) -> Picture:
    interpolation = cv2.INTER_CUBIC if picture.ndim == 3 else cv2.INTER_NEAREST
    return cv2.resize(picture, None, fx=_SCALE, fy=_SCALE, interpolation=interpolation)  # type: ignore[return-value]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()


def _is_generated(root: Path) -> bool:
    return all((root / "annotations" / f"panoptic_{split}2017.json").exists() for split in ("train", "val"))


def _is_trained(output: Path, config: Config) -> bool:
    """Whether the run in ``output`` reached its last iteration."""
    return (output / STATE).exists() and read_state(output / STATE)["iteration"] >= config.train.iterations
