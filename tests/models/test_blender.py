from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from panoptic_blend.models.blender import TopLayer, assemble, blend, crop, level_counts

# --- the top layer ---------------------------------------------------------------------------------------------------

K, M = 2, 3
SIZES = [(4, 5), (2, 3), (1, 1)]


def top_layer_and_features(seed: int) -> tuple[TopLayer, list[Tensor]]:
    torch.manual_seed(seed)
    layer = TopLayer(in_channels=3, num_bases=K, attention_size=M).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)  # type: ignore[arg-type]
    return layer, [torch.randn(2, 3, h, w, dtype=torch.float64, requires_grad=True) for h, w in SIZES]


def dense(layer: TopLayer, features: list[Tensor], places: Tensor) -> Tensor:
    """Attentions at ``places``, out of the convolution of everything."""
    maps = [layer(feature) for feature in features]
    picked = [maps[level][image, :, row, column] for level, image, row, column in places.tolist()]
    return torch.stack(picked).view(-1, K, M, M)


every_place = [(i, n, r, c) for i, (h, w) in enumerate(SIZES) for n in (0, 1) for r in range(h) for c in range(w)]


def test_sparse_equals_dense_everywhere() -> None:
    layer, features = top_layer_and_features(0)
    places = torch.tensor(every_place)
    found = layer.at(features, places)
    torch.testing.assert_close(found, dense(layer, features, places))
    assert torch.equal(layer.at(features, places, level_counts(places, len(SIZES))), found)


def test_places_of_levels_are_counted() -> None:
    assert level_counts(torch.tensor([[2, 0, 0, 1], [0, 1, 0, 0], [2, 1, 1, 1]]), 4) == [1, 0, 2, 0]
    assert level_counts(torch.zeros(0, 4, dtype=torch.int64), 2) == [0, 0]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(every_place), min_size=1, max_size=12), st.integers(0, 2**16))
def test_sparse_equals_dense_in_any_order_and_in_the_gradient(
    given_places: list[tuple[int, int, int, int]], seed: int
) -> None:
    layer, features = top_layer_and_features(seed)
    places = torch.tensor(given_places, dtype=torch.int64).reshape(-1, 4)
    weights = torch.randn(len(places), K, M, M, dtype=torch.float64)
    sparse, expected = layer.at(features, places), dense(layer, features, places)
    torch.testing.assert_close(sparse, expected)
    inputs = [*layer.parameters(), *features]
    gradients = (torch.autograd.grad((x * weights).sum(), inputs, materialize_grads=True) for x in (sparse, expected))
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted)


def test_nowhere_still_has_a_gradient() -> None:
    layer, features = top_layer_and_features(0)
    found = layer.at(features, torch.zeros(0, 4, dtype=torch.int64))
    assert found.shape == (0, K, M, M)
    found.sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


def test_initial_values() -> None:
    torch.manual_seed(0)
    layer = TopLayer(64, 4, 14)
    assert layer.weight.shape == (784, 64, 3, 3)
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert abs(layer.weight.mean().item()) < 1e-4
    assert layer.bias is not None
    assert not layer.bias.any()


# --- eq. 1 -----------------------------------------------------------------------------------------------------------


def ramps(height: int, width: int) -> Tensor:
    """Two bases that hold the x and y of their own cells' centers, in pixels of an image at stride 4."""
    y, x = torch.meshgrid(torch.arange(height) * 4.0 + 2, torch.arange(width) * 4.0 + 2, indexing="ij")
    return torch.stack([x, y])[None]


def test_crop_reads_the_bases_at_cell_centers() -> None:
    """Bilinear reading of a ramp gives the place itself, so every cell says where it was sampled."""
    [found] = crop(ramps(16, 16), [torch.tensor([[8.0, 12.0, 24.0, 36.0]])], size=4)
    x, y = torch.tensor([10.0, 14.0, 18.0, 22.0]), torch.tensor([15.0, 21.0, 27.0, 33.0])
    torch.testing.assert_close(found[0], x.expand(4, 4))
    torch.testing.assert_close(found[1], y[:, None].expand(4, 4))


def test_crop_takes_one_sample_per_cell() -> None:
    """A large box read at a single place: the value of one pixel, not an average."""
    bases = torch.zeros(1, 1, 9, 9)
    bases[0, 0, 4, 4] = 1
    assert crop(bases, [torch.tensor([[0.0, 0.0, 36.0, 36.0]])], size=1).tolist() == [[[[1.0]]]]


def test_crop_is_zero_outside_the_bases() -> None:
    """Samples at x = -14, -10, -6, -2, 2, ...; up to one cell beyond the border RoIAlign reads the border."""
    [found] = crop(torch.ones(1, 1, 4, 4), [torch.tensor([[-16.0, 0.0, 16.0, 16.0]])], size=8)
    assert found[0].tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]] * 8


def test_crop_keeps_boxes_with_their_images_and_in_order() -> None:
    bases = torch.stack([torch.full((1, 8, 8), 1.0), torch.full((1, 8, 8), 2.0), torch.full((1, 8, 8), 3.0)])
    box = torch.tensor([[4.0, 4.0, 20.0, 20.0]])
    found = crop(bases, [box, torch.zeros(0, 4), box.repeat(2, 1)], size=2)
    assert found[:, 0, 0, 0].tolist() == [1.0, 3.0, 3.0]
    assert found.shape == (3, 1, 2, 2)


def test_crop_takes_boxes_of_another_precision() -> None:
    found = crop(ramps(8, 8).double(), [torch.tensor([[4.0, 4.0, 20.0, 20.0]])], size=2)
    assert found.dtype == torch.float64


