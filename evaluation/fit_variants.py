"""The models that `evaluation.fit_quality` trains: by a config, by ``fit``, or by the recipe of a peer.

A variant trains into a folder of its own and continues there; it returns what is then judged.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from evaluation import mask_rcnn_peer
from evaluation.fit_rows import Row, figures_of
from evaluation.mask_rcnn_peer import Peer
from evaluation.result_lines import machine_name
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import evaluation_samples
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.splits import open_training, open_validation, without_empty
from panoptic_blend.files import replacing
from panoptic_blend.fit.machine import step_seconds
from panoptic_blend.fit.plan import YAML
from panoptic_blend.fit.run import fit
from panoptic_blend.fit.tuning import tune
from panoptic_blend.fit.wanted import Wanted
from panoptic_blend.inference.forward import run_network
from panoptic_blend.inference.predictor import load
from panoptic_blend.machine import cores
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.instance_conversion import output_instances
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import progress_line
from panoptic_blend.training.initialization import BEST, LAST
from panoptic_blend.training.loop import train

TRAIN = "train2017"
_LENGTH = "length.json"
_SEPARATORS = re.compile(r"(=|: |[{,}] ?)")
"""What stands between the keys and the values of an option such as ``backbone={kind: timm, pretrained: FILE}``."""

Judge = Callable[[PanopticDataset], tuple[PanopticDetails | None, AveragePrecision]]
"""Runs a model over a split; without details if the model has no panoptic maps."""


@dataclass(frozen=True)
class Trained:
    """A trained model: how it is judged, and what a `Row` says of its training."""

    judge: Judge
    options: list[str]
    digest: str
    seconds: float
    iterations: int


class Variant(Protocol):
    """A way to train a model on the split ``train2017`` of a root, in ``folder``, where it continues."""

    def train(self, root: Path, folder: Path, seed: int) -> Trained: ...


@dataclass(frozen=True)
class ByConfig:
    """Training by a config, with its own number of iterations or with as many as fit into ``minutes``.

    ``base`` is the name or path of a config. With ``as_long_as``, there are as many as take the time of the config's
    own iterations without the ``overrides``.
    """

    base: str
    overrides: tuple[str, ...] = ()
    minutes: float | None = None
    as_long_as_base: bool = False

    def train(self, root: Path, folder: Path, seed: int) -> Trained:
        options = [*self.overrides, f"seed={seed}"]
        data = [f"data.root={root}", f"data.train={TRAIN}"]
        config = load_config(self.base, [*data, *options])
        if self.minutes is not None or self.as_long_as_base:
            iterations = _kept(folder / _LENGTH, lambda: self._iterations(config, [*data, f"seed={seed}"]))
            options.append(f"train.iterations={iterations}")
            config = load_config(self.base, [*data, *options])
        train(config, folder, resume=True, share_cores=True)
        seconds = training_seconds(folder)
        return Trained(_judge(folder / LAST), [self.base, *options], digest(config), seconds, config.train.iterations)

    def _iterations(self, config: Config, plain: list[str]) -> int:
        dataset = open_training(config).dataset
        if self.minutes is not None:
            return max(1, int(60 * self.minutes / _step(config, dataset)))
        base = load_config(self.base, plain)
        return max(1, round(base.train.iterations * _step(base, dataset) / _step(config, dataset)))


@dataclass(frozen=True)
class Tuned:
    """A trained ``variant`` whose fusion is tuned and whose scores are calibrated after it, as ``fit`` does.

    ``trained`` is the folder of its run. One half of the validation split, on which it is judged, chooses them.
    """

    variant: ByConfig
    trained: Path

    def train(self, root: Path, folder: Path, seed: int) -> Trained:
        found = self.variant.train(root, self.trained, seed)
        validation = open_validation(load_config(self.trained / "config.yaml")).dataset
        tune(self.trained / LAST, validation, folder, precision="auto")
        return replace(found, judge=_judge(folder / BEST), options=[*found.options, "tuned"])


@dataclass(frozen=True)
class ByFit:
    """``fit`` with the arguments ``wanted``; all that it does counts as its time.

    With ``as_long_as``, the folder of a finished run, the time is that of the training there.
    """

    wanted: Wanted
    as_long_as: Path | None = None

    def train(self, root: Path, folder: Path, seed: int) -> Trained:
        minutes = self.wanted.minutes if self.as_long_as is None else training_seconds(self.as_long_as) / 60
        overrides = (*self.wanted.overrides, f"seed={seed}")
        with _timed(folder / "seconds.json"):
            fit(root, folder, replace(self.wanted, minutes=minutes, overrides=overrides), resume=True)
        config = load_config(folder / YAML)
        options = [f"fit --minutes {minutes:.2f}", *overrides]
        options += [f"{key}={value}" for key in ("weights", "backbone") if (value := getattr(self.wanted, key))]
        seconds = float(json.loads((folder / "seconds.json").read_bytes()))
        return Trained(_judge(folder / BEST), options, digest(config), seconds, config.train.iterations)


@dataclass(frozen=True)
class ByPeer:
    """torchvision's Mask R-CNN, trained for ``minutes``."""

    peer: Peer
    minutes: float

    def train(self, root: Path, folder: Path, seed: int) -> Trained:
        peer = replace(self.peer, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        training = without_empty(CocoPanoptic(root, TRAIN)).dataset
        model, iterations = mask_rcnn_peer.train(peer, training, 60 * self.minutes, folder)

        def judge(dataset: PanopticDataset) -> tuple[None, AveragePrecision]:
            return None, mask_rcnn_peer.score(model, peer, dataset)

        options = [f"{name}={value}" for name, value in vars(peer).items()]
        return Trained(judge, options, digest(options), 60 * self.minutes, iterations)


def judged_row(
    trained: Trained,
    dataset: CocoPanoptic,
    experiment: str,
    variant: str,
    seed: int,
    split: str,
    has_maps: bool = True,
) -> Row:
    """Judge a model on a data set; without PQ if this has no panoptic maps."""
    details, instances = trained.judge(dataset)
    figures, resampled = figures_of(details if has_maps else None, instances)
    return Row(
        experiment=experiment,
        variant=variant,
        seed=seed,
        split=split,
        options=without_folders(trained.options),
        digest=trained.digest,
        machine=machine_name(),
        cores=cores(),
        torch=torch.__version__,
        date=datetime.now(UTC).date().isoformat(),
        seconds=round(trained.seconds, 1),
        iterations=trained.iterations,
        images=len(dataset),
        figures=figures,
        resampled=resampled,
    )


def slug(name: str) -> str:
    """A name as that of a folder."""
    return re.sub(r"\W+", "_", name)


def training_seconds(folder: Path) -> float:
    """The time of the training in a folder, without evaluations: the mean time of its logged steps, for all of them.

    Raises:
        PanopticBlendError: no step was logged.
    """
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line["step_seconds"] for line in lines if "step_seconds" in line]
    if not steps:
        raise PanopticBlendError(f"{folder / 'log.jsonl'}: has no step; train at least train.log_every iterations")
    return float(sum(steps) / len(steps) * load_config(folder / "config.yaml").train.iterations)


