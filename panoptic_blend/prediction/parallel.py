"""Predict many pictures or frames, with what the predictor leaves of the machine used for other steps or pictures."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from panoptic_blend.machine import overlapped
from panoptic_blend.prediction.protocol import PicturePredictor

T = TypeVar("T")
Predicted = TypeVar("Predicted")
Written = TypeVar("Written")


def in_parallel(
    predictor: PicturePredictor,
    items: Iterable[T],
    predict: Callable[[T], Predicted],
    write: Callable[[Predicted], Written],
) -> Generator[Written]:
    """Yield ``write(predict(item))`` for every item, in order.

    A predictor of several pictures ``at_once`` gets as many threads, each of which predicts an item and writes it. One
    of a single picture is called by the caller's thread, while one reads and as many as its ``queue_depth`` write: see
    `overlapped`.
    """
    if predictor.at_once == 1:
        depth = predictor.queue_depth
        return overlapped(items, predict, write, finishers=max(depth, 1), queue_depth=depth)
    count = predictor.at_once
    return overlapped(items, lambda item: item, lambda item: write(predict(item)), finishers=count, queue_depth=count)
