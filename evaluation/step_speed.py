"""One training step, from the forward pass to the optimizer, on generated targets; for ``evaluation.speed --train``."""

from __future__ import annotations

from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from evaluation.timing import Stage, stages
from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.precision import autocast
from panoptic_blend.runtime.processes import launch
from panoptic_blend.structures import Size, Target
from panoptic_blend.training.optimizer import build_optimizer
from panoptic_blend.training.step import add_gradients

INSTANCES = 8
"""Instances per picture, about the mean of COCO's train2017."""


class Step:
    """A model in training and a fixed batch, so that every call of ``gradients`` and ``update`` does the same work."""

    def __init__(self, name: str, precision: Precision, images: int, size: Size, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.config = load_config(name, [f"train.precision={precision}", f"train.device={device}"])
        self.fabric: Fabric = launch(self.config.train.model_copy(update={"devices": 1}))
        self.model: PanopticBlend = build_model(self.config).to(memory_format=torch.channels_last).train()
        self.forward = self.fabric.setup_module(self.model)
        self.optimizer: Any = self.fabric.setup_optimizers(build_optimizer(self.model, self.config.train))
        things, stuff = self.config.model.num_things, self.config.model.num_stuff
        self.images = [self._pinned(torch.randint(0, 256, (3, *size), dtype=torch.uint8)) for _ in range(images)]
        self.targets: list[Any] = [
            {key: self._pinned(value) for key, value in target.items()}
            for target in (generated_target(size, things, stuff, seed) for seed in range(images))
        ]

    def _pinned(self, values: Any) -> Tensor:
        """As the loader gives tensors to a GPU."""
        found: Tensor = values.pin_memory() if self.fabric.device.type == "cuda" else values
        return found

    def losses(self) -> dict[str, Tensor]:
        """Run only the forward pass."""
        with autocast(self.config.train.precision, self.fabric.device):
            found: dict[str, Tensor] = self.model(*self.fabric.to_device((self.images, self.targets)))
        return found

    def gradients(self) -> None:
        """Run forward and backward pass as in training, starting without gradients."""
        self.optimizer.zero_grad()
        add_gradients(self.fabric, self.forward, self.model, [(self.images, self.targets)])

    def update(self) -> None:
        """Run the optimizer on the present gradients."""
        self.optimizer.step()

    def whole(self) -> None:
        """Run a whole training step."""
        self.gradients()
        self.update()


def generated_target(size: tuple[int, int], things: int, stuff: int, seed: int) -> Target:
    """A target as the loader makes it: ``INSTANCES`` rectangles of several sizes in front of four bands of stuff."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    instance_map = torch.zeros(size, dtype=torch.uint8)
    boxes = []
    for number in range(1, INSTANCES + 1):
        side = 2 ** (number % 4 + 5)
        top, left = (int(torch.randint(0, max(end - side, 1), (), generator=generator)) for end in size)
        bottom, right = min(top + side, height), min(left + side, width)
        instance_map[top:bottom, left:right] = number
        boxes.append([left, top, right, bottom])
    labels = torch.randint(0, things, (INSTANCES,), generator=generator)
    semantic = (torch.arange(height) * 4 // height % stuff + 1).to(torch.uint8)[:, None].expand(size).clone()
    semantic[instance_map > 0] = 0
    table = torch.cat([torch.zeros(1, dtype=torch.int64), labels + 1]).to(torch.uint8)
    return Target(
        boxes=torch.tensor(boxes, dtype=torch.float32),
        labels=labels,
        semantic=semantic,
        thing_semantic=table[instance_map.long()],
        instance_map=instance_map,
    )


def measure_step(
    name: str, precision: Precision, images: int, size: Size, repeats: int, device: str = "cpu"
) -> list[Stage]:
    """The parts of a training step and, last, the whole step."""
    step = Step(name, precision, images, size, device)
    parts = {"forward": step.losses, "forward and backward": step.gradients, "update": step.update, "step": step.whole}
    forward, both, update, whole = stages(repeats, parts)
    backward = Stage("backward", both.seconds - forward.seconds, both.operations - forward.operations)
    return [forward, backward, update, whole]


def train_two_steps(name: str, precision: Precision, images: int, size: Size) -> None:
    """Build a model and train it for two steps, so that the optimizer has its whole state, to measure the memory."""
    step = Step(name, precision, images, size)
    step.whole()
    step.whole()
