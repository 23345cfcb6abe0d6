"""Fine-tune a model in a plain PyTorch loop, without our trainer.

python examples/fine_tune.py                    ten steps on a few generated images, in ./shapes
python examples/fine_tune.py --data datasets/own --config panoptic/blendmask_r50_3x --weights R_50_3x.pth
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from panoptic_blend import build_model, load, load_config, load_weights
from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import training_batches
from panoptic_blend.data.transforms import Augmentation
from panoptic_blend.shapes.dataset import write_shapes


def fine_tune(arguments: argparse.Namespace) -> None:
    """Train the model on the split train2017 of a COCO panoptic data set, and write it as a checkpoint."""
    dataset = CocoPanoptic(arguments.data, "train2017")
    things, stuff = len(dataset.categories.thing_ids), len(dataset.categories.stuff_ids)
    config = load_config(arguments.config, [f"model.num_things={things}", f"model.num_stuff={stuff}"])
    torch.manual_seed(0)
    model = build_model(config)
    if arguments.weights:
        load_weights(model, arguments.weights, partial=True)  # heads for other classes start anew

    augmentation = Augmentation(config.data.short_sides, config.data.long_side)
    batches = training_batches(dataset, augmentation, arguments.batch_size, seed=0)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=arguments.lr)
    model.train()
    for iteration, batch in zip(range(1, arguments.iterations + 1), batches, strict=False):
        losses = model(batch.images, batch.targets)  # {"loss_class": scalar, ...}
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10)
        optimizer.step()
        print(f"iteration {iteration}: loss {loss.item():.3f}")

    save_checkpoint(arguments.output, model.state_dict(), config, dataset.categories)
    found = load(arguments.output).predict(dataset.picture(0))
    print(f"{arguments.output} finds {len(found.segments)} segments in the first image")


def main() -> None:
    """Read the arguments, make a data set if none is given, and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="root of a COCO panoptic data set; default: generated images")
    parser.add_argument("--config", default="demo/shapes_r18")
    parser.add_argument("--weights", type=Path, help="weights of any known kind to start from")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--output", type=Path, default=Path("fine_tuned.safetensors"))
    arguments = parser.parse_args()
    if arguments.data is None:
        arguments.data = Path("shapes")
        write_shapes(arguments.data, train=8, val=0)
    fine_tune(arguments)


if __name__ == "__main__":
    main()
