"""The functions of COCO's panopticapi that detectron2, mmdetection, Mask2Former and others call, by the same names.

They take the same arguments and return the same dictionaries, as fractions. Two answers differ on purpose: a mean
over no class is NaN, where panopticapi divides by zero, and wrong areas in the JSON of the truth are an error, where
panopticapi computes with them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_layout import maps_of
from panoptic_blend.formats.coco_panoptic import Annotation, check_annotations
from panoptic_blend.machine import cores
from panoptic_blend.metrics.overlaps import Comparison, compare
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticQuality, PanopticReport, class_quality
from panoptic_blend.scoring.evaluate_files import evaluate_files
from panoptic_blend.scoring.file_pairs import FilePolicy
from panoptic_blend.structures import Category, PanopticBlendError, python_number
from panoptic_blend.terminal import percent

OFFSET = 256**3
"""The number of segment ids that three bytes can hold."""

VOID = 0
"""The segment id of unlabeled pixels."""

_FIGURES = ("pq", "sq", "rq")


@dataclass
class PQStatCat:
    """What PQ of one class is computed from: the sum of IoUs, and the counts of matches and errors."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __iadd__(self, other: PQStatCat) -> PQStatCat:
        self.iou += other.iou
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn
        return self


class PQStat:
    """The statistics of all classes, ``stat[category_id]``, which are summed with ``+=``."""

    def __init__(self) -> None:
        self.pq_per_cat: defaultdict[int, PQStatCat] = defaultdict(PQStatCat)

    def __getitem__(self, category_id: int) -> PQStatCat:
        return self.pq_per_cat[category_id]

    def __iadd__(self, other: PQStat) -> PQStat:
        for category_id, found in other.pq_per_cat.items():
            self.pq_per_cat[category_id] += found
        return self

    def pq_average(
        self, categories: Mapping[int, Mapping[str, object]], isthing: bool | None
    ) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        """Compute the means ``pq``, ``sq``, ``rq`` over the ``n`` classes that occur, and the figures of each class.

        ``categories`` are the records of the data set by id; ``isthing`` chooses things, stuff, or all classes (None).
        """
        listed = [Category.parse(record) for record in categories.values()]
        chosen = [category for category in listed if isthing is None or category.is_thing == isthing]
        found = {category.id: self[category.id] for category in chosen}
        qualities = {id: class_quality(stat.iou, stat.tp, stat.fp, stat.fn) for id, stat in found.items()}
        return _as_panopticapi(PanopticReport.of_classes(chosen, qualities), "All")


def pq_compute(
    gt_json_file: str | Path,
    pred_json_file: str | Path,
    gt_folder: str | Path | None = None,
    pred_folder: str | Path | None = None,
    *,
    policy: FilePolicy | None = None,
) -> dict[str, Any]:
    """Compute PQ, SQ and RQ of COCO panoptic results, print their table, and return them as fractions.

    Args:
        gt_json_file: the annotations of the data set.
        pred_json_file: the results, which are matched with the truth by ``image_id``.
        gt_folder: folder or zip of the truth's PNGs; by default beside the JSON, with its stem as the name.
        pred_folder: as ``gt_folder``, for the results.
        policy: treatment of missing predictions and of areas, which panopticapi does not offer. By default, a missing
            prediction is an error, an additional one is ignored, and areas are counted in the PNGs.

    Returns:
        ``All``, ``Things`` and ``Stuff``, each with ``pq``, ``sq``, ``rq`` and the number ``n`` of classes that occur,
        and ``per_class``, which maps every category id to its ``pq``, ``sq`` and ``rq``.

    Raises:
        PanopticBlendError: a file is missing or broken, JSON and PNG disagree, or ``policy`` makes it an error.
    """
    start = time.time()
    truth, prediction = Path(gt_json_file), Path(pred_json_file)
    print("Evaluation of panoptic segmentation:")
    for name, path, folder in (("Ground truth", truth, gt_folder), ("Prediction", prediction, pred_folder)):
        print(f"{name}:\n\tsegmentation folder: {folder or maps_of(path)}\n\tJSON file: {path}")
    report = evaluate_files(truth, prediction, gt_folder, pred_folder, policy=policy)
    results: dict[str, Any] = {}
    for group in GROUPS:
        results[group], per_class = _as_panopticapi(report, group)
        results.setdefault("per_class", per_class)
    _print_table(results)
    print(f"Time elapsed: {time.time() - start:.2f} seconds")
    return results


