"""The update of kernels, by a slow version of its formula, and in the semantic head."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.kernel_update import KernelUpdate, grouped
from panoptic_blend.models.semantic import SemanticHead


def changing(*widths: int) -> KernelUpdate:
    """An update in float64 that changes kernels from the start."""
    torch.manual_seed(0)
    update = KernelUpdate(*widths).double()
    nn.init.normal_(update.change.weight)
    nn.init.normal_(update.change.bias)
    return update


def test_group_features_are_means_over_the_mask() -> None:
    """Weights 1 and 1/2 at features (6, 0) and (3, 9): a sum of (7.5, 4.5) over an area of 1.5."""
    features = torch.tensor([[6.0, 3.0, 50.0], [0.0, 9.0, 50.0]])
    assert grouped(torch.tensor([[1.0, 0.5, 0.0]]), features).tolist() == [[5.0, 3.0]]


def test_group_features_of_no_mask_are_small() -> None:
    assert grouped(torch.tensor([[0.0, 0.25]]), torch.tensor([[6.0, 4.0]])).tolist() == [[1.0]]
    assert grouped(torch.zeros(2, 3), torch.ones(4, 3)).tolist() == [[0.0] * 4] * 2


def test_an_update_by_its_formula() -> None:
    update = changing(3, 5, 4)
    f, k = torch.randn(3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    a, d = update.of_features(f)[:4], update.of_features(f)[4:]
    b, g = update.of_kernels(k)[:4], update.of_kernels(k)[4:]
    gates = update.gates(a * b)
    u = gates[:4].sigmoid() * d + gates[4:].sigmoid() * g
    normed = (u - u.mean()) / (u.var(unbiased=False) + 1e-5).sqrt()
    expected = k + update.change.weight @ normed.relu() + update.change.bias
    torch.testing.assert_close(update(f, k), expected)
    assert not torch.equal(update(f, k), k)
    assert torch.equal(KernelUpdate(3, 5, 4).double()(f, k), k)


def test_every_kernel_is_updated_by_its_own_features() -> None:
    update = changing(3, 5, 4)
    f, k = torch.randn(2, 6, 3, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    found = update(f, k)  # kernels that all images share
    assert found.shape == (2, 6, 5)
    torch.testing.assert_close(found[1, 4], update(f[1, 4], k[4]))


def test_gradients() -> None:
    update = changing(2, 3, 4)
    pair = [torch.randn(2, width, dtype=torch.float64, requires_grad=True) for width in (2, 3)]
    assert torch.autograd.gradcheck(update, pair)


# --- the kernels of stuff --------------------------------------------------------------------------------------------


def head(rounds: int) -> SemanticHead:
    torch.manual_seed(0)
    made = SemanticHead(32, num_classes=4, channels=32, kernel_rounds=rounds).double()
    for update in made.updates:
        assert isinstance(update, KernelUpdate)
        nn.init.normal_(update.change.weight)
    return made


@pytest.mark.parametrize("rounds", [1, 2])
def test_classes_are_convolved_with_kernels_of_the_picture(rounds: int) -> None:
    """Of each picture by itself, as a convolution with one weight after the other."""
    semantic, trunk = head(rounds), torch.randn(2, 32, 3, 5, dtype=torch.float64)
    found = semantic.logits(trunk)
    for image, logits in zip(trunk, found, strict=True):
        weights: Tensor = semantic.predictor.weight.flatten(1)
        expected = semantic.predictor(image[None])
        for update in semantic.updates:
            shares = expected[0].softmax(dim=0).flatten(1)
            means = torch.stack([(share * image.flatten(1)).sum(1) / share.sum().clamp(min=1) for share in shares])
            weights = update(means, weights)
            expected = F.conv2d(image[None], weights[:, :, None, None], semantic.predictor.bias)
        torch.testing.assert_close(logits, expected[0])
    assert not torch.allclose(found, semantic.predictor(trunk))


def test_without_a_round_there_is_a_convolution_alone() -> None:
    semantic, trunk = head(0), torch.randn(1, 32, 1, 1, dtype=torch.float64)
    assert torch.equal(semantic.logits(trunk), semantic.predictor(trunk))
    assert not any(name.startswith("updates") for name in semantic.state_dict())


def test_gradient_of_classes() -> None:
    semantic = head(1)
    trunk = torch.randn(1, 32, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(semantic.logits, trunk)


def test_autocast_leaves_classes_in_float32() -> None:
    semantic = head(1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = semantic.logits(torch.randn(1, 32, 2, 2).bfloat16())
    assert found.dtype == torch.float32
