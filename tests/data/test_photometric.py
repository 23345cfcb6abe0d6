"""Colors, blur and JPEG artefacts: of pixels that stay where they are."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from panoptic_blend.data.photometric import change_colors, lower_quality
from panoptic_blend.data.transforms import Augmentation


class Fixed:
    """A generator whose numbers are written in the test."""

    def __init__(self, *numbers: float) -> None:
        self._numbers = list(numbers)

    def uniform(self, low: float, high: float, count: int | None = None) -> object:
        drawn = [self._numbers.pop(0) for _ in range(count or 1)]
        return np.array(drawn) if count else drawn[0]


def picture(*rows: list[list[int]]) -> Tensor:
    """A picture (3, H, W) uint8 from rows of RGB values."""
    return torch.tensor(rows, dtype=torch.uint8).permute(2, 0, 1)


def values(image: Tensor) -> list[list[list[int]]]:
    return image.permute(1, 2, 0).tolist()


def changed(image: Tensor, strength: float, *numbers: float) -> list[list[list[int]]]:
    return values(change_colors(image, strength, Fixed(*numbers)))  # type: ignore[arg-type]


def test_colors_by_hand() -> None:
    image = picture([[100, 100, 100], [200, 200, 200]])
    assert changed(image, 1, 0, 0, 0, 0) == values(image)
    assert changed(image, 1, -1, 0, 0, 0) == [[[50] * 3, [100] * 3]]  # half as bright
    assert changed(image, 1, 1, 0, 0, 0) == [[[150] * 3, [255] * 3]]
    assert changed(image, 0.4, 1, 0, 0, 0) == [[[120] * 3, [240] * 3]]
    assert changed(image, 1, 0, -1, 0, 0) == [[[125] * 3, [175] * 3]]  # half the distance from the mean of 150
    assert changed(image, 1, -1, -1, 0, 0) == [[[62] * 3, [88] * 3]]  # 50 and 100, at half the distance from 75
    assert changed(image, 1, 0, 0, 1, 1) == values(image)  # gray has no color
    red = picture([[200, 0, 0]])  # its luma is 59.8
    assert changed(red, 1, 0, 0, -1, 0) == [[[130, 30, 30]]]  # half the distance from its luma
    # 30 above gray is I, Q = 17.9, 6.3, which a turn by 36 degrees makes 10.7, 15.6: towards magenta
    assert changed(picture([[140, 110, 110]]), 1, 0, 0, 0, 1) == [[[139, 106, 134]]]


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 9), st.integers(1, 9))
def test_pixels_stay_where_they_are(seed: int, strength: float, height: int, width: int) -> None:
    """Each color becomes one color, in any layout of memory."""
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.integers(0, 256, (3, height, width), np.uint8))
    copies = torch.cat([image, image.flip(1)], dim=1)
    found = change_colors(copies, strength, np.random.default_rng(seed))
    assert found.shape == copies.shape and found.dtype == torch.uint8
    assert torch.equal(found[:, :height], found[:, height:].flip(1))
    interleaved = copies.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(change_colors(interleaved, strength, np.random.default_rng(seed)), found)


def test_degrading_blurs_or_compresses_and_keeps_colors() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 40, 30), np.uint8))
    edges = [float(lower_quality(noise, np.random.default_rng(seed)).float().diff().abs().mean()) for seed in range(20)]
    before = float(noise.float().diff().abs().mean())
    assert max(edges) < before and min(edges) < before / 5  # a blur of 2 pixels leaves a tenth
    for seed in range(8):
        flat = lower_quality(
            torch.tensor([200, 120, 40], dtype=torch.uint8)[:, None, None].expand(3, 9, 11), np.random.default_rng(seed)
        )
        assert flat.shape == (3, 9, 11) and flat.dtype == torch.uint8
        assert (flat.float() - torch.tensor([200, 120, 40])[:, None, None]).abs().max() < 12
        assert lower_quality(noise[:, :1, :1], np.random.default_rng(seed)).shape == (3, 1, 1)


def test_options_choose_what_is_altered() -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8))

    def share_altered(**options: float) -> float:
        augmentation = Augmentation([16], 16, **options)  # type: ignore[arg-type]
        results = [augmentation.alter(image, np.random.default_rng(seed)) for seed in range(100)]
        again = [augmentation.alter(image, np.random.default_rng(seed)) for seed in range(100)]
        assert all(map(torch.equal, results, again))
        return sum(not torch.equal(result, image) for result in results) / 100

    assert share_altered() == 0 and share_altered(color=0.3) == 1 and share_altered(degrade=1) == 1
    assert 0.2 < share_altered(degrade=0.3) < 0.4
