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
_MOST = 2
"""Rare classes may take this many times the share of pictures, and no more: a model learns from the others."""
Held = npt.NDArray[np.bool_]
"""Which pictures, or groups, are held back for validation."""


def hold_back(groups: Groups, presence: Presence, val_share: float, seed: int) -> Held:
    """Choose the pictures (n,) that are held back for validation, about ``val_share`` of them and at least one.

    Args:
        groups: the group of each picture; none is divided.
        presence: which classes each picture has. A class of two groups or more is on both sides, unless others of
            the same groups do not allow it or it would take twice the share.

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
    return _on_both_sides(held, counts, sizes, val_share)[groups]


def _stratified(counts: Counts, val_share: float, random: np.random.Generator) -> Held:
    """Give each group to the side that lacks most of the rarest class, until none is left."""
    shares = np.array([1 - val_share, val_share])
    wanted = shares[:, None] * counts.sum(axis=0)
    held, is_left = np.zeros(len(counts), np.bool_), np.ones(len(counts), np.bool_)
    order = random.permutation(len(counts))
    while is_left.any():
        left = (counts[is_left] > 0).sum(axis=0)
        rarest = int(np.argmin(np.where(left > 0, left, len(counts) + 1)))
        members = order[is_left[order] & (counts[order, rarest] > 0)]
        for group in members[np.argsort(-counts[members, rarest], kind="stable")]:
            side = max((0, 1), key=lambda side: (wanted[side, rarest], wanted[side, -1]))
            held[group], is_left[group] = side, False
            wanted[side] -= counts[group]
    return held


def _on_both_sides(held: Held, counts: Counts, sizes: Groups, val_share: float) -> Held:
    """Move groups so that classes, and pictures at all, are on both sides, then those back that are not needed.

    A moved group takes no class away from its side that other groups have too. Those come first that take away no class
    at all, then those that bring the most classes, then the smallest.
    """
    has = np.column_stack([counts > 0, np.ones(len(counts), np.bool_)])
    held, several = held.copy(), has.sum(axis=0) > 1

    def movable(side: bool) -> npt.NDArray[np.intp]:
        """The groups of a side that others of it can do without."""
        last = several & (has[held == side].sum(axis=0) == 1)
        return np.flatnonzero((held == side) & ~(has & last).any(axis=1))

    moved = 0
    for side in (False, True):
        is_stuck = np.zeros(has.shape[1], np.bool_)
        while (missing := several & ~has[held == side].any(axis=0) & ~is_stuck).any():
            column = int(np.argmax(missing))
            free = [group for group in movable(not side) if has[group, column]]
            if not free or (side and held.any() and sizes[held].sum() >= _MOST * val_share * sizes.sum()):
                is_stuck[column] = True
                continue
            ranks = [((has[group] & ~several).sum(), -(has[group] & missing).sum(), sizes[group]) for group in free]
            held[free[ranks.index(min(ranks))]] = side
            moved += side
    for _ in range(moved):
        spare = movable(True)
        if not len(spare) or sizes[held].sum() - sizes[spare].min() < val_share * sizes.sum():
            break
        ranks = [(-(has[group] & ~several).sum(), has[group].sum(), sizes[group]) for group in spare]
        held[spare[ranks.index(min(ranks))]] = False
    return held
