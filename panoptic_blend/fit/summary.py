"""Sum up a fit: evaluate the tuned model, draw three pictures, and write the page and the report in detail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_blend.data.photometric import pixels_of
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.splits import open_validation
from panoptic_blend.drawing.figures import side_by_side
from panoptic_blend.drawing.overlay import draw, enlarge
from panoptic_blend.files import replacing
from panoptic_blend.fit.report_text import Known, ReportText
from panoptic_blend.formats.coco_layout import Split, find_root, find_split
from panoptic_blend.formats.images import Picture, write_picture
from panoptic_blend.formats.instance_results import FILE_NAME
from panoptic_blend.inference.evaluation import Evaluation, Watch, evaluate
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.resampling import image_qualities
from panoptic_blend.report.command import ReportRequest, write_report
from panoptic_blend.report.instance_sets import InstancePaths
from panoptic_blend.report.instance_truth import find_truth
from panoptic_blend.scoring.details import Resampling, compute_findings
from panoptic_blend.scoring.evaluate_files import detail_pairs, pair_result_sets
from panoptic_blend.terminal import percent, progress_line
from panoptic_blend.training.initialization import BEST
from panoptic_blend.training.log import read_log

PAGE = "report.md"
FOLDER = "report"
"""The folder of the report in detail, and of the pictures of the page."""
HTML = "report.html"
RESULTS = "evaluation"
"""The folder of the results of the tuned model on the validation split."""

_WIDE = 480
"""Width in pixels to which small pictures are enlarged, so that labels fit on them."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The model of a fit, evaluated on the whole validation split, and the files of its results there."""

    predictor: Predictor
    dataset: PanopticDataset
    evaluation: Evaluation
    maps: Path
    instances: Path


def evaluate_best(predictor: Predictor, output: Path, watch: Watch | None = None) -> Judged:
    """Evaluate the model of a fit on the validation split that its config names; the results go to ``output``.

    Args:
        watch: called with every image and what the model says of it.

    Raises:
        PanopticBlendError: the data set cannot be read.
    """
    config = predictor.config
    dataset, _ = open_validation(config)
    maps, instances = output / RESULTS / f"panoptic_{config.data.val}.json", output / RESULTS / FILE_NAME
    with progress_line("evaluating", "images") as progress:
        evaluation = evaluate(
            predictor.model,
            dataset,
            config,
            results=maps,
            precision=predictor.precision,
            progress=progress,
            watch=watch,
            instance_results=instances,
        )
    return Judged(predictor, dataset, evaluation, maps, instances)


def write_summary(output: Path, judged: Judged, known: Known) -> list[str]:
    """Write ``report.md`` to ``output`` with its pictures and the HTML report.

    Returns:
        Lines for the terminal: how good the model is, what limits it, what to label next, what to change, and where
        the files are; then the warnings.

    Raises:
        PanopticBlendError: the data set cannot be read.
    """
    details = findings = html = None
    pictures: list[tuple[str, Path]] = []
    if judged.evaluation.panoptic:
        data = judged.predictor.config.data
        split = find_split(find_root(data.root), data.val)
        html = _report(judged, split, output / FOLDER / HTML)
        [details] = detail_pairs(pair_result_sets(split.json, [(judged.maps, None)], split.maps))
        findings = compute_findings(details, None, Resampling())
        pictures = list(_draw(judged, details, output / FOLDER))
    log = [record.get("PQ") for record in read_log(output)]
    text = ReportText(
        known=known,
        evaluation=judged.evaluation,
        images=len(judged.dataset),
        details=details,
        findings=findings,
        history=[pq for pq in log if pq is not None],
        model=output / BEST,
        page=output / PAGE,
        html=html,
        pictures=pictures,
    )
    with replacing(output / PAGE) as temporary:
        temporary.write_text(text.text(), encoding="utf-8")
    return text.lines()


def _report(judged: Judged, split: Split, page: Path) -> Path:
    """Write the report in detail; returns its page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    request = ReportRequest(
        truth=split.json,
        prediction=judged.maps,
        photos=split.pictures,
        page=page,
        truth_folder=split.maps,
        overwrite=True,
        instances=InstancePaths(judged.instances, find_truth(split.json)),
    )
    with progress_line("comparing", "images") as progress:
        written, *_ = write_report(request, Resampling(), progress)
    return written


def _draw(judged: Judged, details: PanopticDetails, folder: Path) -> Iterator[tuple[str, Path]]:
    """Draw the best, a typical and the worst picture; yields title and file of each."""
    qualities = image_qualities(details.tallies())
    order = [int(row) for row in np.argsort(-qualities) if not np.isnan(qualities[row])]
    places = {image_id: index for index, image_id in enumerate(judged.dataset.images.ids)}
    rows = {"best": order[:1], "typical": order[len(order) // 2 :][:1], "worst": order[-1:]}
    for name, [row] in ((name, chosen) for name, chosen in rows.items() if chosen):
        path = folder / f"{name}.png"
        write_picture(path, comparison(judged.predictor, judged.dataset, places[details.images[row]]))
        yield f"{'A typical one' if name == 'typical' else f'The {name}'} (PQ {percent(float(qualities[row]))})", path


def comparison(predictor: Predictor, dataset: PanopticDataset, index: int) -> Picture:
    """The photo, its annotation and the prediction side by side; small ones enlarged, so that labels fit on them."""
    sample = dataset[index]
    photo = pixels_of(sample.image)
    scale = max(1, _WIDE // photo.shape[1])
    enlarged = [enlarge(photo, m, scale) for m in (sample.panoptic_truth(), predictor.predict(photo))]
    drawn = [draw(*pair, dataset.categories) for pair in enlarged]
    return side_by_side([enlarged[0][0], *drawn], ["photo", "labels", "model"])
