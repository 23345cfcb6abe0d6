"""Sum up a fit: evaluate the tuned model, draw three pictures, and write the page and the report in detail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from panoptic_blend.data.photometric import pixels_of
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.splits import open_validation
from panoptic_blend.drawing.figures import side_by_side
from panoptic_blend.drawing.overlay import draw, enlarge
from panoptic_blend.files import replacing
from panoptic_blend.fit.report_text import Known, ReportText
from panoptic_blend.formats.coco_layout import find_root, find_split
from panoptic_blend.formats.images import Picture, write_picture
from panoptic_blend.formats.instance_results import FILE_NAME
from panoptic_blend.inference.evaluation import Evaluation, Watch, evaluate
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.resampling import image_qualities
from panoptic_blend.report.command import InstanceRequest, ReportRequest, write_instance_report, write_report
from panoptic_blend.report.instance_sets import InstancePaths
from panoptic_blend.report.instance_truth import find_truth
from panoptic_blend.scoring.details import Findings, Resampling, compute_findings
from panoptic_blend.scoring.evaluate_files import detail_pairs
from panoptic_blend.scoring.file_pairs import FilePairs, iter_images
from panoptic_blend.scoring.instance_files import InstanceFiles
from panoptic_blend.scoring.instance_findings import InstanceFindings, compute_instance_findings
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
    html, resampling = output / FOLDER / HTML, Resampling()
    details, pictures = None, list[tuple[str, Path]]()
    if judged.evaluation.panoptic:
        pairs = _report(judged, html, resampling)
        [details] = detail_pairs([pairs])
        findings: Findings | InstanceFindings = compute_findings(details, None, resampling)
        pictures = list(_draw(judged, pairs, details, output / FOLDER))
    else:
        findings = _instance_report(judged, html, resampling)
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


def _report(judged: Judged, page: Path, resampling: Resampling) -> FilePairs:
    """Write the report in detail; returns the maps that it compares."""
    data = judged.predictor.config.data
    split = find_split(find_root(data.root), data.val)
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
        write_report(request, resampling, progress)
    return FilePairs(split.json, judged.maps, split.maps)


def _instance_report(judged: Judged, page: Path, resampling: Resampling) -> InstanceFindings:
    """Write the report in detail of instances alone; returns their figures, with intervals and causes of errors."""
    data, truth = judged.predictor.config.data, judged.dataset.annotation
    assert truth, "instances are read from a file"
    page.parent.mkdir(parents=True, exist_ok=True)
    photos = find_root(data.root) / data.val
    request = InstanceRequest(InstancePaths(judged.instances, truth), photos, page, overwrite=True)
    with progress_line("comparing", "images") as progress:
        write_instance_report(request, resampling, progress)
    return compute_instance_findings(InstanceFiles(truth, [judged.instances]), resampling, causes=True)


def _draw(judged: Judged, pairs: FilePairs, details: PanopticDetails, folder: Path) -> Iterator[tuple[str, Path]]:
    """Draw the best, a typical and the worst picture; yields title and file of each."""
    qualities = image_qualities(details.tallies())
    order = [int(row) for row in np.argsort(-qualities) if not np.isnan(qualities[row])]
    rows = {"best": order[:1], "typical": order[len(order) // 2 :][:1], "worst": order[-1:]}
    chosen = {name: row for name, found in rows.items() for row in found}
    for (name, row), picture in zip(
        chosen.items(), comparisons(pairs, judged.dataset, list(chosen.values())), strict=True
    ):
        path = folder / f"{name}.png"
        write_picture(path, picture)
        yield f"{'A typical one' if name == 'typical' else f'The {name}'} (PQ {percent(float(qualities[row]))})", path


def comparisons(pairs: FilePairs, dataset: PanopticDataset, rows: Sequence[int]) -> Iterator[Picture]:
    """Draw the images in some ``rows`` of ``pairs``: photo, annotation and prediction side by side.

    Small ones are enlarged, so that labels fit on them.
    """
    places = {image_id: index for index, image_id in enumerate(dataset.images.ids)}
    for pair in iter_images([pairs], itemgetter(0), only=rows):
        photo = pixels_of(dataset[places[pair.image.id]].image)
        scale = max(1, _WIDE // photo.shape[1])
        enlarged = [enlarge(photo, found.measure(), scale) for found in (pair.truth, pair.prediction)]
        drawn = [draw(*each, dataset.categories) for each in enlarged]
        yield side_by_side([enlarged[0][0], *drawn], ["photo", "labels", "model"])
