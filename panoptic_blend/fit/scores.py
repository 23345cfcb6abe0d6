"""How often a model is right at a score, and the calibration that makes the score this probability."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit

from panoptic_blend.config.model_options import Calibration
from panoptic_blend.formats.categories import Categories
from panoptic_blend.instances import FoundInstances
from panoptic_blend.metrics.calibration import expected_error, score_bins
from panoptic_blend.metrics.instance_columns import NOTHING, Bools, InstanceColumns, join, one_image
from panoptic_blend.metrics.instance_conversion import encode_cutouts, true_instances
from panoptic_blend.metrics.instance_matching import taken
from panoptic_blend.metrics.sparse import Floats
from panoptic_blend.models.calibration import calibrate
from panoptic_blend.structures import PanopticMap
from panoptic_blend.sweep.cache import FusionSample

ENOUGH = 20
"""The least number of right and of wrong detections from which a calibration is fitted: ten for each of its two
parameters (Peduzzi et al., A Simulation Study of the Number of Events per Variable in Logistic Regression, 1996)."""

BINS = 15
"""The number of bins of the expected calibration error (Guo et al., On Calibration of Modern Neural Networks, 2017)."""

_LEAST_SCORE = 1e-6
"""Scores of 0 and 1 have no logit."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The ``scores`` of D detections, and whether each ``is_right``; both (D,)."""

    scores: Floats
    is_right: Bools

    def __len__(self) -> int:
        return len(self.scores)

    def calibrated(self, calibration: Calibration) -> Outcomes:
        """The same detections with calibrated scores."""
        scores = calibrate(torch.from_numpy(self.scores), **calibration.model_dump())
        return replace(self, scores=scores.numpy())

    def are_enough(self) -> bool:
        """Whether a calibration can be fitted to so many."""
        right = int(self.is_right.sum())
        return min(right, len(self) - right) >= ENOUGH

    def log_loss(self) -> float:
        """The mean negative logarithm of the probability that the scores give to what is true; NaN over nothing."""
        scores = self.scores.clip(_LEAST_SCORE, 1 - _LEAST_SCORE)
        return _mean(-np.log(np.where(self.is_right, scores, 1 - scores)))

    def calibration_error(self) -> float:
        """Expected calibration error (Guo et al., equation 3); NaN over nothing."""
        return expected_error(list(score_bins(self.scores, self.is_right.astype(np.float64), BINS)))


def outcomes(samples: Iterable[FusionSample], categories: Categories) -> Outcomes:
    """All detections before fusion, and which of them are right: those that take a true instance as in COCO's AP.

    That needs its class and an IoU of masks of 0.5, and each instance is taken only once, by the highest score.
    Detections that take a crowd, and those that lie mostly on void, are left out: nobody knows what they are.
    """
    columns = join([NOTHING, *(_matchable(sample, categories) for sample in samples)])
    rows, truth = taken(columns, "mask")
    on_crowd = columns.truth_is_crowd[truth]
    is_right, is_known = np.zeros(len(columns.scores), dtype=np.bool_), np.ones(len(columns.scores), dtype=np.bool_)
    is_right[rows], is_known[rows[on_crowd]] = True, False
    return Outcomes(columns.scores[is_known], is_right[is_known])


def _matchable(sample: FusionSample, categories: Categories) -> InstanceColumns:
    """The things and the detections of one image, without those that lie mostly on void."""
    truth = sample.truth.paint(sample.truth.values.astype(np.int32))
    segments = [replace(segment, id=number) for number, segment in enumerate(sample.segments, start=1)]
    rows = [
        row
        for row, cutout in enumerate(sample.cutouts)
        if 2 * np.count_nonzero(truth[cutout.window][cutout.mask] == 0) <= np.count_nonzero(cutout.mask)
    ]
    found = FoundInstances(
        size=truth.shape,
        category_ids=np.array(categories.thing_ids, dtype=np.int64)[sample.labels[rows].astype(np.int64)],
        scores=sample.scores[rows].astype(np.float64),
        boxes=np.zeros((len(rows), 4)),
        masks=encode_cutouts([sample.cutouts[row] for row in rows], truth.shape),
    )
    return one_image(None, true_instances(PanopticMap(truth, segments), set(categories.thing_ids)), found)


def fit_calibration(found: Outcomes) -> Calibration:
    """The calibration with the least logistic loss; the detections must be `Outcomes.are_enough`.

    Temperature scaling (Guo et al., section 4.2) with a bias is the sigmoid of Platt (Probabilistic Outputs for Support
    Vector Machines, 1999). As in its section 2.2, the targets are not quite 0 and 1, so that few detections do not make
    the model all too sure.
    """
    right = int(found.is_right.sum())
    targets = np.where(found.is_right, (right + 1) / (right + 2), 1 / (len(found) - right + 2))
    logits = logit(found.scores.clip(_LEAST_SCORE, 1 - _LEAST_SCORE))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        z = parameters[0] * logits + parameters[1]
        rest = expit(z) - targets
        return float(np.mean(np.logaddexp(0, z) - targets * z)), np.array([np.mean(rest * logits), np.mean(rest)])

    best = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.02, 50), (-50, 50)])
    slope, bias = best.x.tolist()
    return Calibration(temperature=round(1 / slope, 4), bias=round(bias, 4))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else np.nan
