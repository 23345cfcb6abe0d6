"""The linear rule: rescale a training schedule to another batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTS = ("iterations", "warmup_iterations", "checkpoint_every", "evaluate_every")


def rescaled(train: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Rescale a schedule by the linear rule (Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.1).

    With k times the batch size, the learning rate is multiplied by k and every number of iterations is divided by k.
    Options that are set in ``changes`` are not rescaled.

    Args:
        train: all training options before the change.
        changes: the training options to be set; nothing is rescaled unless they change ``batch_size``.

    Returns:
        The rescaled options, and one line that describes them; both empty if nothing changes.
    """
    old, new = train["batch_size"], changes.get("batch_size", train["batch_size"])
    if not changes.get("rescale", train["rescale"]):
        return {}, ""
    try:
        factor = new / old
        scaled = {"lr": train["lr"] * factor, "steps": [round(step / factor) for step in train["steps"]]}
        scaled |= {name: max(round(train[name] / factor), min(train[name], 1)) for name in COUNTS}
    except (TypeError, ZeroDivisionError):  # a value that is not a number; the validation reports it
        return {}, ""
    different = {k: v for k, v in scaled.items() if k not in changes and v != _plain(train[k])}
    listed = ", ".join(f"{key} {_plain(train[key])} -> {value}" for key, value in different.items())
    rule = "by the linear rule; train.rescale=false keeps them"
    return different, f"batch_size {old} -> {new}: {listed} {rule}" if different else ""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
