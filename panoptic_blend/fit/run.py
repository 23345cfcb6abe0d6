"""`fit`: from a folder of labeled pictures to a model, its report, and what limits it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from panoptic_blend.checkpoints.states import state_files
from panoptic_blend.config.experiment import Config, parse_config
from panoptic_blend.data.loader import EvaluationSample
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.splits import evenly, open_training, open_validation
from panoptic_blend.files import locked, read_bytes, replacing
from panoptic_blend.fit.fingerprint import Fingerprint, take_fingerprint
from panoptic_blend.fit.intake import Prepared, prepare, require_apart
from panoptic_blend.fit.kept import digest_of
from panoptic_blend.fit.label_errors import LabelErrorSearch, annotation
from panoptic_blend.fit.labelling import label_next, write_label_errors
from panoptic_blend.fit.machine import measure_machine
from panoptic_blend.fit.plan import MARKDOWN, RECORD, YAML, Plan, read_config
from panoptic_blend.fit.planning import Case, make_plan, stated
from panoptic_blend.fit.report_text import Known
from panoptic_blend.fit.stages import Stages, digest_of_files
from panoptic_blend.fit.start import find_start
from panoptic_blend.fit.summary import PAGE, Judged, evaluate_best, write_summary
from panoptic_blend.fit.tuning import tune
from panoptic_blend.fit.wanted import Wanted
from panoptic_blend.inference.predictor import Predictor, load
from panoptic_blend.prediction.find_pictures import find_pictures
from panoptic_blend.runtime.interruption import RunInterruptedError
from panoptic_blend.runtime.launchers import find_placement
from panoptic_blend.runtime.precision import chosen_device, default_device
from panoptic_blend.runtime.processes import starts_run
from panoptic_blend.structures import Output, PanopticBlendError
from panoptic_blend.terminal import progress_line
from panoptic_blend.training.initialization import BEST, LAST, require_no_run
from panoptic_blend.training.loop import train

Say = Callable[[str], None]

FOLDER = "fit"
"""The folder in the output with the fingerprint, the plan's record and those of the stages."""
FINGERPRINT = "fingerprint.json"
_PATIENCE = 5.0
"""Seconds to wait for the folder: processes of a fit that was just killed hold its lock until they die."""


def fit(
    folder: Path, output: Path, wanted: Wanted, resume: bool = False, dry_run: bool = False, say: Say = print
) -> None:
    """Check the data, take their fingerprint, measure the machine, plan, train, tune, evaluate and sum up.

    Every stage leaves its files in ``output``; ``best.safetensors`` there is the model to use.

    Args:
        resume: go on after the last finished stage of an earlier call, or within the training.
        dry_run: stop after the plan.
        say: prints a line.

    Raises:
        PanopticBlendError: the data are unusable, the time is too short, or ``output`` holds a fit of other data or
            with other wishes, or one and ``resume`` is false.
        RunInterruptedError: Ctrl-C; the fit can be resumed.
    """
    if not starts_run():  # the first process has started this one for another device, after it had planned
        _train(output, _planned(output / FOLDER))
        return
    stated(wanted.overrides)  # an unknown option is told before anything is read
    _require_device(wanted)
    require_apart(folder, output)
    require_no_run(output, resume)
    with locked(output / FOLDER, "--output", _PATIENCE), _interruptible(output):
        _Fit(folder, output, wanted, say).run(dry_run)


