"""Measure a row of a paper's table: figures with intervals, and the time of a picture."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from evaluation.paper_tables import PaperRow
from panoptic_blend import __version__
from panoptic_blend.checkpoints.io import is_checkpoint, read_checkpoint
from panoptic_blend.cli.models import RunningModel, running
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.data.loader import EvaluationSample
from panoptic_blend.data.protocol import PanopticDataset, read_sample
from panoptic_blend.data.splits import open_validation
from panoptic_blend.download.weights_sources import weights_path
from panoptic_blend.files import replacing, without_nan
from panoptic_blend.formats.coco_layout import find_root
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.inference.evaluation import evaluate, require_same_categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.instance_conversion import output_instances
from panoptic_blend.metrics.instance_report import KINDS
from panoptic_blend.metrics.instance_resampling import instance_intervals
from panoptic_blend.metrics.resampling import Interval, intervals
from panoptic_blend.prediction.journal import file_stamp
from panoptic_blend.structures import Output, PanopticBlendError

WARM_UP, TIMED = 5, 50
"""Pictures before the time is taken, and pictures of whose times the median counts."""

_OF_THE_DATA = {"num_things", "num_stuff", "fusion"}
"""Options of a model in which weights may differ from the config of a row; those of the fusion are the row's."""


@dataclass(frozen=True)
class Measured:
    """The figures of a row as fractions by column, their intervals, and how they were measured."""

    figures: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float | None, float | None]]
    milliseconds: float
    """Median time of a picture, from its pixels to all results, one at a time."""
    images: int
    truth: str
    """The annotation that AP is against: instances or panoptic."""
    device: str


@dataclass(frozen=True)
class Job:
    """What a row is measured with."""

    row: PaperRow
    weights: str
    """A file of weights, or the name of known ones."""
    overrides: Sequence[str]
    """Changes to the config of the row, with the data set."""
    device: str = "auto"
    precision: Precision = "32-true"

    @property
    def config_name(self) -> str:
        """The name of the row's config."""
        assert self.row.config, "a row that is quoted only is not measured"
        return self.row.config


def measure(job: Job, cache: Path) -> Measured:
    """Measure a row, or read what was measured of it from the file ``cache`` if it was made of the same.

    Raises:
        PanopticBlendError: the weights are not those of the row, or the data set has other categories.
    """
    weights, config = weights_path(job.weights), load_config(job.config_name, job.overrides)
    annotations = sorted((find_root(config.data.root) / "annotations").glob(f"*_{config.data.val}.json"))
    identity = {
        "version": __version__,
        "config": config.model_dump(mode="json", include={"model", "test", "data"}),
        "annotations": {path.name: file_stamp(path) for path in annotations},
        "weights": [str(weights.resolve()), *file_stamp(_existing(weights))],
        "device": job.device,
        "precision": job.precision,
    }
    if (known := _cached(cache, identity)) is not None:
        return known
    measured = without_nan(asdict(_measure(job, config, weights)))
    with replacing(cache) as temporary:
        temporary.write_text(json.dumps({"made_of": identity, "measured": measured}, indent=1))
    return Measured(**measured)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise PanopticBlendError(f"{path}: no such file; give weights as ROW=FILE")
    return path


def _cached(cache: Path, identity: Mapping[str, Any]) -> Measured | None:
    if not cache.is_file():
        return None
    content = read_json(cache)
    is_same = isinstance(content, dict) and content.get("made_of") == identity
    return Measured(**content["measured"]) if is_same else None


def _measure(job: Job, config: Config, weights: Path) -> Measured:
    if is_checkpoint(weights):  # it knows the classes of its data
        _require_model_of_row(job.row, config, weights)
        model, separate, overrides = weights, None, [*job.overrides, *_as_overrides(config)]
    else:
        model, separate, overrides = Path(job.config_name), weights, [*job.overrides]
    with running(model, separate, None, overrides, job.device, 1, 1, job.precision) as on:
        dataset, remarks = open_validation(on.predictor.config)
        for remark in remarks:
            print(remark, file=sys.stderr)
        require_same_categories(on.predictor.categories, dataset, on.predictor.config.model.semantic.enabled)
        return _figures(on, dataset, job.precision)


def _require_model_of_row(row: PaperRow, config: Config, weights: Path) -> None:
    """Raise an error if a checkpoint is another model than the row's; its weights might fit all the same."""
    models = read_checkpoint(weights).config.model, config.model
    theirs, ours = (_options(model.model_dump(exclude=_OF_THE_DATA)) for model in models)
    if other := next((key for key in ours if theirs.get(key) != ours[key]), None):
        raise PanopticBlendError(
            f"{weights}: its model has model.{other}={theirs.get(other)}, and that of the row {row.name} "
            f"{ours[other]}; give the weights of this row"
        )


def _options(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        found |= _options(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _as_overrides(config: Config) -> list[str]:
    """The options of the row's config that are not the network's, for a checkpoint, which has its own."""
    kept = {"test": config.test.model_dump(), "model.fusion": config.model.fusion.model_dump()}
    return [f"{part}.{key}={value}" for part, options in kept.items() for key, value in options.items()] + [
        f"data.things={config.data.things}"
    ]


def _figures(on: RunningModel, dataset: PanopticDataset, precision: Precision) -> Measured:
    predictor, categories = on.of_torch("be a row"), dataset.categories
    instances, panoptic = AveragePrecision(categories), PanopticDetails(categories)

    def keep(sample: EvaluationSample, output: Output) -> None:
        truth = sample.panoptic_truth() if sample.instances is None else sample.instances
        instances.update(truth, output_instances(output, categories.thing_ids), sample.image_id)
        if sample.truth is not None:
            panoptic.update(sample.image_id, sample.truth, output.panoptic)

    with on.progress("evaluating", "images") as progress:
        found = evaluate(predictor.model, dataset, predictor.config, None, precision, progress, keep, on.team)
    tallies = instances.tallies()
    boxes, masks = (instance_intervals(tallies[kind]).figures for kind in KINDS)
    ranges: dict[str, Interval] = {**masks, "AP_Th": masks["AP"], "AP_box": boxes["AP"]}
    if found.panoptic is not None:
        groups = intervals(panoptic.tallies()).groups
        ranges |= {"PQ": groups["All"], "PQ_Th": groups["Things"], "PQ_St": groups["Stuff"]}
    figures = {**found.figures(), "AP": found.columns()["AP_Th"]}
    return Measured(
        figures=figures,
        intervals={name: (ranges[name].low, ranges[name].high) for name in figures if name in ranges},
        milliseconds=_milliseconds(predictor, dataset),
        images=len(dataset),
        truth=found.instance_truth,
        device=_device_name(predictor.model.pixel_mean.device),
    )


def _milliseconds(predictor: Predictor, dataset: PanopticDataset) -> float:
    """The median time of a picture, from its pixels to all results, after some that do not count."""
    device, times = predictor.model.pixel_mean.device, []
    for number in range(WARM_UP + TIMED):
        image = read_sample(dataset, number % len(dataset)).image
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        _wait_for(device)
        start = time.perf_counter()
        predictor.output(pixels)
        _wait_for(device)
        times.append(1000 * (time.perf_counter() - start))
    return median(times[WARM_UP:])


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} (threads: {torch.get_num_threads()})"
