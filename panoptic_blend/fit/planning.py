"""Make the plan of a fit: measure candidates, split the time, and let the rules choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from panoptic_blend.config.experiment import Config, parse_config
from panoptic_blend.config.model_options import Model
from panoptic_blend.config.yaml_text import parse_yaml
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.fit import budget, rules
from panoptic_blend.fit.fingerprint import Fingerprint
from panoptic_blend.fit.intake import Prepared
from panoptic_blend.fit.machine import Machine, StepTime, step_seconds
from panoptic_blend.fit.plan import Plan, TimeSplit, flat, in_words, nested
from panoptic_blend.fit.rules import Choice, Facts
from panoptic_blend.fit.start import Start
from panoptic_blend.fit.wanted import Wanted
from panoptic_blend.runtime.precision import chosen_device, resolve
from panoptic_blend.structures import PanopticBlendError

_PROBE = 128
"""The side at which a step is measured first: it takes no machine long."""
_MOST_PROBES = 4
_STEPS = 3
"""Measured steps of a candidate; those of the plan's choice are measured again, see `measured_steps`."""

Measure = Callable[[Config, PanopticDataset, str, int], StepTime]


@dataclass(frozen=True)
class Case:
    """What a plan is made for: the data and their fingerprint, the machine, the start of the training, and the wishes.

    ``training`` is the training split, and ``unlabelled`` the number of pictures from which to choose those to label.
    """

    prepared: Prepared
    training: PanopticDataset
    data: Fingerprint
    machine: Machine
    start: Start
    wanted: Wanted
    unlabelled: int = 0

    @property
    def given(self) -> dict[str, Any]:
        """The options that the overrides state."""
        return stated(self.wanted.overrides)

    @property
    def iterations(self) -> int | None:
        """The number of iterations that is wanted; None where the time decides."""
        return self.given.get("train.iterations", self.wanted.iterations)


def stated(overrides: Sequence[str]) -> dict[str, Any]:
    """The options that ``key=value`` overrides state, by their full names.

    Raises:
        PanopticBlendError: one of them is malformed, unknown or invalid.
    """
    Config().changed(overrides)
    found: dict[str, Any] = {}
    for item in overrides:
        key, _, text = item.partition("=")
        found |= flat({key: parse_yaml(text, item)})
    return found


def make_plan(case: Case, spent: Callable[[], float], measure: Measure = step_seconds) -> Plan:
    """Choose every option and the number of iterations.

    Args:
        spent: the seconds of the time given that have passed.
        measure: takes the time of a step, as `step_seconds`.

    Raises:
        PanopticBlendError: the time is too short to train at all, or an override is invalid.
    """
    side, why = budget.wanted_side(case.data)
    stated_side = case.given.get("test.short_side")
    facts = _first_facts(case, stated_side or side)
    if case.iterations is not None:
        facts = _timed(case, facts, measure, 1)
    else:
        facts = _in_time(case, facts, spent, measure)
        facts = _fastest(case, facts, measure)
        if (steps := budget.measured_steps(case.wanted.minutes, facts.step_seconds)) > _STEPS:
            facts = _timed(case, facts, measure, steps)
    if facts.side != side:
        why += f"; {facts.side}, as the command line says" if stated_side else f"; there is time for {facts.side}"
    facts, time, judged = _split(case, facts, spent())
    head = (*_head(case), f"input: {why}")
    return Plan(tuple(_choices(case, facts)), head, time, facts.step_seconds, judged)


def _first_facts(case: Case, side: int) -> Facts:
    given, devices = case.given, case.given.get("train.devices", case.wanted.devices)
    auto = resolve("auto", chosen_device(case.wanted.device))
    return Facts(
        data=case.data,
        machine=case.machine,
        has_panoptic=case.prepared.has_panoptic,
        is_trained=case.start.is_trained,
        network=case.start.model,
        devices=devices,
        side=side,
        batch=given.get("train.batch_size", budget.batch_size(case.data, devices, case.machine.device == "cpu")),
        precision=given.get("train.precision", auto),
        iterations=case.iterations or 1,
        optimizer=given.get("train.optimizer", Facts.optimizer),
    )