def _judge(checkpoint: Path) -> Judge:
    def judge(dataset: PanopticDataset) -> tuple[PanopticDetails, AveragePrecision]:
        predictor = load(checkpoint, precision="auto")
        categories = dataset.categories
        details, instances = PanopticDetails(categories), AveragePrecision(categories)
        with progress_line(f"evaluating {dataset.name}", "images") as progress:
            for done, sample in enumerate(evaluation_samples(dataset, predictor.resizing), start=1):
                output = run_network(predictor.model, sample.image, sample.size, categories, predictor.precision)
                truth = sample.panoptic_truth()
                details.update(sample.image_id, truth, output.panoptic)
                instances.update(truth, output_instances(output, categories.thing_ids), sample.image_id)
                progress(done, len(dataset))
        return details, instances

    return judge


def _step(config: Config, dataset: PanopticDataset) -> float:
    found = step_seconds(config, dataset, config.train.precision)
    return found.seconds + found.load_seconds


def _kept(path: Path, make: Callable[[], int]) -> int:
    """A number that is made once and then read from a file."""
    if not path.exists():
        number = make()
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(number))
    return int(json.loads(path.read_bytes()))


@contextmanager
def _timed(path: Path) -> Iterator[None]:
    """Add the time of the block to the seconds in a file."""
    before, start = json.loads(path.read_bytes()) if path.exists() else 0.0, time.monotonic()
    try:
        yield
    finally:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(before + time.monotonic() - start))


def digest(settings: Config | list[str]) -> str:
    """Twelve digits that tell settings apart; where the data and files of weights lie does not count."""
    content: Any = settings
    if isinstance(settings, Config):
        dumped: Mapping[str, Any] = settings.model_dump(mode="json")
        content = {**dumped, "data": {**dumped["data"], "root": None}}
    text = json.dumps(without_folders(content), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def without_folders(value: Any) -> Any:
    """Nested settings in which files and absolute paths have their names only: where they lie tells others nothing."""
    if isinstance(value, Mapping):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    if isinstance(value, str):
        parts = _SEPARATORS.split(value)
        return "".join(path.name if (path := Path(part)).is_absolute() or path.is_file() else part for part in parts)
    return value
