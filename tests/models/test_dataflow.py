from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.dataflow import Reading, exclusive_readings


class Network(nn.Module):
    """A convolution and a norm, joined by ``join``; ``keep`` of its output leaves the network."""

    def __init__(self, join: str) -> None:
        super().__init__()
        self.join = join
        self.norm, self.conv = nn.BatchNorm2d(2), nn.Conv2d(3, 2, 1)
        self.other, self.nothing = nn.Conv2d(2, 2, 1), nn.Identity()

    def forward(self, images: Tensor) -> dict[str, Tensor | list[Tensor]]:
        x = self.conv(images)
        match self.join:
            case "plain":
                return {"c2": self.norm(x)}
            case "identity":
                return {"c2": self.norm(self.nothing(x))}
            case "activated":
                return {"c2": self.norm(F.relu(x))}
            case "activated in place":
                return {"c2": self.norm(F.relu_(x))}
            case "a view":
                return {"c2": self.norm(x.view_as(x))}
            case "read by another module":
                return {"c2": self.norm(x), "c3": self.other(x)}
            case "read later":
                normed = self.norm(x)
                return {"c2": torch.cat([normed, x])}
            case "leaves":
                return {"c2": self.norm(x), "c3": [x]}
            case "source twice":
                return {"c2": self.norm(x), "c3": self.conv(images)}
            case "reader twice":
                return {"c2": self.norm(x), "c3": self.norm(self.other(images[:, :2]))}
        raise AssertionError(self.join)


def found(network: nn.Module) -> list[Reading]:
    with torch.no_grad():
        images = torch.randn(1, 3, 4, 5)
        return exclusive_readings(
            network.eval(), images, (nn.Conv2d,), lambda module: isinstance(module, nn.BatchNorm2d)
        )


@pytest.mark.parametrize("join", ["plain", "identity"])
def test_a_module_that_reads_all_of_an_output_alone(join: str) -> None:
    assert found(Network(join)) == [Reading("conv", "norm", (1, 3, 4, 5))]


@pytest.mark.parametrize(
    "join",
    [
        "activated",
        "activated in place",
        "a view",
        "read by another module",
        "read later",
        "leaves",
        "source twice",
        "reader twice",
    ],
)
def test_outputs_that_something_else_reads_or_changes(join: str) -> None:
    assert found(Network(join)) == []


def test_a_module_with_two_places_is_left_alone() -> None:
    network = Network("plain")
    network.again = network.norm
    assert found(network) == []


def test_no_hook_stays() -> None:
    network = Network("plain")
    found(network)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
