"""Train, judge and time the trials of `evaluation.ablations`.

A trial with a start begins with the backbone, pyramid and FCOS of a detector, ``ablation/base`` at the same scale,
which is trained once for each seed. Its bottom module and top layer are left out, so that all rows of a table learn to
make masks from random weights, and the steps that they take say little of how well each learns to detect.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch

from evaluation.ablation_tables import Experiment, Length, Scale, Trial, small_overrides
from evaluation.fit_rows import Row
from evaluation.fit_variants import ByConfig, digest, judged_row, slug
from evaluation.result_lines import machine_name, read_lines
from evaluation.timing import wait_for_device
from panoptic_blend.checkpoints.io import read_checkpoint, save_checkpoint
from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.inference.predictor import load
from panoptic_blend.runtime.precision import chosen_device
from panoptic_blend.training.initialization import LAST

VAL = "val2017"
STARTED = "backbone.", "fpn.", "instances.fcos."
"""The parts of the detector from which a trial starts."""
PICTURES, ROUNDS = 24, 5
"""Pictures that are timed, and how often each."""


@dataclass(frozen=True)
class Setting:
    """What all trials of a result have in common: the data, their scale, and changes to all configs."""

    data: str
    root: Path
    output: Path
    size: Scale
    length: Length
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The setting in words, as results have it."""
        start = f" after {self.length.start}" if self.length.start else ""
        steps = f"{self.length.iterations} steps{start}"
        return ", ".join([self.data, f"side {self.size.side}", steps, *self.overrides])


@dataclass(frozen=True)
class Times:
    """Milliseconds of a picture, from its pixels to all results, in each round, by the names of trials.

    In a round all trials take each picture in turn. The time is that of the processor, on one core, or of a clock on a
    GPU. ``parameters`` are the numbers of trained and fixed weights.
    """

    experiment: str
    table: str
    machine: str
    date: str
    pictures: int
    milliseconds: dict[str, list[float]]
    parameters: dict[str, int]

    @property
    def key(self) -> tuple[str, str]:
        """What the times are of."""
        return self.experiment, self.table

    def ratio(self, name: str, reference: str) -> float:
        """The time of a trial divided by that of another: the median over the rounds."""
        return median(a / b for a, b in zip(self.milliseconds[name], self.milliseconds[reference], strict=True))


def read_times(path: Path) -> dict[tuple[str, str], Times]:
    """The times in a file by setting and table.

    Raises:
        PanopticBlendError: a line is none of times.
    """
    return read_lines(path, lambda fields: Times(**fields))


def options_of(setting: Setting, trial: Trial, seed: int) -> tuple[str, ...]:
    """The overrides with which a trial is trained, without the data set and the seed."""
    options = small_overrides(trial, setting.size)
    if not trial.length.start:
        return options
    own = load_config(trial.config, options).model.backbone.kind == "timm"
    pretrained = ["model.backbone.pretrained=false"] if own else []
    return (*options, *pretrained, f"train.weights={_start_path(setting, trial, seed)}", "train.partial=true")


def digest_of(setting: Setting, trial: Trial) -> str:
    """Twelve digits that tell what is trained apart, for all seeds."""
    return digest(load_config(trial.config, options_of(setting, trial, 0)))


def train_and_judge(setting: Setting, trial: Trial, seed: int) -> Row:
    """Train a trial, or continue, and judge it on the validation split."""
    if trial.length.start:
        _make_start(setting, trial, seed)
    variant = ByConfig(trial.config, options_of(setting, trial, seed))
    trained = variant.train(setting.root, _folder(setting, trial, seed), seed)
    row = judged_row(trained, CocoPanoptic(setting.root, VAL), setting.name, trial.name, seed, VAL)
    return replace(row, digest=digest_of(setting, trial))


def measure(setting: Setting, experiment: Experiment, trials: Sequence[Trial]) -> Times:
    """Time the trained models of seed 0 in turn, so that a busy moment affects all alike."""
    dataset = CocoPanoptic(setting.root, VAL)
    pictures = [
        np.ascontiguousarray(dataset[i].image.permute(1, 2, 0).numpy()) for i in range(min(PICTURES, len(dataset)))
    ]
    device = chosen_device("auto").type
    clock = time.process_time if device == "cpu" else time.perf_counter
    predictors = {trial.name: load(_folder(setting, trial, 0) / LAST, device=device) for trial in trials}
    found: dict[str, list[float]] = {name: [] for name in predictors}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in range(ROUNDS + 1):
            spent = dict.fromkeys(predictors, 0.0)
            for picture in pictures:
                for name, predictor in predictors.items():
                    wait_for_device()
                    start = clock()
                    predictor.output(picture)
                    wait_for_device()
                    spent[name] += clock() - start
            for name, seconds in spent.items() if number else ():  # the first round is a warm-up
                found[name].append(round(1000 * seconds / len(pictures), 3))
    finally:
        torch.set_num_threads(threads)
    return Times(
        experiment=setting.name,
        table=experiment.number,
        machine=machine_name(),
        date=datetime.now(UTC).date().isoformat(),
        pictures=len(pictures),
        milliseconds=found,
        parameters={name: sum(p.numel() for p in one.model.parameters()) for name, one in predictors.items()},
    )


def _folder(setting: Setting, trial: Trial, seed: int) -> Path:
    return setting.output / slug(trial.name) / digest_of(setting, trial) / str(seed)


def _start(setting: Setting, trial: Trial) -> Trial:
    """The detector from which a trial starts."""
    return Trial("start", "ablation/base", setting.overrides, setting.size.side, Length(trial.length.start))


def _start_path(setting: Setting, trial: Trial, seed: int) -> Path:
    """The weights that a trial starts from; their name tells how they were trained."""
    start = _start(setting, trial)
    return _folder(setting, start, seed) / f"start_{digest_of(setting, start)}.safetensors"


def _make_start(setting: Setting, trial: Trial, seed: int) -> None:
    path, start = _start_path(setting, trial, seed), _start(setting, trial)
    if path.exists():
        return
    print(f"detector to start from, seed {seed}: training", flush=True)
    folder = _folder(setting, start, seed)
    ByConfig(start.config, options_of(setting, start, seed)).train(setting.root, folder, seed)
    found = read_checkpoint(folder / LAST)
    kept = {name: value for name, value in found.state.items() if name.startswith(STARTED)}
    save_checkpoint(path, kept, found.config, found.categories)
