"""What fits into the time of a `fit`: the size of the network's input, the batch, and the length of the training.

What a thing of the data looks like to the network counts, not what it looks like to a camera: "cells" are those of P3,
the finest level on which things are found, 8 pixels of the network's input each.
"""

from __future__ import annotations

import math

from panoptic_blend.fit.fingerprint import Fingerprint

_CELL = 8

TRAINING_SHARE = 0.75
"""About the part of the time left after the plan that is spent on training, for the choice of a side."""
EVALUATION_SHARE = 0.08
"""The most of all time that one evaluation may take; there are three or more."""
FINDING = 1.5
"""A trained model takes about so many times as long for a picture as one that finds nothing in it."""
LEAST_JUDGED = 20
"""Validation pictures that are judged at least."""
LEAST_ITERATIONS = 20
_MARGIN = 0.98
"""The part of the time for training that is planned: steps took from 9 % less to 2 % more than measured."""


def wanted_side(data: Fingerprint) -> tuple[int, str]:
    """The short side of the network's input that the things of the data ask for, and why."""
    short = data.short_side.p50
    if data.thing_size is None:
        return _input_side(min(short, 512)), "no thing was measured; 512 pixels are enough for most stuff"
    middle, small = data.thing_size.p50, data.thing_size.p5
    wanted = short * max(3 * _CELL / middle, _CELL / small)
    side = _input_side(min(wanted, 1.5 * short, 800))
    return side, (
        f"half of the things are {middle:.0f} pixels or less in pictures of {short:.0f}, one in twenty {small:.0f}: "
        f"at {side} these are {middle * side / short / _CELL:.1f} and {small * side / short / _CELL:.1f} cells"
    )


def side_in_time(side: int, iterations: float, is_trained: bool) -> int:
    """The side at which enough steps fit into a time in which ``iterations`` fit at ``side``: a step takes its square.

    Below 1,600 steps from scratch, and 800 from trained weights, a model gains more from steps than from pixels.
    """
    enough = 800 if is_trained else 1600
    affordable = side * math.sqrt(min(1.0, iterations / enough))
    return max(min(side, 128), stride_multiple(affordable))


def batch_size(data: Fingerprint, devices: int, is_on_cpu: bool) -> int:
    """4 pictures per step, 16 on a GPU: more give too few steps in the time."""
    wanted = (4 if is_on_cpu else 16) * devices
    return max(devices, min(wanted, data.images // devices * devices))


def most_iterations(data: Fingerprint, batch: int) -> int:
    """The steps of 400 passes over the pictures, after which a model learns them by heart and nothing else."""
    return max(1000, 400 * data.images // batch)


def iterations_in(seconds: float, step_seconds: float) -> int:
    """The number of steps that fit into a time."""
    return max(0, int(_MARGIN * seconds / step_seconds))


def after_seconds(judged: int, validation: int, unlabelled: int, image_seconds: float) -> float:
    """The time of what follows the training, where judging a picture takes ``image_seconds``.

    The ``judged`` pictures are judged, predicted once more, and tuned on in half the time; all of the ``validation``
    split are judged, and reported on in half the time; the ``unlabelled`` ones are predicted twice.
    """
    return (2.5 * judged + 1.5 * validation + 2 * unlabelled) * image_seconds + 8


def measured_steps(minutes: float, step_seconds: float) -> int:
    """The number of steps from which the time of one is taken at last: a hundredth of all time, 20 seconds at most."""
    return int(min(20.0, 0.6 * minutes) / step_seconds)


def evaluations(training: float, evaluation: float, iterations: int) -> int:
    """Evaluations on the way: a twentieth of the training at most, eight at most, 50 steps or more between them."""
    return max(0, min(8, int(0.05 * training / max(evaluation, 1e-3)), iterations // 50 - 1))


def _input_side(side: float) -> int:
    return max(64, stride_multiple(side))


def stride_multiple(side: float) -> int:
    """The multiple of 32, the coarsest stride of the backbone, that is nearest to ``side``."""
    return max(32, 32 * round(side / 32))
