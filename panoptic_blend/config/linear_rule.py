"""Rescale a training schedule to another batch size, by the linear rule, or to another number of iterations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTS = ("iterations", "checkpoint_every", "evaluate_every")


def rescaled(train: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Rescale a schedule to the ``batch_size`` or the ``iterations`` that ``changes`` set.

    Batch size: by the linear rule (Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.1). With k times the
    batch size, the learning rate is multiplied by k and every number of iterations is divided by k. The decay of an
    average of the weights is raised to the power of k (Busbridge et al., How to Scale Your EMA, 2023, definition 1.2).

    Iterations: warm-up, steps and intervals keep their share of the run, unless ``changes`` set ``steps`` too.

    Options that are set in ``changes`` are not rescaled.

    Args:
        train: all training options before the change.
        changes: the training options to be set.

    Returns:
        The rescaled options, and one line for each cause that describes them; both empty if nothing changes.
    """
    old, length = train["batch_size"], train["iterations"]
    batch_size, iterations = changes.get("batch_size", old), changes.get("iterations", length)
    by_batch: dict[str, Any] = {}
    by_length: dict[str, Any] = {}
    try:
        if "iterations" in changes and "steps" not in changes and length > 0 and iterations > 0:
            by_length = _stretched(train, iterations, length)
        if changes.get("rescale", train["rescale"]) and batch_size != old:
            by_batch = {"lr": train["lr"] * (batch_size / old)}
            by_batch |= {"ema": train["ema"] ** (batch_size / old)} if train["ema"] else {}
            by_batch |= {} if by_length else _stretched(train, old, batch_size)
    except (TypeError, ValueError, ArithmeticError):  # a value that is no sensible number; the validation reports it
        return {}, []
    stated = "them" if train["schedule"] == "cosine" or changes.get("schedule") == "cosine" else "train.steps"
    scaled: dict[str, Any] = {}
    notes: list[str] = []
    for change, options, rule in (
        (f"batch_size {old} -> {batch_size}", by_batch, "by the linear rule; train.rescale=false keeps them"),
        (f"iterations {length} -> {iterations}", by_length, f"in proportion; state {stated} too to keep them"),
    ):
        new = {k: v for k, v in options.items() if k not in changes and v != _plain(train[k])}
        scaled |= new
        listed = ", ".join(f"{key} {_plain(train[key])} -> {value}" for key, value in new.items())
        notes += [f"{change}: {listed} {rule}"] if new else []
    return scaled, notes


def _stretched(train: Mapping[str, Any], numerator: Any, denominator: Any) -> dict[str, Any]:
    """All counts of iterations times ``numerator / denominator``; a warm-up that ended before a step still does."""
    steps = [-(-step * numerator // denominator) for step in train["steps"]]
    warmup = train["warmup_iterations"] * numerator // denominator
    counts = {name: max(round(train[name] * numerator / denominator), min(train[name], 1)) for name in COUNTS}
    return {"steps": steps, **counts, "warmup_iterations": warmup}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
