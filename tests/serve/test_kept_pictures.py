"""Pictures that are kept: fused again like the model itself, and no more of them than there is room for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served_model import CATEGORIES, StaticModel

from panoptic_blend.config.model_options import Fusion
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.serve.kept_pictures import KeptPicture, KeptPictures
from panoptic_blend.serve.limits import RefusalError
from panoptic_blend.structures import Cutout, Output, PanopticMap

FRACTIONS = st.floats(0, 1)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), FRACTIONS, FRACTIONS, st.integers(0, 60))
def test_fusing_again_is_what_the_model_does(seed: int, count: int, least: float, overlap: float, area: int) -> None:
    random = np.random.default_rng(seed)
    cutouts = [Cutout.from_mask(random.random((12, 15)) < random.random()) for _ in range(count)]
    scores, labels = random.random(count).astype(np.float32), random.integers(0, 2, count)
    semantic = random.integers(0, 3, (12, 15))
    nothing = PanopticMap(np.zeros((12, 15), np.int32), [])
    output = Output(np.zeros((count, 4)), scores, labels, cutouts, semantic, nothing, None, None)
    fusion = Fusion(confidence=least, overlap=overlap, stuff_area=area)
    expected = CATEGORIES.to_dataset(paint(cutouts, scores, labels, semantic, **fusion.model_dump()))
    found = KeptPicture.packed("a.jpg", b"", output).fused(fusion, CATEGORIES)
    assert np.array_equal(found.segment_ids, expected.segment_ids) and found.segments == expected.segments


def test_the_least_recently_used_picture_gives_way() -> None:
    output = StaticModel().output(np.zeros((40, 60, 3), np.uint8))
    one = KeptPicture.packed("a.jpg", bytes(1000), output)
    kept = KeptPictures(2 * one.bytes)
    first, second = kept.add(one), kept.add(one)
    kept.get(first)
    third = kept.add(one)
    assert len(kept) == 2 and kept.bytes == 2 * one.bytes
    assert kept.get(first) is kept.get(third)
    with pytest.raises(RefusalError, match="send it again"):
        kept.get(second)
    large = kept.add(KeptPicture.packed("b.jpg", bytes(10**5), output))  # one picture is always kept
    assert len(kept) == 1 and kept.get(large).name == "b.jpg"
    kept.drop(large)
    kept.drop(large)
    assert len(kept) == kept.bytes == 0
