"""Train in the loop of torchvision's detection tutorial: one line makes another model.

python examples/torchvision_loop.py
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from panoptic_blend import build_model, load_config


def example(number: int) -> tuple[Tensor, dict[str, Tensor]]:
    """An image with one square, and its target as torchvision wants it: labels from 1, masks uint8."""
    left, top = 8 * (number % 6), 4 * (number % 4)
    masks = torch.zeros(1, 64, 96, dtype=torch.uint8)
    masks[:, top : top + 30, left : left + 40] = 1
    target = {
        "boxes": torch.tensor([[left, top, left + 40, top + 30]], dtype=torch.float32),
        "labels": torch.tensor([1 + number % 2]),
        "masks": masks,
        "image_id": torch.tensor(number),
        "iscrowd": torch.zeros(1, dtype=torch.int64),
    }
    return 0.2 + 0.6 * masks.expand(3, -1, -1), target


def main() -> None:
    """Train for a few steps and print the loss of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    # model = torchvision.models.detection.maskrcnn_resnet50_fpn(num_classes=3)  # background and two classes
    config = load_config("demo/shapes_r18", ["model.num_things=2", "model.semantic.enabled=false"])
    model = build_model(config, labels_from=1)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.005, momentum=0.9)
    model.train()
    for step in range(steps):
        images, targets = zip(*(example(2 * step + i) for i in range(2)), strict=True)
        losses = sum(model(images, targets).values())
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        print(f"step {step}: loss {losses.item():.3f}")
    model.eval()
    [found] = model([example(0)[0]])
    print(f"{len(found.boxes)} instances, with labels {sorted(set(found.labels.tolist()))}")


if __name__ == "__main__":
    main()
