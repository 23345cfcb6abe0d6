"""Five training steps in float64 on all processes of a run; the losses and the state go to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.sync_norm import synchronize
from panoptic_blend.runtime.processes import is_first, strategy, sum_over_ranks
from panoptic_blend.structures import Target
from panoptic_blend.training.optimizer import build_optimizer
from panoptic_blend.training.step import add_gradients

SIZE = 64
TINY = [
    "model.num_things=3",
    "model.num_stuff=2",
    "model.fpn.channels=32",
    "model.fcos.num_convs=1",
    "model.bottom.channels=32",
    "model.semantic.channels=32",
    "model.backbone.depth=14",
    "train.optimizer=sgd",
    "train.lr=0.01",
]


def config(*changes: str) -> Config:
    return load_config("demo/shapes_r18", [*TINY, *changes])


def target(boxes: list[list[float]]) -> Target:
    """A target with things in ``boxes``, a band of void, and two stuff classes."""
    semantic = torch.ones(SIZE, SIZE, dtype=torch.int64)
    semantic[:, 40:] = 2
    semantic[: 5 + 3 * len(boxes)] = 255
    masks = torch.zeros(len(boxes), SIZE, SIZE, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[int(top) : int(bottom), int(left) : int(right)] = True
        semantic[mask] = 0
    labels = torch.arange(len(boxes)) % 3
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": labels, "masks": masks, "semantic": semantic}


def batch() -> tuple[list[Tensor], list[Target]]:
    """Four images with 3, 1, 0 and 0 things."""
    things: list[list[list[float]]] = [[[4, 4, 30, 40], [20, 10, 60, 50], [8, 44, 20, 60]], [[10, 10, 50, 60]], [], []]
    generator = torch.Generator().manual_seed(5)
    images = [torch.randint(256, (3, SIZE, SIZE), generator=generator, dtype=torch.uint8) for _ in things]
    return images, [target(boxes) for boxes in things]


def five_steps(world_size: int, parts: int, *changes: str) -> dict[str, Any]:
    """The losses of every step and the final state, in every process."""
    options = config(*changes)
    shared = strategy(options.train, world_size, torch.device("cpu"))
    fabric = Fabric(accelerator="cpu", devices=world_size, strategy=shared, precision="32-true")
    fabric.launch()
    torch.manual_seed(0)
    model = build_model(options).double()  # before Fabric wraps it, so that every strategy trains in float64
    if options.train.sync_norm:
        synchronize(model, fabric.device)
    forward = fabric.setup_module(model)
    optimizer: Any = fabric.setup_optimizers(build_optimizer(model, options.train))
    images, targets = batch()
    own = slice(4 * fabric.global_rank // fabric.world_size, 4 * (fabric.global_rank + 1) // fabric.world_size)
    images, targets = images[own], targets[own]
    size = len(images) // parts
    pieces = [(images[i * size : (i + 1) * size], targets[i * size : (i + 1) * size]) for i in range(parts)]
    losses = []
    for _ in range(5):
        forward.train()
        terms = sum_over_ranks(fabric, [add_gradients(fabric, forward, model, pieces)])
        losses.append({name: value.item() for name, value in terms.items()})
        optimizer.step()
        optimizer.zero_grad()
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {"losses": losses, "state": dict(state)}


def main(out: Path, *arguments: Any) -> None:
    torch.set_default_dtype(torch.float64)  # Fabric converts the outputs of a model to the default type
    result = five_steps(*arguments)
    if is_first():
        torch.save(result, out)
