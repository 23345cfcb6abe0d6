"""Repeat-factor sampling: images with rare classes come more often in an epoch.

Gupta, Dollár and Girshick, LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019, appendix B.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from panoptic_blend.data.protocol import ListedDataset, PanopticDataset
from panoptic_blend.structures import PanopticBlendError


def repeat_factors(dataset: PanopticDataset, threshold: float) -> npt.NDArray[np.float64]:
    """The `factors` of the images of a data set, by the lists of its annotation alone: things and stuff, no crowds.

    Raises:
        PanopticBlendError: the data set has no list of the classes in its images.
    """
    if not isinstance(dataset, ListedDataset):
        raise PanopticBlendError(
            f"{dataset.name}: lacks `class_counts` and `picture_path`, which list the classes in its images for "
            "data.repeat_threshold; add them, or set data.repeat_threshold=0"
        )
    return factors(dataset.class_counts(), threshold)


def factors(class_counts: npt.NDArray[np.int32], threshold: float) -> npt.NDArray[np.float64]:
    """How often each image (images,) comes in an epoch on average: once, or as its rarest class asks for.

    A class in the share f of the images asks for ``max(1, sqrt(threshold / f))``. ``class_counts`` are the numbers of
    segments of each class in each image (images, categories).
    """
    has_class = class_counts > 0
    shares = np.maximum(has_class.mean(axis=0), 1 / len(has_class))  # a class of no image divides by no zero
    of_classes = np.maximum(1.0, np.sqrt(threshold / shares))
    found: npt.NDArray[np.float64] = np.where(has_class, of_classes, 1.0).max(axis=1)
    return found


def rounded(means: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Whole numbers whose averages are ``means`` (images,): each is rounded up with the probability of its fraction."""
    whole = np.floor(means)
    return (whole + (rng.random(len(means)) < means - whole)).astype(np.intp)
