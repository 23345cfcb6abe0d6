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
from panoptic_blend.structures import Target
from panoptic_blend.training.loop import add_gradients
from panoptic_blend.training.optimizer import build_optimizer

INSTANCES = 8
"""Instances per picture, about the mean of COCO's train2017."""


class Step:
    """A model in training and a fixed batch, so that every call of ``gradients`` and ``update`` does the same work."""

    def __init__(self, name: str, precision: Precision, images: int, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        self.config = load_config(name, [f"train.precision={precision}"])
        self.fabric: Fabric = launch(self.config.train.model_copy(update={"devices": 1}))
        self.model: PanopticBlend = build_model(self.config).to(memory_format=torch.channels_last).train()
        self.forward = self.fabric.setup_module(self.model)
        self.optimizer: Any = self.fabric.setup_optimizers(build_optimizer(self.model, self.config.train))
        self.images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in range(images)]
        things, stuff = self.config.model.num_things, self.config.model.num_stuff
        self.targets = [generated_target(size, things, stuff, seed) for seed in range(images)]

    def losses(self) -> dict[str, Tensor]:
        """Run only the forward pass."""
        with autocast(self.config.train.precision, self.fabric.device):
            found: dict[str, Tensor] = self.model(self.images, self.targets)
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
    semantic = (torch.arange(height) * 4 // height % stuff + 1)[:, None].expand(size).clone()
    semantic[instance_map > 0] = 0
    return Target(
        boxes=torch.tensor(boxes, dtype=torch.float32), labels=labels, semantic=semantic, instance_map=instance_map
    )


def measure_step(name: str, precision: Precision, images: int, size: tuple[int, int], repeats: int) -> list[Stage]:
    """The parts of a training step and, last, the whole step."""
    step = Step(name, precision, images, size)
    parts = {"forward": step.losses, "forward and backward": step.gradients, "update": step.update, "step": step.whole}
    forward, both, update, whole = stages(repeats, parts)
    backward = Stage("backward", both.seconds - forward.seconds, both.operations - forward.operations)
    return [forward, backward, update, whole]


def train_two_steps(name: str, precision: Precision, images: int, size: tuple[int, int]) -> None:
    """Build a model and train it for two steps, so that the optimizer has its whole state, to measure the memory."""
    step = Step(name, precision, images, size)
    step.whole()
    step.whole()
