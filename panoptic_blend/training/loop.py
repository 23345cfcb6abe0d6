"""The training loop: forward, sum, backward, clip, step, log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.loader import Batch
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.failures import doing, reworded
from panoptic_blend.files import locked, replacing
from panoptic_blend.inference.evaluation import Evaluation
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.interruption import Interruption, RunInterruptedError
from panoptic_blend.runtime.precision import tf32_convolutions
from panoptic_blend.runtime.processes import (
    all_gather,
    any_over_ranks,
    figures_over_ranks,
    starts_run,
    stop_others,
    sum_over_ranks,
)
from panoptic_blend.scoring.hopeless import Training
from panoptic_blend.structures import PanopticBlendError, Target
from panoptic_blend.training.batch_norm import one_value_named
from panoptic_blend.training.curves import draw_curves
from panoptic_blend.training.initialization import BEST
from panoptic_blend.training.log import IterationRecord, Reporter
from panoptic_blend.training.optimizer import learning_rate, set_learning_rate
from panoptic_blend.training.run import Run

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
    while run.iteration < options.iterations:
        if run.is_due(options.evaluate_every):  # also when resuming, because this evaluation may have been interrupted
            evaluation = run.evaluate(reporter)
            if run.patience and run.patience.is_over:
                return evaluation
        start = time.perf_counter()
        batch = _next_batch(run, batches, reporter)
        loaded = time.perf_counter()

        rate = learning_rate(run.iteration, options)
        set_learning_rate(run.optimizer, rate)
        run.seed_iteration()
        run.forward.train()
        parts = batch.parts_of(options.images_per_step)
        what = f"iteration {run.iteration + 1} on {', '.join(batch.names)}"
        with doing(what, lower=_MEMORY), one_value_named(run.iteration + 1, batch.names):
            own = add_gradients(run.fabric, run.forward, run.model, parts)
        losses = figures_over_ranks(run.fabric, own)
        if not np.isfinite(sum(losses.values())):
            _raise_not_finite(run, batch, own, losses)
        update_weights(run)
        run.iteration += 1

        record = IterationRecord(
            iteration=run.iteration,
            lr=rate,
            losses=losses,
            images=options.batch_size,
            data_seconds=loaded - start,
            step_seconds=time.perf_counter() - start,
        )
        reporter.step(record, is_logged=run.is_due(options.log_every))
        if has_other_threads := run.threads.follow():
            reporter.say(f"iteration {run.iteration}: {run.threads.in_words}")
        if has_other_threads or any(
            map(run.is_due, (options.checkpoint_every, options.evaluate_every, options.iterations))
        ):
            run.checkpoint()
    return None


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


def add_gradients(
    fabric: Fabric, forward: Any, model: PanopticBlend, parts: Sequence[tuple[list[Tensor], list[Target]]]
) -> dict[str, Tensor]:
    """Accumulate the gradients of an optimizer step, as if the parts of all ranks were one batch.

    Every loss term is a sum divided by a normalizer. The normalizers are summed over all parts of all ranks before the
    first forward pass, so that the losses of the parts add up to the loss of the batch. (Batch norms still see one part
    at a time.)

    Args:
        forward: ``model`` as Fabric set it up.
        parts: images and targets; every rank has the same number of parts.

    Returns:
        The contribution of this rank to every loss term.
    """
    prepared = [model.prepared(*fabric.to_device(part)) for part in parts]
    normalizers = sum_over_ranks(fabric, [part.normalizers for part in prepared])
    shares: dict[str, Tensor] = {}
    for number, part in enumerate(prepared, start=1):
        with fabric.no_backward_sync(forward, enabled=number < len(prepared)):
            losses: dict[str, Tensor] = forward(part, normalizers=normalizers)
            loss = torch.stack(list(losses.values())).sum()
            fabric.backward(loss * fabric.world_size)  # gradients are averaged over the ranks
        shares = {name: shares.get(name, 0) + value.detach() for name, value in losses.items()}
    return shares


def _next_batch(run: Run, batches: Iterator[Batch], reporter: Reporter) -> Batch:
    """The next batch; raises an error in every process if one of the processes failed or was interrupted."""
    batch: Batch | None = None
    failure: PanopticBlendError | None = None
    try:
        batch = next(batches)
    except PanopticBlendError as error:
        failure = error
    skipped = batch.skipped if batch else []
    flags = {"failure": failure is not None, "stop": run.interruption.is_requested, "skipped": bool(skipped)}
    found = any_over_ranks(run.fabric, flags)
    if found["stop"]:  # checked first, because the same signal may have killed a data loading process
        run.checkpoint()
        raise RunInterruptedError(f"interrupted at iteration {run.iteration}; continue with --resume auto")
    if found["failure"]:
        first = next(filter(None, all_gather(run.fabric, failure)))
        raise reworded(first, f"iteration {run.iteration + 1}: {first}")
    if found["skipped"]:
        reporter.skipped(run.iteration + 1, [line for lines in all_gather(run.fabric, skipped) for line in lines])
    assert batch is not None
    return batch


def _raise_not_finite(run: Run, batch: Batch, own: Mapping[str, Tensor], losses: Mapping[str, float]) -> None:
    """Save the batch if its loss is not finite, and raise an error that names its files."""
    is_finite = all(term.isfinite().all() for term in own.values())
    path = run.output / f"not_finite_{run.shard.rank}.pt"
    if not is_finite:
        with replacing(path) as temporary:
            losses_here = {name: value.cpu() for name, value in own.items()}  # to be read where there is no GPU
            content = {"iteration": run.iteration + 1, "names": batch.names, "losses": losses_here}
            torch.save({**content, "images": batch.images, "targets": batch.targets}, temporary)
    found = all_gather(run.fabric, [] if is_finite else [(", ".join(batch.names), str(path))])
    names, kept = (", ".join(items) for items in zip(*(pair for pairs in found for pair in pairs), strict=True))
    listed = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    raise PanopticBlendError(
        f"iteration {run.iteration + 1}: the loss is not finite ({listed}) on {names}; "
        f"the batch is saved in {kept}; lower train.lr or set train.clip_norm"
    )
