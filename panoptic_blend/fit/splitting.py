"""Choose a validation split: whole groups of pictures, in which every class has its share.

Iterative stratification (Sechidis et al., On the Stratification of Multi-Label Data, 2011, algorithm 1), applied to
groups in place of single pictures, and followed by moves of groups for classes that are on one side only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from panoptic_blend.fit.grouping import Groups, Presence

Counts = npt.NDArray[np.int64]
"""(groups, classes): in how many pictures of each group each class is."""
Held = npt.NDArray[np.bool_]
"""Which pictures, or groups, are held back for validation."""


def hold_back(groups: Groups, presence: Presence, val_share: float, seed: int) -> Held:
    """Choose the pictures (n,) that are held back for validation, about ``val_share`` of them and at least one.

    Args:
        groups: the group of each picture; none is divided.
        presence: which classes each picture has. A class of two groups or more is on both sides, unless other classes
            of the same groups do not allow it.

    Raises:
        ValueError: there are fewer than two groups.
    """
    if groups.max(initial=0) < 1:
        raise ValueError("one group cannot be divided")
    sizes = np.bincount(groups)
    counts = np.zeros((len(sizes), presence.shape[1]), np.int64)
    np.add.at(counts, groups, presence)
    # a last column of all pictures: those without a class have their share as well
    held = _stratified(np.column_stack([counts, sizes]), val_share, np.random.default_rng(seed))
    return _on_both_sides(held, counts, sizes)[groups]


def _stratified(counts: Counts, val_share: float, random: np.random.Generator) -> Held:
    """Give each group to the side that lacks most of the rarest class, until none is left."""
    shares = np.array([1 - val_share, val_share])
    wanted = shares[:, None] * counts.sum(axis=0)
    held, is_left = np.zeros(len(counts), np.bool_), np.ones(len(counts), np.bool_)
    order = random.permutation(len(counts))
    while is_left.any():
        left = (counts[is_left] > 0).sum(axis=0)
        rarest = int(np.argmin(np.where(left > 0, left, len(counts) + 1)))
        members = [group for group in order if is_left[group] and counts[group, rarest]]
        for group in sorted(members, key=lambda group: -counts[group, rarest]):
            side = max((0, 1), key=lambda side: (wanted[side, rarest], wanted[side, -1]))
            held[group], is_left[group] = side, False
            wanted[side] -= counts[group]
    return held


def _on_both_sides(held: Held, counts: Counts, sizes: Groups) -> Held:
    """Move the smallest groups that bring a class, or pictures at all, to a side without them and take none away."""
    has = np.column_stack([counts > 0, np.ones(len(counts), np.bool_)])
    held = held.copy()
    for column in np.argsort(has.sum(axis=0), kind="stable"):
        members = has[:, column]
        for side in (False, True):
            if members.sum() < 2 or (members & (held == side)).any():
                continue
            others = has[held != side].sum(axis=0)
            free = [
                group
                for group in np.flatnonzero(members)
                if not (has[group] & (others == 1) & (has.sum(axis=0) > 1)).any()
            ]
            if free:
                held[min(free, key=lambda group: sizes[group])] = side
    return held