def test_pooling_takes_the_largest_of_quantized_bins() -> None:
    """RoIPool: corners go to whole cells, 1 to 4 inclusive here, and each bin of 2 x 2 cells gives its largest."""
    bases = torch.arange(64.0).view(1, 1, 8, 8)
    found = crop(bases, [torch.tensor([[5.0, 5.0, 17.0, 17.0]])], size=2, pooling="pool")
    assert found.tolist() == [[[[18.0, 20.0], [34.0, 36.0]]]]


# --- eq. 2-4 ---------------------------------------------------------------------------------------------------------


def test_blend_by_hand() -> None:
    """Scores 0 and log 3 weigh two bases by 1/4 and 3/4."""
    crops = torch.tensor([[[[4.0, 8.0]], [[0.0, -8.0]]]])
    attentions = torch.tensor([0.0, 3.0]).clamp(min=1).log().view(1, 2, 1, 1)
    torch.testing.assert_close(blend(crops, attentions), torch.tensor([[[1.0, -4.0]]]))


@settings(deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**16))
def test_attention_of_one_number_is_a_weighted_sum(num_bases: int, number: int, seed: int) -> None:
    """M = 1: YOLACT's linear combination, with weights that sum to 1."""
    generator = torch.Generator().manual_seed(seed)
    crops = torch.randn(number, num_bases, 6, 6, generator=generator)
    attentions = torch.randn(number, num_bases, 1, 1, generator=generator)
    weights = attentions.exp() / attentions.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(blend(crops, attentions), (weights * crops).sum(dim=1))


@pytest.mark.parametrize("size", [1, 3, 4])
def test_one_hot_attention_picks_its_basis(size: int) -> None:
    torch.manual_seed(0)
    crops = torch.randn(3, 3, 12, 12)
    attentions = torch.full((3, 3, size, size), -1e4)
    for instance, basis in enumerate((2, 0, 1)):
        attentions[instance, basis] = 1e4
    assert torch.equal(blend(crops, attentions), crops[[0, 1, 2], [2, 0, 1]])


def test_attention_may_pick_another_basis_in_every_part() -> None:
    """Position-sensitive as FCIS: left half from the first basis, right half from the second."""
    crops = torch.stack([torch.full((8, 8), 5.0), torch.full((8, 8), 7.0)])[None]
    attentions = torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]]])[None]
    found = blend(crops, attentions)
    assert found[0, :, :4].tolist() == [[5.0] * 4] * 8
    assert found[0, :, 4:].tolist() == [[7.0] * 4] * 8


def test_attentions_are_interpolated_before_the_softmax() -> None:
    torch.manual_seed(0)
    crops, attentions = torch.randn(2, 4, 12, 12), torch.randn(2, 4, 3, 3)
    scores = F.interpolate(attentions, size=(12, 12), mode="bilinear", align_corners=False)
    expected = sum(scores.softmax(dim=1)[:, k] * crops[:, k] for k in range(4))
    torch.testing.assert_close(blend(crops, attentions), expected)
    after = F.interpolate(attentions.softmax(dim=1), size=(12, 12), mode="bilinear", align_corners=False)
    assert not torch.allclose(blend(crops, attentions), (after * crops).sum(dim=1))


def test_blend_of_nothing() -> None:
    assert blend(torch.zeros(0, 4, 8, 8), torch.zeros(0, 4, 2, 2)).shape == (0, 8, 8)


def test_nearest_interpolation_by_hand() -> None:
    crops = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    attentions = torch.tensor([[[0.0, 3.0]] * 2, [[0.0, 0.0]] * 2])[None]
    weight = torch.tensor(3.0).sigmoid().item()
    found = blend(crops, attentions, interpolation="nearest")
    torch.testing.assert_close(found[0], torch.tensor([[2.0, 2.0, 4 * weight, 4 * weight]] * 4))


@settings(deadline=None)
@given(st.floats(-80, 80), st.floats(-80, 80))
def test_a_single_basis_multiplies_probabilities(attention: float, score: float) -> None:
    """K = 1: ``sigmoid(a) * sigmoid(r)``, as a logit, finite with its gradient however sure both are."""
    a, r = (torch.tensor(x, dtype=torch.float64).view(1, 1, 1, 1).requires_grad_() for x in (attention, score))
    found = blend(r, a)
    torch.testing.assert_close(found.sigmoid(), (a.sigmoid() * r.sigmoid())[0], rtol=1e-9, atol=1e-30)
    found.sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


# --- FCIS ------------------------------------------------------------------------------------------------------------


def test_assemble_by_hand() -> None:
    """K = 4: each quarter of the mask is a quarter of its own basis."""
    crops = torch.arange(1.0, 5.0).view(1, 4, 1, 1).expand(1, 4, 4, 4)
    assert assemble(crops).tolist() == [[[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2]
    assert assemble(torch.zeros(0, 4, 8, 8)).shape == (0, 8, 8)


@settings(deadline=None)
@given(st.integers(2, 4), st.integers(1, 30), st.integers(0, 3))
def test_one_hot_attention_with_nearest_interpolation_is_the_assembler(side: int, size: int, number: int) -> None:
    """BlendMask, section 4.1: FCIS is the blender with fixed one-hot weights and nearest interpolation."""
    crops = torch.randn(number, side**2, size, size, generator=torch.Generator().manual_seed(size))
    attentions = torch.eye(side**2).log().view(1, side**2, side, side).expand(number, -1, -1, -1)
    assert torch.equal(assemble(crops), blend(crops, attentions, interpolation="nearest"))
