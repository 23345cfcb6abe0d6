"""Blend bases in a way of your own: a merge is one function, from crops of the bases and attentions to mask logits.

python examples/own_merge.py
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from panoptic_blend import build_model, load_config
from panoptic_blend.models.blendmask import BlendMask


def sharpened(crops: Tensor, attentions: Tensor, temperature: float) -> Tensor:
    """As `blender.blend` (BlendMask, eq. 2-4), but the softmax over the bases is made harder by a ``temperature``.

    Args:
        crops: (D, K, R, R) bases cropped to the boxes; ``attentions`` (D, K, M, M).

    Returns:
        Mask logits (D, R, R).
    """
    resized = F.interpolate(attentions, size=crops.shape[-2:], mode="bilinear", align_corners=False)
    return ((resized / temperature).softmax(dim=1) * crops).sum(dim=1)


def main() -> None:
    """Train one step with another merge than the config's, and say which parameters its gradient reached.

    In the library the merge would be a name in ``config/model_options.py`` (`Blender.merge`) and a line in
    ``models/build.py``; nothing else knows which merge a model has.
    """
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.manual_seed(0)
    model = build_model(load_config("demo/shapes_r18", ["model.num_things=2", "model.num_stuff=1"]))
    assert isinstance(model.instances, BlendMask)
    model.instances.merge = partial(sharpened, temperature=0.5)

    mask = torch.zeros(1, 96, 128, dtype=torch.bool)
    mask[0, 20:70, 30:90] = True
    target = {
        "boxes": torch.tensor([[30.0, 20.0, 90.0, 70.0]]),
        "labels": torch.tensor([1]),
        "masks": mask,
        "semantic": (~mask[0]).long(),
    }
    losses = model([torch.rand(3, 96, 128)], [target])
    losses["loss_mask"].backward()
    assert model.instances.top_layer is not None
    gradient = model.instances.top_layer.weight.grad
    assert gradient is not None
    print(f"mask loss {losses['loss_mask'].item():.3f}; gradient norm of the attentions {gradient.norm().item():.2e}")


if __name__ == "__main__":
    main()