class _Fit:
    """The stages of a fit, in their order."""

    def __init__(self, folder: Path, output: Path, wanted: Wanted, say: Say) -> None:
        self.folder, self.output, self.wanted, self.say = folder, output, wanted, say
        self.began, self.records = time.monotonic(), output / FOLDER
        self.stages = Stages(self.records)
        unlabelled = [wanted.unlabelled] if wanted.unlabelled else []
        self.unlabelled, _ = find_pictures(unlabelled, recursive=True, passed=[output])
        self.inputs: dict[str, Any] = {"folder": str(folder.resolve()), "files": digest_of_files(folder)}

    def run(self, dry_run: bool) -> None:
        prepared = self.prepared()
        plan = self.planned(prepared)
        where = f"plan: {self.output / MARKDOWN}, as a config {self.output / YAML}"
        for line in (*prepared.remarks, *plan.head, plan.time_line(), where):
            self.say(line)
        if dry_run:
            return
        self.trained(plan)
        for line in self.summed_up(prepared, plan):
            self.say(line)

    def prepared(self) -> Prepared:
        path = self.records / "data.json"
        self.inputs |= {"stuff": list(self.wanted.stuff)}
        if not self._is_done("data", path):
            prepared = prepare(self.folder, self.output, stuff=self.wanted.stuff)
            _write(path, _PREPARED.dump_json(prepared))
            self.stages.finish("data", self.inputs)
        return _PREPARED.validate_json(read_bytes(path))

    def planned(self, prepared: Prepared) -> Plan:
        path, opened = self.records / FINGERPRINT, cache(partial(_datasets, _data_config(prepared)))
        if not self._is_done("fingerprint", path):
            take_fingerprint(*opened()).write(path)
            self.stages.finish("fingerprint", self.inputs)
        self.inputs |= _wishes(self.wanted)
        if not self._is_done("plan", self.output / YAML, self.records / RECORD):
            self._require_unchanged_plan()
            machine = measure_machine(self.wanted.device)
            training, _ = opened()
            start = find_start(self.wanted, machine.device)
            case = Case(prepared, training, Fingerprint.read(path), machine, start, self.wanted, len(self.unlabelled))
            make_plan(case, lambda: time.monotonic() - self.began).write(self.output, self.records)
            self.stages.finish("plan", self.inputs)
        return _planned(self.records)

    def trained(self, plan: Plan) -> None:
        """Train as ``plan.yaml`` says, whatever a person has changed in it."""
        self.inputs |= {"config": read_config(self.output).model_dump(mode="json")}
        if self.stages.difference("training", self.inputs):
            raise PanopticBlendError(
                f"{self.output / YAML}: was changed after the training; to train with the change, give it to "
                "`panoptic-blend train` with another --output"
            )
        if not self._is_done("training", self.output / BEST, self.output / LAST):
            _train(self.output, plan)
            self.stages.finish("training", self.inputs)

    def summed_up(self, prepared: Prepared, plan: Plan) -> list[str]:
        """Tune, list what to label, evaluate and report; the lines that say how good the model is."""
        path = self.records / "summary.txt"
        self.inputs |= {"unlabelled": digest_of(one.path for one in self.unlabelled if isinstance(one.path, Path))}
        if not self._is_done("summary", path, self.output / PAGE):
            config, device = read_config(self.output), self.wanted.device
            validation = _judged(open_validation(config).dataset, plan)
            precision = config.train.precision
            tuned = tune(self.output / BEST, validation, self.output, device=device, precision=precision)
            judged, lists = self._evaluated(load(self.output / BEST, device=device, precision=precision))
            data = Fingerprint.read(self.records / FINGERPRINT)
            examples = {facts.id: facts.segments for facts in data.classes}
            warnings = (*prepared.remarks, *data.near_duplicates.warnings())
            known = Known(tuned, examples, data.images, warnings, lists)
            lines = write_summary(self.output, judged, known)
            _write(path, "\n".join(lines).encode())
            self.stages.finish("summary", self.inputs)
        return path.read_text(encoding="utf-8").splitlines()

    def _evaluated(self, predictor: Predictor) -> tuple[Judged, list[Path]]:
        """The evaluated model, and the files with what to label next and with probable label errors."""
        search = LabelErrorSearch(predictor)

        def watch(sample: EvaluationSample, output: Output) -> None:
            search.add(annotation(sample.truth, sample.instances, sample.file_name), output)

        judged, lists = evaluate_best(predictor, self.output, watch), list[Path]()
        if self.wanted.unlabelled:
            with progress_line("choosing what to label", "images") as progress:
                lists.append(label_next(predictor, self.wanted.unlabelled, self.output, progress))
        lists.append(write_label_errors(self.output, [(judged.dataset, search)]))
        return judged, lists

    def _is_done(self, stage: str, *files: Path) -> bool:
        """Whether a stage is done; an error if it was done with other inputs and the training has begun since."""
        if self.stages.is_done(stage, self.inputs, *files):
            return True
        if stage not in ("training", "summary") and state_files(self.output):
            what = f"whose files of the {stage} are gone; put them back"
            if difference := self.stages.difference(stage, self.inputs):
                what = f"of other data or with other wishes ({difference}); repeat them"
            raise PanopticBlendError(f"{self.output}: holds a fit {what}, or choose another --output")
        return False

    def _require_unchanged_plan(self) -> None:
        """Raise an error if a person has changed the plan that is to be replaced."""
        path, earlier = self.output / YAML, Plan.read(self.records)
        if earlier and path.exists() and read_config(self.output) != parse_config(earlier.options, "plan"):
            why = self.stages.difference("plan", self.inputs) or "other data"
            raise PanopticBlendError(
                f"{path}: was changed by hand, and a new plan would replace it ({why}); move it away"
            )


