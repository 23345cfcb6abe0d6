"""Tune a trained model: calibrate its scores and choose the thresholds of its fusion, on images it is not judged on.

The validation split is divided in two. On one half, temperature and bias of the scores are fitted and the thresholds
of fusion are chosen; on the other half both are judged, and whatever is worse there than before is not used.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from panoptic_blend.checkpoints.io import read_checkpoint, save_checkpoint
from panoptic_blend.checkpoints.reading import Figure, read_header, stated_figure
from panoptic_blend.config.experiment import Config
from panoptic_blend.config.model_options import Calibration
from panoptic_blend.config.precisions import Precision
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.instances import CocoInstances
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.files import replacing
from panoptic_blend.fit.grouping import Groups, Presence, group_pictures
from panoptic_blend.fit.scores import ENOUGH, Outcomes, fit_calibration, outcomes
from panoptic_blend.fit.splitting import hold_back
from panoptic_blend.formats.names import locate
from panoptic_blend.inference.predictor import load
from panoptic_blend.metrics.resampling import ENOUGH_IMAGES
from panoptic_blend.models.calibration import calibrate
from panoptic_blend.sweep.cache import FusionCache, open_cache
from panoptic_blend.sweep.grid import Setting
from panoptic_blend.sweep.sweep import BEST as BEST_SETTING
from panoptic_blend.sweep.sweep import CURRENT, Highlight, judge, sweep
from panoptic_blend.terminal import percent, progress_line
from panoptic_blend.training.initialization import BEST

UNTUNED = "untuned.safetensors"
"""The checkpoint as training left it."""

CACHE = Path("tuning", "cache.zip")
"""The outputs of the model for the validation split, see `sweep.cache`."""

FEWEST_IMAGES = 2 * ENOUGH_IMAGES
"""With fewer validation images nothing is tuned: each half needs enough for an interval."""

NOTICEABLE = 0.001
"""A loss of PQ of things or of stuff, as a fraction, from which on it is told."""


@dataclass(frozen=True)
class Reliability:
    """Expected calibration errors, as fractions, of the scores of ``detections`` before and after the calibration."""

    detections: int
    before: float
    after: float


@dataclass(frozen=True)
class Judgment:
    """PQ of the ``images`` that tuning did not see, with the fusion of training and with the one that was found.

    ``after.gain`` and its interval are those in the ``group`` of `GROUPS` by which the setting was chosen.
    """

    images: int
    group: str
    before: Highlight
    after: Highlight


@dataclass(frozen=True)
class Tuned:
    """The fusion setting and the calibration of the tuned checkpoint, and how they were judged.

    ``judgment`` and ``reliability`` are None where there was too little to tune on; ``remarks`` are lines that say what
    was done, and what was not and why.
    """

    setting: Setting
    calibration: Calibration
    judgment: Judgment | None
    reliability: Reliability | None
    remarks: tuple[str, ...]


def tune(
    checkpoint: Path,
    validation: PanopticDataset,
    output: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "32-true",
    workers: int | None = None,
    say: Callable[[str], None] = lambda remark: None,
) -> Tuned:
    """Write a tuned copy of ``checkpoint`` to ``best.safetensors`` in ``output``, and the original beside it.

    The figure by which training chose the checkpoint stays in it. Tuning again gives the same: it starts from
    ``untuned.safetensors`` if that has the weights of ``checkpoint``.

    Args:
        validation: the images, of which one half is tuned on and the other judged.
        seed: seed of the division.
        precision: arithmetic of the network.
        workers: processes for fusion; by default, one per core.
        say: called with a line on whether outputs of the model are reused.

    Raises:
        PanopticBlendError: the checkpoint or an image cannot be read.
    """
    start = _start(checkpoint, output)
    config = read_checkpoint(start).config
    if why := _why_not(validation):
        tuned = Tuned(Setting.from_options(config.model.fusion), config.model.calibration, None, None, (why,))
    else:
        predictor = load(start, device=device, precision=precision)
        with progress_line("running the model") as progress:
            cache = open_cache(output / CACHE, predictor, validation, progress, say)
        tuned = _Tuning(cache, validation, config, workers).run(*_halves(cache, validation, seed))
    _write(start, output, tuned)
    return tuned


def _why_not(validation: PanopticDataset) -> str | None:
    """A line that says why there is too little to tune on; None if there is enough."""
    if len(validation) < FEWEST_IMAGES:
        return (
            f"thresholds and scores are not tuned: {len(validation)} validation images are too few to choose on one "
            f"half and judge on the other; label {FEWEST_IMAGES} or more"
        )
    if validation[0].panoptic is None:
        return "thresholds and scores are not tuned: the data have no panoptic annotation to tune the fusion by"
    return None


def _halves(cache: FusionCache, validation: PanopticDataset, seed: int) -> tuple[list[int], list[int]]:
    """The images to tune on and those to judge on: every class on both sides if possible, and no group divided."""
    ids = [category.id for category in validation.categories]
    presence = np.zeros((len(cache), len(ids)), np.bool_)
    for row, sample in enumerate(cache.read(range(len(cache)))):
        presence[row] = np.isin(ids, [segment.category for segment in sample.segments])
    held = hold_back(_groups(validation, presence), presence, 0.5, seed)
    return np.flatnonzero(~held).tolist(), np.flatnonzero(held).tolist()


def _groups(validation: PanopticDataset, presence: Presence) -> Groups:
    """Pictures that belong together, at least two groups of them; each one alone if it is not known where they are."""
    split = validation.panoptic if isinstance(validation, CocoInstances) else validation
    if isinstance(split, CocoPanoptic):
        names = list(split.images.file_names)
        paths = [locate(split.paths.pictures, name) for name in names]
        groups = group_pictures(names, paths, presence, 0.5).groups
        if groups.any():
            return groups
    return np.arange(len(validation))


@dataclass(frozen=True)
class _Tuning:
    """The outputs of a model with this ``config`` for the ``validation`` split."""

    cache: FusionCache
    validation: PanopticDataset
    config: Config
    workers: int | None

    def run(self, chosen: Sequence[int], judged: Sequence[int]) -> Tuned:
        """Tune on the images ``chosen`` and judge on those ``judged``."""
        more, reliability, of_scores = self._calibration(chosen, judged)
        own = self.config.model.fusion.confidence
        confidence = calibrate(torch.tensor(own, dtype=torch.float64), **more.model_dump()).item()
        moved = self.config.changed([f"model.fusion.confidence={round(confidence, 6)}"])
        setting, judgment, of_fusion = self._fusion(moved, self.cache.part(chosen, more), self.cache.part(judged, more))
        calibration = composed(self.config.model.calibration, more)
        return Tuned(setting, calibration, judgment, reliability, (of_scores, *of_fusion))

    def _calibration(self, chosen: Sequence[int], judged: Sequence[int]) -> tuple[Calibration, Reliability | None, str]:
        """What is to be done to the scores of the model, how good it is, and a line about it."""
        given, unseen = (self._outcomes(part) for part in (chosen, judged))
        if not given.are_enough() or not len(unseen):
            right = int(given.is_right.sum())
            return (
                Calibration(),
                None,
                (
                    f"scores are not calibrated: of {len(given)} detections to learn it from, {right} are right and "
                    f"{len(given) - right} wrong, and {ENOUGH} of each are needed"
                ),
            )
        found = fit_calibration(given)
        after = unseen.calibrated(found)
        errors = unseen.calibration_error(), after.calibration_error()
        shown = f"{percent(errors[0])} % before and {percent(errors[1])} % after, on {len(unseen)} other detections"
        if after.log_loss() > unseen.log_loss():
            kept = Reliability(len(unseen), errors[0], errors[0])
            return Calibration(), kept, f"scores stay as they were, as calibration makes them worse: error {shown}"
        line = f"scores are calibrated, so that of detections with a score of 0.7 about 70 % are right: error {shown}"
        return found, Reliability(len(unseen), *errors), line

    def _outcomes(self, images: Sequence[int]) -> Outcomes:
        return outcomes(self.cache.read(images), self.validation.categories)

    def _fusion(
        self, config: Config, chosen: FusionCache, judged: FusionCache
    ) -> tuple[Setting, Judgment, tuple[str, ...]]:
        """The setting to use, how it is judged, and lines about it; that of ``config`` is as in training."""
        with progress_line("fusing") as progress:
            swept = sweep(chosen, self.validation, config, self.workers, progress)
        current, best = (swept.highlight(name).setting for name in (CURRENT, BEST_SETTING))
        before, after = judge(judged, self.validation, {CURRENT: current, BEST_SETTING: best}, swept.group)
        judgment = Judgment(len(judged), swept.group, before, after)
        if current == best:
            return current, judgment, ("thresholds of the fusion stay as they were: no others are better",)
        shown = f"{percent(after.gain, '+.1f')} PQ ({percent(after.low, '+.1f')} to {percent(after.high, '+.1f')})"
        if not after.gain >= 0:
            stay = f"thresholds of the fusion stay as they were: the best ones of {len(chosen)} images gain "
            return current, judgment, (f"{stay}{shown} on the {len(judged)} others",)
        line = f"thresholds of the fusion are tuned on {len(chosen)} images: {shown} on the {len(judged)} others"
        return best, judgment, (line, *_losses(judgment))


def _losses(judgment: Judgment) -> list[str]:
    """A line if things or stuff lose what the others gain."""
    pairs = zip(("things", "stuff"), judgment.before.pq[1:], judgment.after.pq[1:], strict=True)
    return [
        f"the tuned thresholds gain by {other} and lose by {kind}: PQ of {kind} {percent(before)} -> {percent(after)}; "
        f"{UNTUNED} has the thresholds of training"
        for (kind, before, after), other in zip(pairs, ("stuff", "things"), strict=True)
        if before - after > NOTICEABLE
    ]


def composed(first: Calibration, second: Calibration) -> Calibration:
    """The calibration that does ``first`` and then ``second``."""
    return Calibration(
        temperature=first.temperature * second.temperature, bias=first.bias / second.temperature + second.bias
    )


def _start(checkpoint: Path, output: Path) -> Path:
    """The checkpoint as training left it: the untuned one, if it has the weights of ``checkpoint``."""
    untuned = output / UNTUNED
    if not untuned.exists():
        return checkpoint
    states = [read_checkpoint(path).state for path in (checkpoint, untuned)]
    is_same = states[0].keys() == states[1].keys() and all(torch.equal(states[1][k], x) for k, x in states[0].items())
    return untuned if is_same else checkpoint


def _write(start: Path, output: Path, tuned: Tuned) -> None:
    """Write the untuned checkpoint first, so that it is there whenever the tuned one is."""
    if start != output / UNTUNED:
        with replacing(output / UNTUNED, durable=True) as temporary:
            shutil.copyfile(start, temporary)
    known, header = read_checkpoint(start), read_header(start)
    names: tuple[Figure, ...] = ("pq", "ap")
    figures = {name: figure for name in names if (figure := stated_figure(header, name)) is not None}
    options = [f"model.calibration.{name}={value}" for name, value in tuned.calibration.model_dump().items()]
    config = known.config.changed([*tuned.setting.overrides().split(), *options])
    save_checkpoint(output / BEST, known.state, config, known.categories, figures)
