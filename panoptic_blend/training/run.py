"""Training: the order of events from a config to a trained model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, optim
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_optimizer_state_dict

from panoptic_blend.checkpoints.io import load_weights, read_pq, save_checkpoint
from panoptic_blend.checkpoints.states import newest_state, save_state, state_files
from panoptic_blend.config.experiment import Config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import Batch, Shard, training_batches
from panoptic_blend.data.transforms import Augmentation
from panoptic_blend.files import locked, remove_unfinished, replacing
from panoptic_blend.formats.coco_layout import find_root
from panoptic_blend.inference.evaluation import Evaluation, evaluate, require_same_categories
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.sync_norm import synchronise
from panoptic_blend.runtime.interruption import Interruption, RunInterruptedError
from panoptic_blend.runtime.precision import resolve
from panoptic_blend.runtime.processes import gather, is_sharded, launch, starts_run, stop_others, sum_over_ranks
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training.curves import draw_curves
from panoptic_blend.training.log import Record, Reporter
from panoptic_blend.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from panoptic_blend.training.provenance import record_start
from panoptic_blend.training.starting import BEST, LAST, require_free, start_from
from panoptic_blend.training.step import add_gradients

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


def train(config: Config, output: Path, resume: bool = False) -> Evaluation:
    """Train the model of ``config`` and evaluate it; everything the run leaves goes to ``output``.

    That is ``config.yaml``, ``run.json``, ``log.jsonl``, TensorBoard's events, ``state_*.pt`` to resume from,
    ``last.safetensors``, ``best.safetensors``, ``curves.png``, and ``results/`` of the last evaluation.

    Args:
        resume: go on from the newest whole state in ``output``; start if there is none.

    Returns:
        The last evaluation, in every process of the run.

    Raises:
        PanopticBlendError: the data or weights are unusable, ``output`` holds a run and ``resume`` is
            false, or a loss is not finite.
        RunInterruptedError: SIGTERM or Ctrl-C came; the run is saved and can be resumed.
    """
    remedy = "wait for it, or choose another --output"  # what a killed run has loading data ends within seconds
    alone = locked(output, remedy, patience=15) if starts_run() else nullcontext()
    with alone, Interruption() as interruption:
        run = Run(config, output, resume, interruption)
        try:
            return run.finish()
        except BaseException as error:
            stop_others(run.fabric)
            if isinstance(error, PanopticBlendError) and not run.is_first:
                raise SystemExit from None  # the first process says it for all
            raise


class Run:
    """One training run: what it works on, and how far it is."""

    def __init__(self, config: Config, output: Path, resume: bool, interruption: Interruption | None = None) -> None:
        self.output, self.interruption = output, interruption or Interruption()
        self.remarks = list(config.notes)
        require_free(output, resume)
        root = find_root(config.data.root)
        self.training = CocoPanoptic(root, config.data.train)
        self.validation = CocoPanoptic(root, config.data.val)
        self.categories = self.training.categories
        require_same_categories(self.categories, self.validation.categories, self.validation.paths.json)
        things, stuff = len(self.categories.thing_ids), len(self.categories.stuff_ids)
        self.config = config = config.changed([f"model.num_things={things}", f"model.num_stuff={stuff}"])
        state = newest_state(output, self.remarks.append) if resume else None

        self.fabric = launch(config.train)
        self.is_first = self.fabric.is_global_zero
        self.shard = Shard(self.fabric.global_rank, self.fabric.world_size)
        self.precision = resolve(config.train.precision, self.fabric.device)
        torch.manual_seed(config.seed)
        self.model: PanopticBlend = build_model(config)
        self.iteration, self.best_pq = 0, -1.0
        if state is not None:
            self._continue(state)
        elif config.train.weights:
            self.remarks += start_from(self.model, config.train.weights, config.train.partial, self.categories)
        self._set_up(state)
        if self.is_first:
            remove_unfinished([*output.glob(".*"), *(output / "results").rglob(".*")])
            if state is not None:  # in case the run died between the two
                save_checkpoint(output / LAST, state["model"], config, self.categories)
            with replacing(output / "config.yaml") as path:
                path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
            record_start(output, config.seed, self.iteration, self.fabric.device, self.shard.count)

    def _continue(self, state: Mapping[str, Any]) -> None:
        if state["fixed"] != self._fixed():
            raise PanopticBlendError(
                f"{self.output}: its states are of a run with another model or optimizer; give the options it had"
            )
        load_weights(self.model, state["model"])
        self.iteration = state["iteration"]
        if (self.output / BEST).exists():
            self.best_pq = read_pq(self.output / BEST)

    def _fixed(self) -> dict[str, Any]:
        """What a run cannot change on its way."""
        return {"model": self.config.model.model_dump(mode="json"), "optimizer": self.config.train.optimizer}

    def _set_up(self, state: Mapping[str, Any] | None) -> None:
        """Bring model and optimizer to their devices."""
        if not is_sharded(self.fabric):  # which knows but one layout
            self.model = self.model.to(memory_format=torch.channels_last)
        if self.config.train.sync_norm:
            synchronise(self.model)
        self.forward = self.fabric.setup_module(self.model)
        self._optimizer: optim.Optimizer = build_optimizer(self.model, self.config.train)
        self.optimizer: Any = self.fabric.setup_optimizers(self._optimizer)
        if state is not None:
            set_optimizer_state_dict(self.model, self._optimizer, state["optimizer"], options=_FULL)
            self.fabric.strategy.precision.load_state_dict(state["scaler"])

    def finish(self) -> Evaluation:
        """Train to the last iteration, with checkpoints and evaluations on the way, and evaluate."""
        options = self.config.train
        left, start = options.iterations - self.iteration, time.perf_counter()
        with Reporter(self.output if self.is_first else None, options.iterations, self.iteration) as reporter:
            on = f"{self.shard.count} x {self.fabric.device.type}" if self.shard.count > 1 else str(self.fabric.device)
            reporter.say(f"{left} iterations on {len(self.training)} images, {self.precision} on {on}")
            for remark in self.remarks:
                reporter.say(remark)
            batches = self._batches()
            while self.iteration < options.iterations:
                if self._is_due(options.evaluate_every):  # again where a run was resumed, which may have died in it
                    self._evaluate(reporter)
                reporter.step(self._step(batches, reporter), is_logged=self._is_due(options.log_every))
                if any(map(self._is_due, (options.checkpoint_every, options.evaluate_every, options.iterations))):
                    self._checkpoint()
            if not left and not state_files(self.output):
                self._checkpoint()
            if left:
                reporter.say(f"trained in {timedelta(seconds=round(time.perf_counter() - start))}")
            evaluation = self._evaluate(reporter)
        if self.is_first:
            draw_curves(self.output)
        return evaluation

    def _is_due(self, interval: int) -> bool:
        return interval > 0 and self.iteration > 0 and self.iteration % interval == 0

    def _batches(self) -> Iterator[Batch]:
        data, options = self.config.data, self.config.train
        return training_batches(
            self.training,
            Augmentation(data.short_sides, data.long_side, data.flip, data.crop, data.side_sampling),
            options.batch_size,
            self.config.seed,
            workers=data.workers,
            start=self.iteration,
            shard=self.shard,
            skip=data.on_error == "skip",
            pin=self.fabric.device.type == "cuda",
        )

    def _step(self, batches: Iterator[Batch], reporter: Reporter) -> Record:
        """One iteration: forward, sum, backward, clip, step."""
        options, start = self.config.train, time.perf_counter()
        batch = self._next(batches, reporter)
        loaded = time.perf_counter()
        rate = learning_rate(self.iteration, options)
        set_learning_rate(self._optimizer, rate)
        chance = np.random.SeedSequence([self.config.seed, self.iteration, self.shard.rank])
        torch.manual_seed(int(chance.generate_state(1)[0]))  # so that resuming needs no state of generators
        self.forward.train()
        number = -(-len(batch.images) // (options.images_per_step or len(batch.images)))
        own = add_gradients(self.fabric, self.forward, self.model, batch.parts(number))
        terms = {name: value.item() for name, value in sum_over_ranks(self.fabric, [own]).items()}
        if not np.isfinite(sum(terms.values())):
            self._stop_at(batch, own, terms)
        if options.clip_norm is not None:
            self.fabric.clip_gradients(
                self.forward, self.optimizer, max_norm=options.clip_norm, error_if_nonfinite=False
            )  # fp16's scaler passes over such a step; any other ends in a loss that stops the run
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.iteration += 1
        seconds = loaded - start, time.perf_counter() - start
        return Record(self.iteration, rate, terms, options.batch_size, *seconds)

    def _next(self, batches: Iterator[Batch], reporter: Reporter) -> Batch:
        """The next batch, if every process has one and none was asked to stop."""
        batch, problem = None, ""
        try:
            batch = next(batches)
        except PanopticBlendError as error:
            problem = str(error)
        skipped = batch.skipped if batch else []
        flags = {"problem": bool(problem), "stop": self.interruption.is_requested, "skipped": bool(skipped)}
        found = sum_over_ranks(self.fabric, [{k: torch.tensor(v, device=self.fabric.device) for k, v in flags.items()}])
        if found["stop"]:  # a loading process may have died of the same signal
            self._checkpoint()
            raise RunInterruptedError(f"interrupted at iteration {self.iteration}; go on with --resume auto")
        if found["problem"]:
            problem = next(filter(None, gather(self.fabric, problem)))
            raise PanopticBlendError(f"iteration {self.iteration}: {problem}")
        if found["skipped"]:
            reporter.skipped(self.iteration + 1, [x for other in gather(self.fabric, skipped) for x in other])
        assert batch is not None
        return batch

    def _stop_at(self, batch: Batch, own: Mapping[str, Tensor], terms: Mapping[str, float]) -> None:
        """Keep the batch whose loss is not finite, and say so."""
        is_finite = all(term.isfinite().all() for term in own.values())
        path = self.output / f"not_finite_{self.shard.rank}.pt"
        if not is_finite:
            with replacing(path) as temporary:
                content = {"iteration": self.iteration, "names": batch.names, "losses": dict(own)}
                torch.save({**content, "images": batch.images, "targets": batch.targets}, temporary)
        found = gather(self.fabric, [] if is_finite else [(", ".join(batch.names), str(path))])
        names, kept = (", ".join(parts) for parts in zip(*(x for other in found for x in other), strict=True))
        listed = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        raise PanopticBlendError(
            f"iteration {self.iteration}: the loss is not finite ({listed}) on {names}; "
            f"lower train.lr or set train.clip_norm; the batch is kept in {kept}"
        )

    def _checkpoint(self) -> None:
        model: Any
        model, optimizer = get_state_dict(self.model, self._optimizer, options=_FULL)
        if not all(value.isfinite().all() for value in model.values()):
            raise PanopticBlendError(
                f"iteration {self.iteration}: the weights are not finite, so they were not saved; lower train.lr"
            )
        if self.is_first:
            scaler = self.fabric.strategy.precision.state_dict()
            state = {"model": model, "optimizer": optimizer, "scaler": scaler}
            save_state(self.output, {**state, "iteration": self.iteration, "fixed": self._fixed()})
            save_checkpoint(self.output / LAST, model, self.config, self.categories)
        self.fabric.barrier()  # a process that leaves now must not take the first one with it

    def _evaluate(self, reporter: Reporter) -> Evaluation:
        results = self.output / "results" / f"panoptic_{self.config.data.val}.json"
        try:
            with self.interruption.at_once():
                model, data, show = self._whole_model(), self.validation, reporter.evaluating
                evaluation = evaluate(model, data, self.config, results, self.precision, show, fabric=self.fabric)
        except RunInterruptedError:
            text = f"interrupted evaluating iteration {self.iteration}; go on with --resume auto"
            raise RunInterruptedError(text) from None
        if evaluation.panoptic["All"]["pq"] > self.best_pq:
            self.best_pq = evaluation.panoptic["All"]["pq"]
            if self.is_first:
                save_checkpoint(self.output / BEST, model.state_dict(), self.config, self.categories, self.best_pq)
        reporter.evaluated(self.iteration, evaluation)
        return evaluation

    def _whole_model(self) -> PanopticBlend:
        """The model itself, or a copy of it where each process holds a part."""
        if not is_sharded(self.fabric):
            return self.model
        state, _ = get_state_dict(self.model, self._optimizer, options=StateDictOptions(full_state_dict=True))
        model = build_model(self.config)
        model.load_state_dict(state)
        return model.to(self.fabric.device)