def pq_compute_multi_core(
    matched_annotations_list: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
    gt_folder: str | Path,
    pred_folder: str | Path,
    categories: Mapping[int, Mapping[str, object]],
    *,
    nproc: int | None = None,
    file_client: None = None,
    backend_args: None = None,
) -> PQStat:
    """Compute the statistics of pairs of annotations, (truth, prediction), as COCO panoptic JSON has them.

    Args:
        matched_annotations_list: records with ``image_id``, ``file_name`` and ``segments_info``.
        gt_folder: folder or zip of the truth's PNGs.
        pred_folder: folder or zip of the PNGs of the results.
        categories: the records of the data set by id.
        nproc: the highest number of threads, as mmdetection gives it; by default one per core.
        file_client: accepted because mmdetection names it; PNGs are read from the disk, so it must be None.
        backend_args: likewise.

    Raises:
        PanopticBlendError: a file is missing or broken, JSON and PNG disagree, or the truth states wrong areas.
    """
    if file_client is not None or backend_args is not None:
        raise PanopticBlendError("PNGs are read from the disk; copy them there, and give no file client or backend")
    known = Categories(categories.values())
    pairs = list(matched_annotations_list)
    truths = check_annotations([_plain(pair[0]) for pair in pairs], Path("truth"), known, areas=True)
    predictions = check_annotations([_plain(pair[1]) for pair in pairs], Path("prediction"), known, results=True)
    truth_maps, prediction_maps = Folder(Path(gt_folder)), Folder(Path(pred_folder))

    def compared(index: int) -> Comparison:
        truth = truths[index].read(Path("truth"), truth_maps)
        _require_areas(truths[index], [segment.area for segment in truth.segments], truths.areas(index))
        return compare(truth, predictions[index].read(Path("prediction"), prediction_maps, truth.segment_ids.shape))

    quality, statistics = PanopticQuality(known), PQStat()
    with ThreadPoolExecutor(min(nproc or cores(), cores())) as threads:
        for comparison in threads.map(compared, range(len(pairs))):
            quality.add(comparison)
    for category_id, found in quality.compute().per_class.items():
        statistics.pq_per_cat[category_id] = PQStatCat(found["iou_sum"], found["tp"], found["fp"], found["fn"])
    return statistics


def pq_compute_single_core(
    proc_id: int,
    annotation_set: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
    gt_folder: str | Path,
    pred_folder: str | Path,
    categories: Mapping[int, Mapping[str, object]],
    file_client: None = None,
    print_log: bool = False,
    backend_args: None = None,
) -> PQStat:
    """Compute `pq_compute_multi_core` in a single thread; with ``print_log``, say when process ``proc_id`` is done."""
    found = pq_compute_multi_core(
        annotation_set, gt_folder, pred_folder, categories, nproc=1, file_client=file_client, backend_args=backend_args
    )
    if print_log:
        print(f"Core: {proc_id}, all images processed")
    return found


def rgb2id(color: npt.ArrayLike) -> Any:
    """Segment ids ``R + 256 G + 256**2 B`` of colors (..., 3): an int32 array (...), or an int for one color."""
    channels = np.asarray(color, dtype=np.int32)
    ids = channels[..., 0] + 256 * channels[..., 1] + 256**2 * channels[..., 2]
    return ids if channels.ndim > 1 else int(ids)


def id2rgb(id_map: npt.ArrayLike) -> Any:
    """Colors of segment ids, the inverse of `rgb2id`: a uint8 array (..., 3), or a list of three for one id."""
    ids = np.asarray(id_map, dtype=np.int64)
    colors = np.stack([ids % 256, ids // 256 % 256, ids // 256**2 % 256], axis=-1).astype(np.uint8)
    return colors if ids.ndim else colors.tolist()


def _as_panopticapi(report: PanopticReport, group: str) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """The means of a group and the figures of every class of a report."""
    per_class = {
        category_id: {key: value for key, value in found.items() if key in _FIGURES}
        for category_id, found in report.per_class.items()
    }
    return dict(report[group]), per_class


def _print_table(results: Mapping[str, Any]) -> None:
    print(f"{'':10}| {'PQ':>5}  {'SQ':>5}  {'RQ':>5} {'N':>5}")
    print("-" * 38)
    for group in GROUPS:
        figures = "  ".join(f"{percent(results[group][key]):>5}" for key in _FIGURES)
        print(f"{group:10}| {figures} {results[group]['n']:5d}")


def _plain(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation whose numbers are those of Python; mmdetection has some of numpy."""
    segments = annotation.get("segments_info")
    if not isinstance(segments, Sequence):
        return dict(annotation)
    infos = [{key: python_number(value) for key, value in info.items()} for info in segments]
    return {**annotation, "image_id": python_number(annotation.get("image_id")), "segments_info": infos}


def _require_areas(annotation: Annotation, measured: Sequence[int], stated: Sequence[float]) -> None:
    for segment, pixels, area in zip(annotation.segments, measured, stated, strict=True):
        if area == area and area != pixels:
            raise PanopticBlendError(
                f"truth: image {annotation.image_id}: segment {segment.id} has area {area:g} in the JSON and {pixels} "
                "in the PNG; correct it with `data check --fix`"
            )