_PREPARED = TypeAdapter(Prepared)


def _wishes(wanted: Wanted) -> dict[str, Any]:
    """What of the wishes the plan depends on, as values of JSON; the time does not count where iterations are given."""
    names = ("iterations", "weights", "backbone", "devices", "device")
    minutes = {} if wanted.iterations else {"minutes": wanted.minutes}
    return {**minutes, **{name: getattr(wanted, name) for name in names}, "overrides": list(wanted.overrides)}


def _data_config(prepared: Prepared) -> Config:
    """A config that names the data set; without semantic head if it has instances only."""
    semantic = [] if prepared.has_panoptic else ["model.semantic.enabled=false"]
    return Config().changed([*prepared.overrides(), *semantic])


def _datasets(config: Config) -> tuple[PanopticDataset, PanopticDataset]:
    return open_training(config).dataset, open_validation(config).dataset


def _planned(records: Path) -> Plan:
    plan = Plan.read(records)
    if plan is None:
        raise PanopticBlendError(f"{records}: has no plan; start with an empty --output")
    return plan


def _train(output: Path, plan: Plan) -> None:
    config = read_config(output)
    datasets = None
    if plan.judged is not None:
        training, validation = _datasets(config)
        datasets = training, _judged(validation, plan)
    train(config, output, resume=True, datasets=datasets, share_cores=True, planned_step=plan.step_seconds)


def _judged(validation: PanopticDataset, plan: Plan) -> PanopticDataset:
    """The validation pictures on which models are compared."""
    return validation if plan.judged is None else evenly(validation, plan.judged)


def _require_device(wanted: Wanted) -> None:
    """Raise an error unless training will run on the device that is wanted, in processes that it starts itself."""
    placement, present = find_placement(os.environ), default_device()
    if placement and placement.count > 1:
        raise PanopticBlendError(
            f"{placement.launcher} has started {placement.count} processes, but fit starts its own; run it plainly, "
            f"with --devices {placement.per_node}"
        )
    if (device := chosen_device(wanted.device)).type != present.type:
        remedy = "hide it, as with CUDA_VISIBLE_DEVICES=" if device.type == "cpu" else "leave out --device"
        raise PanopticBlendError(
            f"--device {wanted.device}: training takes the {present.type} of this machine; {remedy}"
        )


@contextmanager
def _interruptible(output: Path) -> Iterator[None]:
    """Say after Ctrl-C which model can be used already and how to go on."""
    try:
        yield
    except (KeyboardInterrupt, RunInterruptedError) as error:
        where = str(error).partition(";")[0] or "interrupted"
        model = next((output / name for name in (BEST, LAST) if (output / name).exists()), None)
        usable = f"{model} is a model that can be used; " if model else ""
        raise RunInterruptedError(f"{where}; {usable}continue with --resume auto") from None


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
