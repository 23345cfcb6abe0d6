"""A model on a data set: the eight columns of BlendMask's appendix A, and results in COCO's format."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric

from panoptic_blend.config.experiment import Config
from panoptic_blend.config.options import Precision
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import WHOLE, EvaluationSample, Shard, evaluation_samples
from panoptic_blend.data.transforms import semantic_map
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.inference.forward import predict
from panoptic_blend.metrics.average_precision import AveragePrecision, InstanceReport
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticQuality, PanopticReport
from panoptic_blend.metrics.semantic_iou import SemanticIoU
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.processes import gather
from panoptic_blend.structures import Detections, Output, PanopticBlendError, PanopticMap, Progress


@dataclass(frozen=True)
class Evaluation:
    """What a model scores on a data set; every figure is a fraction.

    An instance model has no ``mean_iou``, and its maps no stuff.
    """

    panoptic: PanopticReport
    instances: InstanceReport
    mean_iou: float | None

    def columns(self) -> dict[str, float]:
        """The columns of BlendMask, appendix A, table 1; of an instance model those about things."""
        all_, things, stuff = (self.panoptic[group] for group in GROUPS)
        if self.mean_iou is None:
            return {"PQ_Th": things["pq"], "AP_box": self.instances.box, "AP_Th": self.instances.mask}
        return {
            "PQ": all_["pq"],
            "SQ": all_["sq"],
            "RQ": all_["rq"],
            "PQ_Th": things["pq"],
            "PQ_St": stuff["pq"],
            "mIoU": self.mean_iou,
            "AP_box": self.instances.box,
            "AP_Th": self.instances.mask,
        }


def evaluate(
    model: PanopticBlend,
    dataset: CocoPanoptic,
    config: Config,
    results: Path | None = None,
    precision: Precision = "32-true",
    progress: Progress | None = None,
    watch: Callable[[EvaluationSample, Output], None] | None = None,
    fabric: Fabric | None = None,
) -> Evaluation:
    """Run ``model`` over ``dataset`` and score it. The model is left in the mode it came in.

    Args:
        results: where to write the panoptic maps as COCO JSON; the PNGs go beside it, under its stem.
        progress: called with the images done and their number.
        watch: called with every image and what the model says of it.
        fabric: of several processes each takes a part of the images, and all get the same evaluation, which is that
            of one process.
    """
    categories = dataset.categories
    if results and results.resolve() == dataset.paths.json.resolve():
        raise PanopticBlendError(f"{results}: is the data set's own annotation; choose another --output")
    shard = Shard(fabric.global_rank, fabric.world_size) if fabric else WHOLE
    own, scores = shard.range_of(len(dataset)), _Scores(categories)
    writer = PanopticWriter(results, categories=categories) if results else None
    with writer if writer and shard.rank == 0 else nullcontext():  # one writes the JSON, all write PNGs
        if writer:
            writer.reserve(dataset.images.file_names[: own.start])
        cases = evaluation_samples(dataset, config.test.short_side, config.test.long_side, config.data.workers, shard)
        problem = None
        try:
            for done, case in enumerate(cases, start=1):
                output = predict(model, case.image, case.truth.segment_ids.shape, categories, precision)
                scores.update(case.truth, output)
                if writer:
                    writer.add(case.image_id, case.file_name, output.panoptic)
                if watch:
                    watch(case, output)
                if progress:
                    progress(done, len(own))
        except PanopticBlendError as error:
            problem = error  # which the others must hear of, who would wait
        parts = gather(fabric, (scores, writer and writer.records, problem)) if fabric else [(scores, None, problem)]
        for _, _, problem in parts:
            if problem:
                raise problem
        scores = parts[0][0]
        for other, records, _ in parts[1:]:
            scores.merge(other)
            if writer and records:
                writer.append(*records)
    return scores.evaluation(config.model.semantic.enabled)


class _Scores:
    """All metrics of some images; those of a data set's parts merge, in order, into those of the whole."""

    def __init__(self, categories: Categories) -> None:
        self._categories = categories
        self._quality, self._instances = PanopticQuality(categories), AveragePrecision(categories)
        self._iou = SemanticIoU(len(categories.stuff_ids) + 1)

    def update(self, truth: PanopticMap, output: Output) -> None:
        self._quality.update(truth, output.panoptic)
        self._instances.update(truth, _with_ids(output, self._categories))
        self._iou.update(semantic_map(truth, self._categories), output.semantic.cpu().numpy())

    def merge(self, other: _Scores) -> None:
        self._quality.merge(other._quality)
        self._instances.merge(other._instances)
        self._iou.merge(other._iou)

    def evaluation(self, is_semantic: bool) -> Evaluation:
        mean_iou = self._iou.compute().mean if is_semantic else None
        return Evaluation(self._quality.compute(), self._instances.compute(), mean_iou)


def require_same_categories(model: Categories, data: Categories, source: Path) -> None:
    """Raise unless a data set has the categories a model was trained on."""
    if [(c.id, c.is_thing) for c in model] != [(c.id, c.is_thing) for c in data]:
        other = sorted({c.id for c in model} ^ {c.id for c in data})
        what: str | None = f"id {other[0]} is in one of them only" if other else "things and stuff differ"
    else:
        what = model.renamed(data)
    if what:
        raise PanopticBlendError(f"{source.name}: its categories are not the model's ({what}); use the data it is for")


def _with_ids(output: Output, categories: Categories) -> Detections:
    ids = torch.tensor(categories.thing_ids)[output.labels.cpu()]
    return Detections(output.boxes.cpu(), output.scores.cpu(), ids, output.masks.cpu())
