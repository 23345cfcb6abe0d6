"""A model on a data set: the eight columns of BlendMask's appendix A, and results in COCO's format."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from panoptic_blend.config import Config, Precision
from panoptic_blend.data.categories import Categories
from panoptic_blend.data.coco_panoptic import PanopticWriter
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import Case, evaluation_cases
from panoptic_blend.data.transforms import semantic_map
from panoptic_blend.engine.precision import autocast
from panoptic_blend.metrics.average_precision import AveragePrecision, InstanceReport
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport
from panoptic_blend.metrics.semantic_iou import SemanticIoU
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Detections, Output, PanopticBlendError


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
        all_, things, stuff = (self.panoptic[group] for group in ("All", "Things", "Stuff"))
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
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[Case, Output], None] | None = None,
) -> Evaluation:
    """Run ``model`` over ``dataset`` and score it. The model is left in the mode it came in.

    Args:
        results: where to write the panoptic maps as COCO JSON; the PNGs go beside it, under its stem.
        progress: called with the images done and their number.
        watch: called with every image and what the model says of it.
    """
    categories = dataset.categories
    if results and results.resolve() == dataset.paths.json.resolve():
        raise PanopticBlendError(f"{results}: is the data set's own annotation; choose another --output")
    quality = PanopticQuality(categories)
    instances = AveragePrecision(categories)
    iou = SemanticIoU(len(categories.stuff_ids) + 1)
    with ExitStack() as stack:
        writer = stack.enter_context(PanopticWriter(results, categories=categories)) if results else None
        cases = evaluation_cases(dataset, config.test.short_side, config.test.long_side, config.data.workers)
        for done, case in enumerate(cases, start=1):
            output = predict(model, case.image, case.truth.segment_ids.shape, categories, precision)
            quality.update(case.truth, output.panoptic)
            instances.update(case.truth, _with_ids(output, categories))
            iou.update(semantic_map(case.truth, categories), output.semantic.cpu().numpy())
            if writer:
                writer.add(case.image_id, case.file_name, output.panoptic)
            if watch:
                watch(case, output)
            if progress:
                progress(done, len(dataset))
    mean_iou = iou.compute().mean if config.model.semantic.enabled else None
    return Evaluation(quality.compute(), instances.compute(), mean_iou)


@torch.inference_mode()
def predict(
    model: PanopticBlend, image: Tensor, size: tuple[int, ...], categories: Categories, precision: Precision
) -> Output:
    """What ``model`` says of one image (3, H, W), at ``size`` (height, width), with dataset ids in the map."""
    device = model.pixel_mean.device
    training = model.training
    model.eval()
    try:
        with autocast(precision, device):
            [output] = model([image.to(device)], output_sizes=[size])
    finally:
        model.train(training)
    return replace(output, panoptic=categories.to_dataset(output.panoptic))


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
