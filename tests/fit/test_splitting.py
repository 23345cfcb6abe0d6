"""A validation split of whole groups, in which every class has its share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.fit.splitting import hold_back


def test_every_class_has_its_share_whatever_the_seed() -> None:
    # 40 pictures of class 0, 40 of class 1, 20 of both
    presence = np.array([[True, False]] * 40 + [[False, True]] * 40 + [[True, True]] * 20)
    for seed in range(3):
        held = hold_back(np.arange(100), presence, 0.2, seed)
        assert presence[held].sum(axis=0).tolist() == [12, 12]
        assert 12 <= held.sum() <= 24
    assert (hold_back(np.arange(100), presence, 0.2, 0) != hold_back(np.arange(100), presence, 0.2, 1)).any()


def test_a_class_of_two_pictures_is_on_both_sides_and_a_class_of_one_is_learned() -> None:
    presence = np.zeros((50, 3), bool)
    presence[:, 0] = True
    presence[:2, 1] = presence[7, 2] = True
    for seed in range(5):
        held = hold_back(np.arange(50), presence, 0.1, seed)
        assert held[:2].sum() == 1 and not held[7]
        assert 4 <= held.sum() <= 6


def test_rare_classes_take_at_most_twice_the_share() -> None:
    presence = np.eye(50, dtype=bool).repeat(2, axis=0)  # 100 pictures of 50 classes
    held = hold_back(np.arange(100), presence, 0.15, 0)
    assert held.sum() == 30
    assert (presence[held].sum(axis=0) <= 1).all(), "no class is taken from the training split"


def test_two_pictures_are_one_for_each_side_and_one_group_is_not_divided() -> None:
    assert hold_back(np.arange(2), np.ones((2, 1), bool), 0.15, 0).sum() == 1
    assert hold_back(np.arange(2), np.zeros((2, 0), bool), 0.15, 0).sum() == 1
    with pytest.raises(ValueError, match="one group"):
        hold_back(np.zeros(3, int), np.ones((3, 1), bool), 0.15, 0)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=2, max_size=40), st.integers(0, 3))
def test_groups_stay_whole_and_both_sides_have_pictures(pictures: list[tuple[int, int]], seed: int) -> None:
    groups = np.unique([group for group, _ in pictures], return_inverse=True)[1]
    presence = np.array([[classes >> bit & 1 for bit in range(3)] for _, classes in pictures], bool)
    if groups.max() == 0:
        return
    held = hold_back(groups, presence, 0.2, seed)
    assert all(len(set(held[groups == group].tolist())) == 1 for group in range(groups.max() + 1))
    assert 0 < held.sum() < len(held)
    assert (held == hold_back(groups, presence, 0.2, seed)).all()
