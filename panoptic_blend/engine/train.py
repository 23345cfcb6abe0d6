"""Training: the order of events from a config to a trained model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric import Fabric
from torch import Tensor, optim

from panoptic_blend.checkpoints.fitting import layers, without_classes
from panoptic_blend.checkpoints.io import (
    load_weights,
    read_categories,
    read_checkpoint,
    read_pq,
    read_state,
    save_checkpoint,
    save_state,
)
from panoptic_blend.config import Config
from panoptic_blend.data.dataset import CocoPanoptic, find_root
from panoptic_blend.data.loader import Batch, training_batches
from panoptic_blend.data.transforms import Augmentation
from panoptic_blend.engine.evaluate import Evaluation, evaluate, require_same_categories
from panoptic_blend.engine.optim import build_optimizer, learning_rate, set_learning_rate
from panoptic_blend.engine.precision import default_device, resolve
from panoptic_blend.engine.reporting import Record, Reporter
from panoptic_blend.files import replacing
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import PanopticBlendError

STATE, LAST, BEST = "state.pt", "last.safetensors", "best.safetensors"
"""Files of a run: what resuming needs, the newest weights, and those with the best PQ."""


def train(config: Config, output: Path, resume: bool = False) -> Evaluation:
    """Train the model of ``config`` and evaluate it; everything the run leaves goes to ``output``.

    That is ``config.yaml``, ``log.jsonl``, TensorBoard's events, ``state.pt`` to resume from,
    ``last.safetensors``, ``best.safetensors``, and ``results/`` of the last evaluation.

    Raises:
        PanopticBlendError: the data or weights are unusable, ``output`` holds a run and ``resume`` is
            false, or a loss is not finite.
    """
    run = Run(config, output, resume)
    return run.finish()


class Run:
    """One training run: what it works on, and how far it is."""

    def __init__(self, config: Config, output: Path, resume: bool) -> None:
        is_old = (output / STATE).exists()
        if not resume and any((output / name).exists() for name in (STATE, LAST, BEST)):
            raise PanopticBlendError(f"{output}: holds a run already; go on with --resume or choose another --output")
        if not is_old and any((output / name).exists() for name in (LAST, BEST)):
            raise PanopticBlendError(
                f"{output}: has weights but no {STATE} to resume; start in another --output from train.weights={LAST}"
            )
        root = find_root(config.data.root)
        self.training = CocoPanoptic(root, config.data.train)
        self.validation = CocoPanoptic(root, config.data.val)
        self.categories = self.training.categories
        require_same_categories(self.categories, self.validation.categories, self.validation.paths.json)
        things, stuff = len(self.categories.thing_ids), len(self.categories.stuff_ids)
        self.config = config = config.changed([f"model.num_things={things}", f"model.num_stuff={stuff}"])
        self.output = output

        device = default_device()
        self.precision = resolve(config.train.precision, device)
        for name in ("lightning.fabric", "lightning.pytorch"):  # they would announce the precision, as we do
            logging.getLogger(name).setLevel(logging.WARNING)
        self.fabric = Fabric(accelerator=device.type, devices=1, precision=self.precision)
        torch.manual_seed(config.seed)
        self.model: PanopticBlend = build_model(config)
        self.optimizer: optim.Optimizer = build_optimizer(self.model, config.train)
        self.iteration, self.best_pq = 0, -1.0
        state = self._resume() if is_old else None
        self.not_loaded: list[str] = []
        if state is None and config.train.weights:
            self.not_loaded = self._start_from(config.train.weights)
        self.model = self.model.to(memory_format=torch.channels_last)
        self.forward, self.optimizer = self.fabric.setup(self.model, self.optimizer)
        if state:
            self.optimizer.load_state_dict(state["optimizer"])  # after the model has moved to its device
        with replacing(output / "config.yaml") as path:
            path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))

    def _start_from(self, weights: str) -> list[str]:
        """Load weights; layers that know other classes by their header start anew, or are refused."""
        partial = self.config.train.partial
        known = None if weights == "imagenet" else read_categories(Path(weights))
        renamed = known and known.renamed(self.categories)
        if not renamed:
            return load_weights(self.model, weights, partial)
        if not partial:
            raise PanopticBlendError(
                f"{weights}: knows other classes ({renamed}); --partial starts their layers anew and loads the rest"
            )
        return load_weights(self.model, without_classes(read_checkpoint(Path(weights)).state), partial)

    def _resume(self) -> dict[str, Any]:
        path = self.output / STATE
        state = read_state(path)
        if state["fixed"] != self._fixed():
            raise PanopticBlendError(f"{path}: is of a run with another model or optimizer; give the options it had")
        load_weights(self.model, state["model"])
        self.iteration = state["iteration"]
        if (self.output / BEST).exists():
            self.best_pq = read_pq(self.output / BEST)
        return state

    def _fixed(self) -> dict[str, Any]:
        """What a run cannot change on its way."""
        return {"model": self.config.model.model_dump(mode="json"), "optimizer": self.config.train.optimizer}

    def finish(self) -> Evaluation:
        """Train to the last iteration, with checkpoints and evaluations on the way, and evaluate."""
        options = self.config.train
        with Reporter(self.output, options.iterations, self.iteration) as reporter:
            left, start = options.iterations - self.iteration, time.perf_counter()
            reporter.say(f"{left} iterations on {len(self.training)} images, {self.precision} on {self.fabric.device}")
            if self.not_loaded:
                reporter.say(f"{options.weights}: not loaded {layers(self.not_loaded)}")
            batches = self._batches()
            while self.iteration < options.iterations:
                record = self._step(batches)
                reporter.step(record, is_logged=self.iteration % options.log_every == 0)
                is_last = self.iteration == options.iterations
                if is_last or self.iteration % options.checkpoint_every == 0:
                    self._checkpoint()
                if not is_last and options.evaluate_every and self.iteration % options.evaluate_every == 0:
                    self._evaluate(reporter)
            if left:
                reporter.say(f"trained in {timedelta(seconds=round(time.perf_counter() - start))}")
            return self._evaluate(reporter)

    def _batches(self) -> Iterator[Batch]:
        data = self.config.data
        augmentation = Augmentation(data.short_sides, data.long_side, data.flip, data.crop, data.side_sampling)
        size = self.config.train.images_per_step
        return training_batches(self.training, augmentation, size, self.config.seed, data.workers, self.iteration)

    def _step(self, batches: Iterator[Batch]) -> Record:
        """One iteration: forward, sum, backward, clip, step."""
        options, start = self.config.train, time.perf_counter()
        batch = next(batches)
        loaded = time.perf_counter()
        rate = learning_rate(self.iteration, options)
        set_learning_rate(self.optimizer, rate)
        self.forward.train()
        images, targets = self.fabric.to_device((batch.images, batch.targets))
        losses: dict[str, Tensor] = self.forward(images, targets)
        total = torch.stack(list(losses.values())).sum()
        terms = {name: value.item() for name, value in losses.items()}
        if not torch.isfinite(total):
            listed = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
            raise PanopticBlendError(
                f"iteration {self.iteration}: the loss is not finite ({listed}) on {', '.join(batch.names)}; "
                "lower train.lr or set train.clip_norm"
            )
        self.fabric.backward(total)
        if options.clip_norm is not None:
            self.fabric.clip_gradients(self.forward, self.optimizer, max_norm=options.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.iteration += 1
        return Record(self.iteration, rate, terms, len(images), loaded - start, time.perf_counter() - start)

    def _checkpoint(self) -> None:
        save_checkpoint(self.output / LAST, self.model, self.config, self.categories)
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "fixed": self._fixed(),
        }
        save_state(self.output / STATE, state)

    def _evaluate(self, reporter: Reporter) -> Evaluation:
        results = self.output / "results" / f"panoptic_{self.config.data.val}.json"
        evaluation = evaluate(self.model, self.validation, self.config, results, self.precision, reporter.evaluating)
        if evaluation.panoptic["All"]["pq"] > self.best_pq:
            self.best_pq = evaluation.panoptic["All"]["pq"]
            save_checkpoint(self.output / BEST, self.model, self.config, self.categories, self.best_pq)
        reporter.evaluated(self.iteration, evaluation)
        return evaluation
