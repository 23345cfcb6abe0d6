"""Sizes, batches and lengths of a training that fit into a time, worked out by hand."""

from __future__ import annotations

from fingerprints import fingerprint, spread

from panoptic_blend.fit import budget


def test_half_of_the_things_have_three_cells_and_the_small_ones_one() -> None:
    # things of 80 pixels need 24: 480 * 24 / 80 = 144; those of 20 need 8: 480 * 8 / 20 = 192
    assert budget.wanted_side(fingerprint())[0] == 192
    assert budget.wanted_side(fingerprint(thing_size=spread(8)))[0] == 704  # at most 480 x 1.5 = 720
    assert budget.wanted_side(fingerprint(thing_size=None))[0] == 480


def test_too_little_time_gives_a_smaller_input() -> None:
    assert budget.side_in_time(512, 1600, is_trained=False) == 512
    assert budget.side_in_time(512, 400, is_trained=False) == 256  # a quarter of the steps: half the side
    assert budget.side_in_time(512, 800, is_trained=True) == 512
    assert budget.side_in_time(512, 1, is_trained=False) == 128
    assert budget.side_in_time(96, 1, is_trained=False) == 96


def test_a_gpu_takes_sixteen_pictures_each_and_few_pictures_make_small_batches() -> None:
    assert budget.batch_size(fingerprint(), 1, True) == 4
    assert budget.batch_size(fingerprint(), 2, False) == 32
    assert budget.batch_size(fingerprint(images=3), 1, True) == 3
    assert budget.batch_size(fingerprint(images=5), 2, False) == 4
    assert budget.batch_size(fingerprint(images=1), 2, False) == 2


def test_evaluations_on_the_way_take_a_twentieth_of_the_time_at_most() -> None:
    assert budget.evaluations(training=600, evaluation=10, iterations=1000) == 3
    assert budget.evaluations(training=600, evaluation=1, iterations=1000) == 8
    assert budget.evaluations(training=600, evaluation=1, iterations=149) == 1
    assert budget.evaluations(training=600, evaluation=100, iterations=1000) == 0


def test_what_follows_the_training_takes_a_time_for_every_picture() -> None:
    # 20 judged and tuned on, 100 judged and reported on, 10 predicted twice: 50 + 150 + 20 times a tenth of a second
    assert budget.after_seconds(20, 100, 10, 0.1) == 22 + 8


def test_a_step_is_measured_for_a_hundredth_of_the_time_but_not_long() -> None:
    assert budget.measured_steps(minutes=10, step_seconds=0.25) == 24
    assert budget.measured_steps(minutes=100, step_seconds=0.25) == 80
    assert budget.measured_steps(minutes=1, step_seconds=0.25) == 2
