"""The demo: generate the Shapes data set, fit a model to it, and draw figures of its predictions."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.photometric import pixels_of
from panoptic_blend.drawing.figures import stack
from panoptic_blend.fit.run import fit
from panoptic_blend.fit.summary import RESULTS, comparisons
from panoptic_blend.fit.wanted import Wanted
from panoptic_blend.formats.images import Picture, write_picture
from panoptic_blend.inference.explanation import explain
from panoptic_blend.inference.predictor import load
from panoptic_blend.scoring.file_pairs import FilePairs
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.terminal import progress_line
from panoptic_blend.training.initialization import BEST

WANTED = Wanted(minutes=8, weights="none")
"""The same everywhere: a small network from random weights, in a time that leaves two of ten minutes for all else."""

_ROWS = 5
"""Maximum number of images or detections in a figure."""


def run_demo(output: Path, data_root: Path, wanted: Wanted = WANTED) -> None:
    """Generate Shapes in ``data_root``, fit in ``output`` and draw figures; finished steps are skipped."""
    if not _is_generated(data_root):
        with progress_line("generating Shapes") as progress:
            write_shapes(data_root, 2000, 200, progress=lambda done: progress(done, 2200))
    print(f"data set: {data_root}")
    fit(data_root, output, wanted, resume=True)
    for path in draw_figures(output, data_root):
        print(f"see {path}")


def draw_figures(output: Path, data_root: Path) -> list[Path]:
    """Draw truth and prediction of a few images, and the bases and, if it has instances, attentions of the first one.

    The last two are as figures 3 and 1 of the BlendMask paper. Returns the paths of the figures, in ``output``.
    """
    predictor, folder = load(output / BEST), output / "figures"
    dataset = CocoPanoptic(data_root, predictor.config.data.val)
    pairs = FilePairs(dataset.paths.json, output / RESULTS / dataset.paths.json.name, dataset.paths.maps)
    explained = explain(predictor, pixels_of(dataset[0].image), best=_ROWS).figures()
    rows = list(comparisons(pairs, dataset, range(min(_ROWS, len(dataset)))))
    figures: dict[str, Picture] = {"panoptic.png": stack(rows)}
    figures |= {name: explained[name] for name in ("bases.png", "attentions.png") if name in explained}
    for file_name, figure in figures.items():
        write_picture(folder / file_name, figure)
    return [folder / file_name for file_name in figures]


def _is_generated(root: Path) -> bool:
    return all((root / "annotations" / f"panoptic_{split}2017.json").exists() for split in ("train", "val"))
