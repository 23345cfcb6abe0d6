"""Random sets of true and found instances, as the tests of AP need them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from panoptic_blend.instances import FoundInstances, TrueInstances
from panoptic_blend.metrics.instance_conversion import encode
from panoptic_blend.structures import Category

SIZE = 60, 130
CATEGORIES = [Category(id, str(id), is_thing=True) for id in (3, 7, 8, 90)]
Images = dict[int, tuple[TrueInstances, FoundInstances]]


def boxes(generator: np.random.Generator, count: int, spread: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Boxes of up to 30 x 20 pixels, whose corners are ``spread`` over that many columns and rows."""
    corners = generator.integers(0, spread, (count, 2))
    return np.concatenate([corners, generator.integers(2, (31, 21), (count, 2))], axis=1).astype(np.float64)


def masks(generator: np.random.Generator, boxes: npt.NDArray[np.float64]) -> list[bytes]:
    """Rectangles with a few holes; one in ten is empty."""
    found = []
    for x, y, width, height in boxes.astype(int).tolist():
        mask = np.zeros(SIZE, dtype=np.bool_)
        mask[y : y + height, x : x + width] = generator.random() > 0.1
        found.append(encode(mask & (generator.random(SIZE) > 0.1)))
    return found


def random_set(seed: int, images: int = 12, spread: tuple[int, int] = (100, 40)) -> Images:
    """Crowds, duplicates, equal scores, areas of another size than the mask, more than 100 detections, empty images.

    With little ``spread``, most detections overlap many instances by half and more.
    """
    generator, found = np.random.default_rng(seed), {}
    for image in generator.permutation(images).tolist():
        true_count = int(generator.integers(0, 7))
        true_boxes = boxes(generator, true_count, spread)
        ids = generator.choice([3, 7, 8], true_count)
        truth = TrueInstances(
            SIZE,
            ids,
            true_boxes,
            masks(generator, true_boxes),
            generator.choice([4.0, 32.0**2, 1500.0, 96.0**2, 1e4, 2e10], true_count),
            generator.random(true_count) < 0.2,
        )
        count = int(generator.choice([0, 5, 130])) if image else 300
        near = generator.integers(0, true_count + 1, count)  # a true instance, or another place
        spots = np.concatenate([true_boxes, boxes(generator, 1, spread)])[near]
        spots[:, :2] += generator.integers(0, 4, (count, 2))
        guesses = generator.choice([3, 8, 90], count)
        detected = FoundInstances(
            SIZE,
            np.where(generator.random(count) < 0.8, np.append(ids, 90)[near], guesses),
            generator.integers(0, 12, count) / 12,
            spots * generator.choice([1.0, 1.0, 1.0, 6.0], (count, 1)),
            masks(generator, spots),
        )
        found[image] = truth, detected
    return found