def _timed(case: Case, facts: Facts, measure: Measure, steps: int = _STEPS) -> Facts:
    """The facts with the time of a step; in parts of a batch if a whole one does not fit into the memory."""
    while True:
        config = parse_config(nested({choice.option: choice.value for choice in _choices(case, facts)}), "plan")
        try:
            time = measure(config, case.training, facts.precision, steps)
        except torch.OutOfMemoryError:
            time = None
        part = facts.images_per_step or facts.batch // facts.devices
        if time is not None or part == 1:
            break
        facts = replace(facts, images_per_step=part // 2)
    if time is None:
        raise PanopticBlendError(
            f"a single picture of {facts.side} pixels does not fit into the memory; set "
            f"test.short_side={facts.side // 2}"
        )
    loading = time.load_seconds / config.data.workers if config.data.workers else 0.0
    seconds = max(time.seconds, loading) if config.data.workers else time.seconds + time.load_seconds
    judge_seconds = budget.FINDING * time.judge_seconds
    return replace(facts, step_seconds=seconds, load_seconds=time.load_seconds, judge_seconds=judge_seconds)


def _in_time(case: Case, facts: Facts, spent: Callable[[], float], measure: Measure) -> Facts:
    """The facts with a side at which enough steps fit into the time, and with the time of a step there."""
    if "test.short_side" in case.given:
        return _timed(case, facts, measure)
    wanted = facts.side
    facts = _timed(case, replace(facts, side=min(wanted, _PROBE)), measure)
    for _ in range(_MOST_PROBES):
        seconds = facts.step_seconds * (wanted / facts.side) ** 2
        left = budget.TRAINING_SHARE * max(0.0, 60 * case.wanted.minutes - spent())
        side = budget.side_in_time(wanted, left / seconds, facts.is_trained)
        if abs(side - facts.side) <= side / 8:
            break
        facts = _timed(case, replace(facts, side=side), measure)
    return facts


def _fastest(case: Case, facts: Facts, measure: Measure) -> Facts:
    """The facts with the faster of the two precisions that the device may have units for."""
    if facts.precision == "32-true" or "train.precision" in case.given:
        return facts
    other = _timed(case, replace(facts, precision="32-true"), measure, steps=2)
    best, slower = (other, facts) if other.step_seconds < facts.step_seconds else (facts, other)
    return replace(best, slower_seconds=slower.step_seconds)


def _split(case: Case, facts: Facts, spent: float) -> tuple[Facts, TimeSplit, int | None]:
    """The facts with numbers of iterations and evaluations, the split of the time, and how many pictures are judged.

    Raises:
        PanopticBlendError: there is no time to train.
    """
    image_seconds = facts.judge_seconds
    validation, minutes = case.data.validation_images, case.wanted.minutes
    judged, iterations = validation, case.iterations or 0
    if case.iterations is None:
        judged = min(validation, max(budget.LEAST_JUDGED, int(budget.EVALUATION_SHARE * 60 * minutes / image_seconds)))
    evaluation = judged * image_seconds
    after = budget.after_seconds(judged, validation, case.unlabelled, image_seconds)
    if case.iterations is None:
        left = 60 * minutes - spent - after
        number = budget.evaluations(left, evaluation, int(left / facts.step_seconds))
        iterations = budget.iterations_in(left - number * evaluation, facts.step_seconds)
        iterations = min(iterations, budget.most_iterations(case.data, facts.batch))
        if iterations < budget.LEAST_ITERATIONS:
            needed = spent + after + 1.1 * budget.LEAST_ITERATIONS * facts.step_seconds
            raise PanopticBlendError(
                f"--minutes {minutes:g} are too few: the plan took {in_words(spent)}, a step takes "
                f"{facts.step_seconds:.2f} s and what follows the training {in_words(after)}; give "
                f"{math.ceil(needed / 60)} or more"
            )
    number = budget.evaluations(iterations * facts.step_seconds, evaluation, iterations)
    facts = replace(facts, iterations=iterations, evaluations=number)
    time = TimeSplit(spent, iterations * facts.step_seconds, number * evaluation, after)
    return facts, time, None if judged == validation else judged


def _head(case: Case) -> list[str]:
    data, machine = case.data, case.machine
    things = sum(c.is_thing for c in data.classes)
    name = f"{machine.name}, " if machine.name else ""
    return [
        f"data: {data.images} pictures to learn from and {data.validation_images} to judge by, {things} classes of "
        f"things and {len(data.classes) - things} of stuff, {data.things_per_image.mean:.1f} things in a picture",
        f"machine: {machine.device}, {name}{machine.cores:.1f} free cores, "
        f"{machine.memory / 1e9:.1f} GB of free memory",
        f"start: {case.start.reason}",
        *(f"warning: {line}" for line in data.near_duplicates.warnings()),
    ]


def _choices(case: Case, facts: Facts) -> list[Choice]:
    """All choices, ordered as a config: those of the start, of the data and of the rules, and then the overrides."""
    found = [*_kept(case.start.model), *(Choice(*item, case.start.reason) for item in case.start.options.items())]
    for item in case.prepared.overrides():
        name, _, value = item.partition("=")
        found.append(Choice(name, value, "the data set"))
    found += rules.choose(facts)
    by_name = {choice.option: choice for choice in found}
    for name, value in case.given.items():
        rule = by_name.get(name)
        instead = f", instead of {rule.value} ({rule.reason})" if rule and rule.value != value else ""
        by_name[name] = Choice(name, value, f"as the command line says{instead}")
    sections = list(Config.model_fields)
    return sorted(by_name.values(), key=lambda choice: sections.index(choice.option.partition(".")[0]))


def _kept(model: Model | None) -> list[Choice]:
    """The network that weights of a whole model were trained in, but for its classes and its fusion."""
    if model is None:
        return []
    default = flat(Model().model_dump(mode="json"))
    options = flat(model.model_dump(mode="json", exclude={"num_things", "num_stuff", "fusion"}))
    different = {
        name: value for name, value in options.items() if value != default[name] and name != "semantic.enabled"
    }
    return [Choice(f"model.{name}", value, "the network of the weights") for name, value in different.items()]
