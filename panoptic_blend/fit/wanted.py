"""What the user of `fit` asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """The arguments of a fit, which decide together with the data and the machine.

    ``minutes`` is the time for everything; where ``iterations`` is given, it counts instead. ``weights`` is a name, a
    file, ``imagenet`` or ``none``, and None means the best that can be had. ``backbone`` is a name such as ``resnet18``
    or one of timm's. ``overrides`` are ``key=value`` and win over every rule. ``unlabelled`` is a folder of pictures
    from which those to label next are chosen, and ``stuff`` are labels that are stuff in a folder that does not say.
    """

    minutes: float = 30
    iterations: int | None = None
    weights: str | None = None
    backbone: str | None = None
    overrides: tuple[str, ...] = ()
    devices: int = 1
    device: str = "auto"
    unlabelled: Path | None = None
    stuff: tuple[str, ...] = ()
