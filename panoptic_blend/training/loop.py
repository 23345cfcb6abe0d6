"""The training loop: forward, sum, backward, clip, step, log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.loader import Batch
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.failures import doing, reworded
from panoptic_blend.files import locked, replacing
from panoptic_blend.inference.evaluation import Evaluation
from panoptic_blend.runtime.interruption import Interruption, RunInterruptedError
from panoptic_blend.runtime.precision import tf32_convolutions
from panoptic_blend.runtime.processes import all_gather, starts_run, stop_others
from panoptic_blend.scoring.hopeless import Training
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training.batch_norm import one_value_named
from panoptic_blend.training.curves import draw_curves
from panoptic_blend.training.initialization import BEST
from panoptic_blend.training.log import IterationRecord, Reporter
from panoptic_blend.training.optimizer import learning_rate, set_learning_rate
from panoptic_blend.training.run import Run
from panoptic_blend.training.step import LossesOfStep, add_gradients_of, prepared, tell

_MEMORY = "train.images_per_step, train.batch_size or data.short_sides"
"""The options of training that need less memory if they are lower."""

_PATIENCE = 5.0
"""Seconds to wait for the folder: the loading processes of a run that was just killed hold its lock until they die."""


def train(
    config: Config,
    output: Path,
    resume: bool = False,
    datasets: tuple[PanopticDataset, PanopticDataset] | None = None,
    share_cores: bool = False,
    planned_step: float | None = None,
) -> Evaluation:
    """Train the model of ``config`` and evaluate it; all files of the run are written to ``output``.

    The files are ``config.yaml``, ``run.json``, ``log.jsonl``, TensorBoard events, ``state_*.pt`` to resume from,
    ``last.safetensors``, ``best.safetensors``, ``curves.png``, and ``results/`` of the last evaluation.

    Args:
        resume: continue from the newest complete state in ``output``; start a new run if there is none.
        datasets: the data sets for training and for evaluation; by default the splits that ``config.data`` names.
        share_cores: on the CPU, use as many threads as there are free cores (see `Threads`), as the command does. A
            change of their number, on which the last digits depend, is saved in a state, so that resuming repeats it.
        planned_step: the seconds that a step was planned to take; a line says if it takes much longer. Of a planned
            run no line advises other options.

    Returns:
        The last evaluation, in every process of the run.

    Raises:
        PanopticBlendError: the data or weights are unusable, ``output`` holds a run and ``resume`` is false, or a loss
            is not finite.
        RunInterruptedError: the run was interrupted by SIGTERM or Ctrl-C; its state is saved and can be resumed.
    """
    lock = locked(output, "--output", _PATIENCE) if starts_run() else nullcontext()
    with lock, Interruption() as interruption:
        run = Run(config, output, resume, interruption, datasets, share_cores)
        try:
            return finish(run, planned_step)
        except BaseException as error:
            stop_others(run.fabric)
            if isinstance(error, PanopticBlendError) and not run.is_first:
                raise SystemExit from None  # the first process prints the message
            raise


def finish(run: Run, planned_step: float | None = None) -> Evaluation:
    """Train ``run`` up to its last iteration, with checkpoints and evaluations on the way, and evaluate it."""
    total = run.config.train.iterations
    left, start = total - run.iteration, time.perf_counter()
    with Reporter(run.output if run.is_first else None, total, run.iteration, planned=planned_step) as reporter:
        reporter.say(f"{left} iterations on {len(run.training)} images, {run.precision} on {run.team.in_words}")
        for remark in run.remarks:
            reporter.say(remark)
        with tf32_convolutions(run.config.train.tf32):
            stopped = iterate(run, reporter)
        if not total:
            run.checkpoint()
        if left:
            reporter.say(f"trained in {timedelta(seconds=round(time.perf_counter() - start))}")
        evaluation = stopped or run.evaluate(reporter)
        if stopped and run.patience:
            reporter.say(
                f"stopped at iteration {run.iteration} of {total}: {run.patience.waited} evaluations in a row without "
                f"gain of PQ over iteration {run.patience.best_iteration}; the best weights are in {BEST}"
            )
        if not planned_step:  # what would make the model better is said by who planned its training
            passes = run.iteration * run.config.train.batch_size / len(run.training)
            for line in evaluation.doubts(Training(passes, has_weights=bool(run.config.train.weights))):
                reporter.say(line)
    if run.is_first:
        draw_curves(run.output)
    return evaluation


def iterate(run: Run, reporter: Reporter) -> Evaluation | None:
    """Run the remaining iterations; all random numbers depend only on the seed, the iteration and the rank.

    Returns:
        The last evaluation, if it ended the run early.
    """
    options, batches = run.config.train, run.batches()
    last: _Step | None = None
    while run.iteration < options.iterations:
        if run.is_due(options.evaluate_every):  # also when resuming, because this evaluation may have been interrupted
            evaluation = run.evaluate(reporter)
            if run.patience and run.patience.is_over:
                return evaluation
        start = time.perf_counter()
        batch, failure = _next_batch(batches)
        loaded = time.perf_counter()

        rate = learning_rate(run.iteration, options)
        set_learning_rate(run.optimizer, rate)
        run.seed_iteration()
        run.forward.train()
        with _naming(run, batch):
            parts = prepared(run.fabric, run.model, batch.parts_of(options.images_per_step)) if batch else []
            told = tell(run.fabric, _flags(run, batch), parts, last.losses if last else None)
        if last:
            _report(run, last, told.losses, reporter)
        _heed(run, told.flags, batch, failure, reporter)
        assert batch is not None
        with _naming(run, batch):
            own = add_gradients_of(run.fabric, run.forward, parts, told.normalizers)
        update_weights(run)
        run.iteration += 1

        now = time.perf_counter()
        losses, is_logged = LossesOfStep(run.fabric, own), run.is_due(options.log_every)
        last = _Step(run.iteration, rate, batch, losses, loaded - start, now - start, is_logged)
        has_other_threads = run.threads.follow()
        if has_other_threads or any(
            map(run.is_due, (options.checkpoint_every, options.evaluate_every, options.iterations))
        ):
            _report(run, last, last.losses.over_ranks(), reporter)
            last = None
            if has_other_threads:
                reporter.say(f"iteration {run.iteration}: {run.threads.in_words}")
            run.checkpoint()
    return None


@dataclass(frozen=True)
class _Step:
    """A step whose losses the host has not read."""

    iteration: int
    rate: float
    batch: Batch
    losses: LossesOfStep
    data_seconds: float
    seconds: float
    is_logged: bool


def _report(run: Run, step: _Step, losses: dict[str, float], reporter: Reporter) -> None:
    """Report a step with its ``losses`` over all ranks; raises an error if their sum is not finite."""
    if not np.isfinite(sum(losses.values())):
        _raise_not_finite(run, step, losses)
    record = IterationRecord(
        step.iteration, step.rate, losses, run.config.train.batch_size, step.data_seconds, step.seconds
    )
    reporter.step(record, is_logged=step.is_logged)


def update_weights(run: Run) -> None:
    """Clip the gradients, take the step of the optimizer, and let the average follow."""
    # gradients that are not finite: float16 skips the step; otherwise the next loss is not finite and stops the run
    if run.config.train.clip_norm is not None:
        run.fabric.clip_gradients(
            run.forward, run.wrapped_optimizer, max_norm=run.config.train.clip_norm, error_if_nonfinite=False
        )
    run.wrapped_optimizer.step()
    run.wrapped_optimizer.zero_grad()
    if run.average:
        run.average.update(run.iteration)


@contextmanager
def _naming(run: Run, batch: Batch | None) -> Iterator[None]:
    """Name the iteration and the pictures in every error."""
    names = batch.names if batch else []
    what = f"iteration {run.iteration + 1} on {', '.join(names)}"
    with doing(what, lower=_MEMORY), one_value_named(run.iteration + 1, names):
        yield


def _next_batch(batches: Iterator[Batch]) -> tuple[Batch | None, PanopticBlendError | None]:
    """The next batch, or why there is none."""
    try:
        return next(batches), None
    except PanopticBlendError as error:
        return None, error


def _flags(run: Run, batch: Batch | None) -> dict[str, bool]:
    """What `_heed` asks about."""
    return {
        "failure": batch is None,
        "stop": run.interruption.is_requested,
        "skipped": bool(batch and batch.skipped),
    }


def _heed(
    run: Run, found: Mapping[str, bool], batch: Batch | None, failure: PanopticBlendError | None, reporter: Reporter
) -> None:
    """Raise an error in every process if one of the processes failed or was interrupted; report skipped pictures."""
    if found["stop"]:  # checked first, because the same signal may have killed a data loading process
        run.checkpoint()
        raise RunInterruptedError(f"interrupted at iteration {run.iteration}; continue with --resume auto")
    if found["failure"]:
        first = next(filter(None, all_gather(run.fabric, failure)))
        raise reworded(first, f"iteration {run.iteration + 1}: {first}")
    if found["skipped"]:
        skipped = all_gather(run.fabric, batch.skipped if batch else [])
        reporter.skipped(run.iteration + 1, [line for lines in skipped for line in lines])


def _raise_not_finite(run: Run, step: _Step, losses: Mapping[str, float]) -> None:
    """Save the batch of a step if its loss is not finite, and raise an error that names its files."""
    own, batch = dict(zip(step.losses.names, step.losses.own.cpu(), strict=True)), step.batch
    is_finite = all(term.isfinite() for term in own.values())
    path = run.output / f"not_finite_{run.shard.rank}.pt"
    if not is_finite:
        with replacing(path) as temporary:
            content = {"iteration": step.iteration, "names": batch.names, "losses": own}
            torch.save({**content, "images": batch.images, "targets": batch.targets}, temporary)
    found = all_gather(run.fabric, [] if is_finite else [(", ".join(batch.names), str(path))])
    names, kept = (", ".join(items) for items in zip(*(pair for pairs in found for pair in pairs), strict=True))
    listed = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    raise PanopticBlendError(
        f"iteration {step.iteration}: the loss is not finite ({listed}) on {names}; "
        f"the batch is saved in {kept}; lower train.lr or set train.clip_norm"
    )
