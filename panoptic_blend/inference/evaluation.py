"""Evaluate a model on a data set: the columns of BlendMask's appendix A, and results in COCO's format."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from panoptic_blend.checkpoints.reading import Figure
from panoptic_blend.config.experiment import Config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.data.loader import EvaluationSample, evaluation_samples
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.targets import semantic_map
from panoptic_blend.data.transforms import Resizing
from panoptic_blend.deploy.predictor import ExportedPredictor
from panoptic_blend.failures import doing
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.instance_results import InstanceResultsWriter, writing_results
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.inference.forward import in_evaluation, run_network
from panoptic_blend.instances import FoundInstances
from panoptic_blend.machine import overlapped
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.class_pixels import ClassPixels
from panoptic_blend.metrics.details import PanopticDetails, Tallies
from panoptic_blend.metrics.instance_conversion import output_instances
from panoptic_blend.metrics.instance_report import TWELVE, InstanceFigures, InstanceReport
from panoptic_blend.metrics.overlaps import compare
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticQuality, PanopticReport
from panoptic_blend.metrics.semantic_iou import SemanticIoU
from panoptic_blend.metrics.sparse import Integers
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.prediction.sharing import ALONE, Alone, Shard
from panoptic_blend.scoring.hopeless import Training, reasons
from panoptic_blend.scoring.instance_tables import InstanceTruth, class_tables, instance_tables
from panoptic_blend.scoring.tables import class_table, column_table, quality_table
from panoptic_blend.structures import THING_CLASS, ImageId, Output, PanopticBlendError, Progress, as_array

Watch = Callable[[EvaluationSample, Output[Any]], None]
"""Sees an image and the output of the model for it."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on a data set, as fractions.

    Figures over nothing are NaN: AP without a thing in the truth, mIoU (mean over the stuff classes that occur in the
    truth, and over all things together) without stuff in the truth. For a model without semantic head ``mean_iou`` is
    None, and ``panoptic`` has no predictions of stuff. Without panoptic annotation, both are None.
    """

    panoptic: PanopticReport | None
    instances: InstanceReport
    instance_truth: InstanceTruth
    mean_iou: float | None
    pixels: Integers
    """Counts (C + 1, C + 1) of `ClassPixels`."""
    tallies: Tallies | None = None
    """The counts of every image, by which two evaluations are compared, if they were wanted."""

    def doubts(self, training: Training | None = None) -> list[str]:
        """At most three lines that say why the model is hopeless, if it is."""
        if self.panoptic is None:
            return []
        columns = self.columns()
        return reasons(columns.get("PQ", columns["PQ_Th"]), self.pixels, self.panoptic.categories, training)

    @property
    def _masks(self) -> InstanceFigures:
        assert self.instances.mask, "every model predicts masks"
        return self.instances.mask

    def best_by(self) -> tuple[Figure, float]:
        """The figure by which the best weights of a run are chosen: PQ, or AP of masks without panoptic annotation."""
        return ("pq", self.panoptic["All"]["pq"]) if self.panoptic else ("ap", self._masks.ap)

    def columns(self) -> dict[str, float]:
        """The columns of table 1 in BlendMask's appendix A.

        Only those of things without semantic head, and only AP without panoptic annotation.
        """
        precisions = {"AP_box": self.instances.box.ap, "AP_Th": self._masks.ap}
        if self.panoptic is None:
            return precisions
        all_, things, stuff = (self.panoptic[group] for group in GROUPS)
        if self.mean_iou is None:
            return {**precisions, "PQ_Th": things["pq"]}
        return {
            "PQ": all_["pq"],
            "SQ": all_["sq"],
            "RQ": all_["rq"],
            "PQ_Th": things["pq"],
            "PQ_St": stuff["pq"],
            "mIoU": self.mean_iou,
            **precisions,
        }

    def figures(self) -> dict[str, float]:
        """The columns, and AP of masks at single IoU thresholds and by size: ``AP50``, ``AP75``, ``AP_S``, ..."""
        precisions = [name for name in TWELVE if name.startswith("AP") and name != "AP"]
        return {**self.columns(), **{name: self._masks.columns()[name] for name in precisions}}

    def tables(self, *, per_class: bool = False) -> list[Table]:
        """The tables for a terminal; ``per_class`` adds the figures of every class for boxes and for masks."""
        tables = [column_table(self.columns()), *instance_tables(self.instances, self.instance_truth)]
        if self.panoptic and self.mean_iou is not None:
            tables = [class_table(self.panoptic), quality_table(self.panoptic), *tables]
        return [*tables, *(class_tables(self.instances, self.instance_truth) if per_class else ())]


def evaluate(
    model: PanopticBlend | ExportedPredictor,
    dataset: PanopticDataset,
    config: Config,
    results: Path | None = None,
    precision: Precision = "32-true",
    progress: Progress | None = None,
    watch: Watch | None = None,
    team: Alone = ALONE,
    instance_results: Path | None = None,
    with_tallies: bool = False,
) -> Evaluation:
    """Run ``model`` over ``dataset`` and score its outputs; its training mode is restored at the end.

    While a GPU runs the network, other threads read the next images and score the last ones, one after the other.

    Args:
        results: JSON file for the panoptic maps, in COCO's format; the PNGs go to a folder beside it with its stem.
        precision: arithmetic of the network; an exported model has its own.
        progress: called with the number of images done, by all processes, and the total number.
        watch: called with every image of this process and its output, in order.
        team: the processes that share the images. All return the same evaluation, which equals that of a single
            process.
        instance_results: JSON file for all detections, also those that are not painted, in COCO's format for results.
        with_tallies: whether the evaluation has the counts of every image, which take some kilobytes for each.

    Raises:
        PanopticBlendError: an image cannot be read, or a file of results is the annotation file of the data set.
    """
    for path in filter(None, (results, instance_results)):
        if dataset.annotation and path.resolve() == dataset.annotation.resolve():
            raise PanopticBlendError(f"{path}: is the data set's own annotation; choose another --output")
    resizing = Resizing(**config.test.model_dump())
    writer = PanopticWriter(results, categories=dataset.categories) if results else None
    instance_writer: InstanceResultsWriter | None = None

    def scored(shard: Shard, show: Progress) -> _Part:
        part = _Part(_Scores(dataset.categories, with_tallies), writer.records if writer else None, [])
        own = shard.range_of(len(dataset))
        if writer:
            writer.reserve(dataset.images.file_names[: own.start])

        def run(sample: EvaluationSample) -> tuple[EvaluationSample, Output[Any]]:
            with _naming(sample):
                return sample, run_network(model, sample.image, sample.size, dataset.categories, precision)

        def score(ran: tuple[EvaluationSample, Output[Any]]) -> tuple[EvaluationSample, Output[Any]]:
            sample, output = ran
            with _naming(sample):
                found = output_instances(output, dataset.categories.thing_ids)
                part.scores.update(sample, output, found)
                if writer:
                    writer.add(sample.image_id, sample.file_name, output.panoptic)
                if instance_writer:
                    instance_writer.add(sample.image_id, found)
                elif instance_results:
                    part.found.append((sample.image_id, found))
            return ran

        samples = evaluation_samples(dataset, resizing, config.data.workers, shard)
        with closing(overlapped(samples, run, score, finishers=1, queue_depth=_queue_depth(model))) as scored:
            for done, ran in enumerate(scored, start=1):
                if watch:
                    watch(*ran)
                show(done, len(own))
        return part

    with in_evaluation(model), ExitStack() as files:  # one process writes the JSONs, all write PNGs
        if writer and team.is_first:
            files.enter_context(writer)
        if instance_results and team.is_first:
            instance_writer = files.enter_context(writing_results(instance_results))
        parts = team.share(len(dataset), scored, progress)
        for part in parts[1:]:
            parts[0].scores.merge(part.scores)
            if writer and part.records:
                writer.append(*part.records)
            if instance_writer:
                for image_id, found in part.found:
                    instance_writer.add(image_id, found)
    return team.from_first(lambda: parts[0].scores.evaluation(config.model.semantic.enabled))


def _naming(sample: EvaluationSample) -> AbstractContextManager[None]:
    return doing(f"evaluating {sample.file_name}", lower="test.short_side or test.long_side")


def _queue_depth(model: PanopticBlend | ExportedPredictor) -> int:
    """That of `overlapped`: 0 on a CPU, of which the network itself keeps all cores busy."""
    return 0 if isinstance(model, ExportedPredictor) or model.pixel_mean.device.type == "cpu" else 3


class _Part(NamedTuple):
    """The result of one process: scores of its shard, records for the panoptic JSON, and detections to be written."""

    scores: _Scores
    records: tuple[list[dict[str, object]], list[dict[str, object]]] | None
    found: list[tuple[ImageId, FoundInstances]]


class _Scores:
    """All metrics over a shard of the images; merging the shards in order gives the scores of the data set."""

    def __init__(self, categories: Categories, with_tallies: bool = False) -> None:
        self._categories = categories
        self._details = PanopticDetails(categories) if with_tallies else None
        self._quality, self._instances = PanopticQuality(categories), AveragePrecision(categories)
        self._iou, self._pixels = SemanticIoU(len(categories.stuff_ids) + 1), ClassPixels(categories)
        self._annotated: set[tuple[bool, bool]] = set()  # whether images have a panoptic map, and instances

    def update(self, sample: EvaluationSample, output: Output[Any], found: FoundInstances) -> None:
        truth = sample.panoptic_truth() if sample.instances is None else sample.instances
        self._instances.update(truth, found, sample.image_id)
        self._annotated.add((sample.truth is not None, sample.instances is not None))
        if sample.truth is not None:
            comparison = compare(sample.truth, output.panoptic)
            self._quality.add(comparison)
            if self._details is not None:
                self._details.add(sample.image_id, comparison)
            self._pixels.update(comparison)
            self._iou.update(semantic_map(sample.truth, self._categories), as_array(output.semantic))

    def merge(self, other: _Scores) -> None:
        self._quality.merge(other._quality)
        self._instances.merge(other._instances)
        self._iou.merge(other._iou)
        self._pixels.merge(other._pixels)
        self._annotated |= other._annotated
        if self._details is not None and other._details is not None:
            self._details.merge(other._details)

    def evaluation(self, is_semantic: bool) -> Evaluation:
        if len(self._annotated) > 1:
            raise PanopticBlendError(
                "the images of the data set have different annotations: panoptic maps, instances or both; "
                "give all images the same"
            )
        has_panoptic, has_instances = next(iter(self._annotated)) if self._annotated else (True, False)
        return Evaluation(
            self._quality.compute() if has_panoptic else None,
            self._instances.compute(),
            "instances" if has_instances else "panoptic",
            self._mean_iou() if has_panoptic and is_semantic else None,
            self._pixels.compute(),
            self._details.tallies() if self._details is not None and has_panoptic else None,
        )

    def _mean_iou(self) -> float:
        found = self._iou.compute()
        has_stuff = not np.isnan(found.per_class[THING_CLASS + 1 :]).all()
        return found.mean if has_stuff else math.nan  # of things alone, the semantic classes say nothing


def require_same_categories(model: Categories, dataset: PanopticDataset, is_semantic: bool = True) -> None:
    """Raise an error unless ``dataset`` has the categories that a model was trained on.

    Only things are compared for a model without semantic head, which knows nothing of stuff.
    """
    ours, theirs = model, dataset.categories
    if not is_semantic:
        ours, theirs = (Categories(c for c in categories if c.is_thing) for categories in (ours, theirs))
    if difference := _difference(ours, theirs):
        raise PanopticBlendError(
            f"{dataset.annotation or dataset.name}: its categories are not the model's: {difference}; "
            "use a data set with the model's categories, or train on this one"
        )


def _difference(model: Categories, data: Categories) -> str | None:
    """The first difference in ids, in things and stuff, or in the names that both know; None if there is none."""
    lacking = [(c.id, c.name, "the model") for c in data if c.id not in model.by_id]
    lacking += [(c.id, c.name, "the data set") for c in model if c.id not in data.by_id]
    if lacking:
        category_id, name, side = min(lacking)
        return f"id {category_id}, {name!r}, is not in {side}"
    pairs, kinds = list(zip(model, data, strict=True)), ("stuff", "a thing")
    for ours, theirs in pairs:
        if ours.is_thing != theirs.is_thing:
            return f"id {ours.id} is {kinds[theirs.is_thing]} here and {kinds[ours.is_thing]} in the model"
    if model.first_mismatch(data) is None:
        return None
    return next(
        f"id {ours.id} is {theirs.name!r} here and {ours.name!r} in the model"
        for ours, theirs in pairs
        if ours.name != theirs.name
    )
