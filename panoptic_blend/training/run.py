"""The state of a training run: data, model, optimizer and progress; how it starts, is saved and is evaluated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, optim
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
)

from panoptic_blend.checkpoints.io import load_weights, read_figure, save_checkpoint
from panoptic_blend.checkpoints.reading import Figure
from panoptic_blend.checkpoints.states import newest_state, save_state
from panoptic_blend.config.experiment import Config
from panoptic_blend.config.options import Train
from panoptic_blend.data.limits import exceeded_limits
from panoptic_blend.data.loader import Batch, training_batches
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.splits import open_training, open_validation
from panoptic_blend.data.transforms import Augmentation
from panoptic_blend.files import remove_unfinished, replacing
from panoptic_blend.inference.evaluation import Evaluation, evaluate, require_same_categories
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.sync_norm import synchronize
from panoptic_blend.runtime.interruption import Interruption, RunInterruptedError
from panoptic_blend.runtime.precision import chosen_device, resolve
from panoptic_blend.runtime.processes import all_gather, is_sharded, launch, take_buffers_of_first
from panoptic_blend.runtime.team import Team
from panoptic_blend.runtime.threads import Threads
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training.averaging import MovingAverage
from panoptic_blend.training.batch_norm import require_variance
from panoptic_blend.training.initialization import (
    BEST,
    LAST,
    fetch_initial_weights,
    load_initial_weights,
    require_no_run,
    require_weights_of_backbone,
)
from panoptic_blend.training.log import Reporter
from panoptic_blend.training.meaning import compare, meaning
from panoptic_blend.training.optimizer import build_optimizer, require_full_rate
from panoptic_blend.training.patience import Patience, require_comparable
from panoptic_blend.training.provenance import record_start

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
_THREADS_REST = 60.0
"""The least time in seconds between two changes of the number of threads, because each one saves a state."""

_REPEATS = 4
"""A batch may take every image this often without a remark; small data sets are repeated in one."""


class Run:
    """The state of a training run in one process; `loop.finish` trains it to the end. Arguments are as in `loop.train`.

    ``forward`` is ``model`` and ``wrapped_optimizer`` is ``optimizer``, both as Fabric set them up.
    """

    def __init__(
        self,
        config: Config,
        output: Path,
        resume: bool,
        interruption: Interruption | None = None,
        datasets: tuple[PanopticDataset, PanopticDataset] | None = None,
        share_cores: bool = False,
    ) -> None:
        self.output, self.interruption = output, interruption or Interruption()
        self.remarks = list(config.notes)
        require_no_run(output, resume)
        require_weights_of_backbone(config)
        require_full_rate(config.train)
        self.training, self.validation = datasets or self._open(config)
        self.categories = self.training.categories
        require_same_categories(self.categories, self.validation, config.model.semantic.enabled)
        things, stuff = len(self.categories.thing_ids), len(self.categories.stuff_ids)
        self.config = config = config.changed([f"model.num_things={things}", f"model.num_stuff={stuff}"])
        for dataset in (self.training, self.validation):
            self.remarks += exceeded_limits(config.model, dataset)
        if (times := config.train.batch_size / len(self.training)) > _REPEATS:
            self.remarks.append(f"each step takes every training image {times:.0f} times; lower train.batch_size")
        if config.train.patience is not None:
            require_comparable(self.validation)
        self.meaning = meaning(config, self.training, self.validation)
        state = newest_state(output, self.remarks.append) if resume else None

        if state is None:
            fetch_initial_weights(config.train.weights)
        options = self._with_known_precision(config.train, state)
        self.fabric = launch(options)
        self.is_first = self.fabric.is_global_zero
        self.team = Team(self.fabric)
        self.shard = self.team.shard
        self.precision = resolve(options.precision, self.fabric.device)
        if self.fabric.device.type == "cuda" and self.precision == "32-true" and options.tf32:
            self.remarks.append("convolutions round their factors to TF32; train.tf32=false has true float32")
        is_alone_on_cpu = self.fabric.device.type == "cpu" and self.shard.count == 1
        threads = state.get("threads") if state else None
        self.threads = Threads(share_cores and is_alone_on_cpu, threads, rest=_THREADS_REST)
        torch.manual_seed(config.seed)
        self.model: PanopticBlend = build_model(config)
        require_variance(self.model, config, self.training.images.sizes, self.shard.count)
        self.iteration = 0
        waited, limit = state.get("patience", {}) if state else {}, config.train.patience
        self.patience = Patience(limit, waited) if limit is not None else None
        self._best: dict[Figure, float] = {"pq": -1.0, "ap": -1.0}
        if state is not None:
            self._resume(state)
        elif config.train.weights:
            weights, partial = config.train.weights, config.train.partial
            self.remarks += load_initial_weights(self.model, weights, partial, self.categories)
        self._set_up(state)
        self.remarks += self.threads.start()
        if self.is_first:
            self._write_start(state)

    def _with_known_precision(self, options: Train, state: Mapping[str, Any] | None) -> Train:
        """The options with the precision that ``auto`` had before, because another one would change the digits."""
        if options.precision != "auto" or not state or not (known := state.get("precision")):
            return options
        if (own := resolve("auto", chosen_device(options.device))) != known:
            self.remarks.append(f"precision stays {known}, as before; train.precision={own} would be faster here")
        return options.model_copy(update={"precision": known})

    def _open(self, config: Config) -> tuple[PanopticDataset, PanopticDataset]:
        training, validation = open_training(config), open_validation(config)
        self.remarks += [*training.remarks, *validation.remarks]
        return training.dataset, validation.dataset

    def _write_start(self, state: Mapping[str, Any] | None) -> None:
        """Remove unfinished files of a killed run, and write the config and the provenance of this one."""
        output, config = self.output, self.config
        remove_unfinished([*output.glob(".*"), *(output / "results").rglob(".*")])
        if state is not None:  # the run may have been killed between writing the state and the weights
            averages = state.get("ema", {}) if self.average else {}
            save_checkpoint(output / LAST, state["model"] | averages, config, self.categories)
        with replacing(output / "config.yaml") as path:
            path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        record_start(output, config.seed, self.iteration, self.fabric.device, self.shard.count)

    def _resume(self, state: Mapping[str, Any]) -> None:
        self.remarks += compare(state, self.meaning, self.output)
        load_weights(self.model, state["model"])
        self.iteration = state["iteration"]
        if (self.output / BEST).exists():
            self._best = {name: read_figure(self.output / BEST, name) for name in self._best}

    def _set_up(self, state: Mapping[str, Any] | None) -> None:
        """Set up model and optimizer with Fabric, on their device, and restore the state of the optimizer."""
        if not is_sharded(self.fabric):  # FSDP supports the contiguous layout only
            self.model = self.model.to(memory_format=torch.channels_last)
        if self.config.train.sync_norm:
            synchronize(self.model, self.fabric.device)
        self.forward = self.fabric.setup_module(self.model)
        self.optimizer: optim.Optimizer = build_optimizer(self.model, self.config.train)
        known, decay = state.get("ema", {}) if state else {}, self.config.train.ema
        self.average = MovingAverage(self.model, decay, known) if decay is not None else None
        self.wrapped_optimizer: Any = self.fabric.setup_optimizers(self.optimizer)
        if state is not None:
            own = get_optimizer_state_dict(self.model, self.optimizer, options=_FULL)  # empty but in the first process
            groups = all_gather(self.fabric, own.get("param_groups"))[0]  # they follow the options
            kept: Any = {"state": state["optimizer"]["state"], "param_groups": groups}
            set_optimizer_state_dict(self.model, self.optimizer, kept, options=_FULL)
            self.fabric.strategy.precision.load_state_dict(state["scaler"])

    def is_due(self, interval: int) -> bool:
        """Whether an action with this interval in iterations is due after the current iteration; never for 0."""
        return interval > 0 and self.iteration > 0 and self.iteration % interval == 0

    def batches(self) -> Iterator[Batch]:
        """Endless batches from the current iteration on; only this process's shard of each."""
        data, options = self.config.data, self.config.train
        return training_batches(
            self.training,
            Augmentation.from_options(data),
            options.batch_size,
            self.config.seed,
            workers=data.workers,
            start=self.iteration,
            shard=self.shard,
            repeat_threshold=data.repeat_threshold,
            skip=data.on_error == "skip",
            pin=self.fabric.device.type == "cuda",
        )

    def seed_iteration(self) -> None:
        """Seed torch for this iteration and rank, so that states need not include random generators."""
        sequence = np.random.SeedSequence([self.config.seed, self.iteration, self.shard.rank])
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def checkpoint(self) -> None:
        """Save a state to resume from, and the current weights: their average, if there is one."""
        model: Any
        model, optimizer = get_state_dict(self.model, self.optimizer, options=_FULL)
        averages = self._averages()
        if not all(value.isfinite().all() for value in (*model.values(), *averages.values())):
            raise PanopticBlendError(
                f"iteration {self.iteration}: the weights are not finite, so they were not saved; lower train.lr"
            )
        if self.is_first:
            scaler = self.fabric.strategy.precision.state_dict()
            state = {"model": model, "ema": averages, "optimizer": optimizer, "scaler": scaler}
            state |= {"patience": self.patience.state_dict(self.iteration) if self.patience else {}}
            state |= {"precision": self.precision if self.config.train.precision == "auto" else None}
            state |= {"iteration": self.iteration, "fixed": self.meaning, "threads": self.threads.number}
            save_state(self.output, state)
            save_checkpoint(self.output / LAST, model | averages, self.config, self.categories)
        self.fabric.barrier()  # if another process exited earlier, the first one would be stopped while it writes

    def evaluate(self, reporter: Reporter) -> Evaluation:
        """Evaluate the model, report the scores, and save the weights if they are the best so far.

        The weights are their average, if there is one. The best have the highest PQ, or the highest AP of masks if the
        data set has no panoptic annotation.
        """
        results = self.output / "results" / f"panoptic_{self.config.data.val}.json"
        try:
            with self.interruption.immediate():
                model, data, show = self._evaluated_model(), self.validation, reporter.evaluating
                evaluation = evaluate(
                    model,
                    data,
                    self.config,
                    results,
                    self.precision,
                    show,
                    team=self.team,
                    with_tallies=self.patience is not None,
                )
        except RunInterruptedError:
            text = f"interrupted in the evaluation at iteration {self.iteration}; continue with --resume auto"
            raise RunInterruptedError(text) from None
        name, figure = evaluation.best_by()
        is_better = figure > self._best[name] or math.isnan(figure)  # without a figure, the newest weights are the best
        if is_better:
            self._best[name] = -1.0 if math.isnan(figure) else figure
        if is_better and self.is_first:
            known = {} if math.isnan(figure) else {name: figure}
            save_checkpoint(self.output / BEST, model.state_dict(), self.config, self.categories, known)
        reporter.evaluated(self.iteration, evaluation, of_average=self.average is not None)
        if self.patience and evaluation.tallies:
            best = self.patience.best_iteration
            if gain := self.patience.follow(self.iteration, evaluation.tallies):
                reporter.gained(self.iteration, gain, best, self.patience.waited)
        return evaluation

    def _averages(self) -> dict[str, Tensor]:
        """The averages that stand in for weights of the same names."""
        return self.average.state_dict() if self.average else {}

    def _evaluated_model(self) -> PanopticBlend:
        """The model itself, or a whole copy if its parameters are sharded or averaged; the same in every process."""
        model = self.model
        if self.average or is_sharded(self.fabric):
            state = get_model_state_dict(self.model, options=StateDictOptions(full_state_dict=True))
            model = build_model(self.config)
            model.load_state_dict(state | self._averages())
            model = model.to(self.fabric.device).to(memory_format=torch.channels_last)
        take_buffers_of_first(self.fabric, model)
        return model
