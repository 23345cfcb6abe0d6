"""Run lengths of maps, by WebAssembly and by numpy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend import runs, webassembly
from panoptic_blend.runs import Runs, SharedValues

Pixels = npt.NDArray[np.integer]


def by_both(first: Pixels, second: Pixels) -> list[tuple[Runs, Runs, SharedValues]]:
    """The runs of two maps and their pairs of values, as WebAssembly and as numpy find them."""
    found = []
    for large in (1, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "_LARGE", large)
            encoded = Runs.from_pixels(first), Runs.from_pixels(second)
            found.append((*encoded, encoded[0].shared(encoded[1])))
    return found


def assert_right(first: Pixels, second: Pixels) -> None:
    """Both ways find the same runs, which are maximal within rows, and the pairs of values of all pixels."""
    width, expected = first.shape[1], Counter(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    for *encoded, shared in by_both(first, second):
        for each, pixels in zip(encoded, (first, second), strict=True):
            assert np.array_equal(each.paint(each.values), pixels) and each.values.dtype == pixels.dtype
            flat, starts = pixels.ravel().tolist(), each.starts.tolist()
            assert starts == [i for i in range(len(flat)) if i % width == 0 or flat[i] != flat[i - 1]]
        pairs = list(zip(*(column.tolist() for column in shared[:2]), strict=True))
        assert dict(zip(pairs, shared.pixels.tolist(), strict=True)) == expected and len(pairs) == len(expected)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=12, max_size=12))
def test_overlaid_runs_are_the_pairs_of_all_pixels(pixels: list[tuple[int, int]]) -> None:
    both = np.array(pixels, dtype=np.int32).reshape(3, 4, 2)
    assert_right(both[..., 0], both[..., 1])


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64, np.uint8])
@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 16), (3, 17), (5, 65), (40, 83)])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_maps_of_any_size_and_kind(kind: type[np.integer], shape: tuple[int, int], share: float) -> None:
    """Rows that end within a vector, values to both ends of the type, and ``share`` of the pixels changed."""
    generator, limits = np.random.default_rng(0), np.iinfo(kind)
    values = np.array([limits.min, limits.max, 0, 7, 100], dtype=kind)
    first, second = (generator.choice(values, shape) for _ in range(2))
    keep = generator.random(shape) >= share
    assert_right(np.where(keep, values[3], first), np.where(keep, values[4], second))


def test_every_pixel_may_be_a_segment() -> None:
    first = np.arange(90_000, dtype=np.int32).reshape(300, 300)
    (*_, shared), (*_, other) = by_both(first, first[::-1].copy())
    assert shared.pixels.tolist() == other.pixels.tolist() == [1] * 90_000
    assert sorted(shared.own.tolist()) == other.own.tolist() == list(range(90_000))


def test_large_maps_are_encoded_by_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def watched(package: str, name: str, function: str, *others: object) -> None:
        called.append(function)

    monkeypatch.setattr(webassembly, "run", watched)  # as where it cannot run
    pixels = np.tile(np.arange(200, dtype=np.int32), (100, 1))
    encoded = Runs.from_pixels(pixels)
    assert encoded.shared(encoded).pixels.tolist() == [100] * 200
    assert called == ["encode", "shared"]
    Runs.from_pixels(pixels[:10])
    Runs.from_pixels(pixels.astype(np.int64))
    assert called == ["encode", "shared"]
