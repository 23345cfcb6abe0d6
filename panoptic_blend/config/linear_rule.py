"""What a schedule stated for one batch size becomes for another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTS = ("iterations", "warmup_iterations", "checkpoint_every", "evaluate_every")


def rescaled(train: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The linear rule (Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.1).

    With k times the images in a step the rate is k times as high and everything comes after 1/k of the iterations.
    What ``changes`` states itself is meant as stated.

    Args:
        train: all training options, for their ``batch_size``.
        changes: those that are about to be changed, ``batch_size`` perhaps among them.

    Returns:
        The other options that change with the batch, and one line that says so; both empty if none does.
    """
    old, new = train["batch_size"], changes.get("batch_size", train["batch_size"])
    if not changes.get("rescale", train["rescale"]):
        return {}, ""
    try:
        factor = new / old
        scaled = {"lr": train["lr"] * factor, "steps": [round(step / factor) for step in train["steps"]]}
        scaled |= {name: max(round(train[name] / factor), min(train[name], 1)) for name in COUNTS}
    except (TypeError, ZeroDivisionError):  # what is no number will be refused by its name
        return {}, ""
    different = {k: v for k, v in scaled.items() if k not in changes and v != _plain(train[k])}
    listed = ", ".join(f"{key} {_plain(train[key])} -> {value}" for key, value in different.items())
    rule = "by the linear rule; train.rescale=false keeps them"
    return different, f"batch_size {old} -> {new}: {listed} {rule}" if different else ""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
