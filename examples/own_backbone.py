"""Put a backbone of your own under the heads: train it for some steps, save it, and predict with it.

python examples/own_backbone.py                    five steps on a few generated images, in ./shapes
python examples/own_backbone.py --data datasets/own --iterations 1000
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from panoptic_blend import Config, PanopticBlendError, Predictor, build_model, load_config, load_weights
from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import training_batches
from panoptic_blend.data.transforms import Augmentation
from panoptic_blend.models.backbones.protocol import IMAGENET_PIXELS, PretrainedWeights
from panoptic_blend.models.folding import fold_norms
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.shapes.dataset import write_shapes


def block(in_channels: int, channels: int, stride: int = 2) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


class TinyNet(nn.Module):
    """A backbone with everything that `panoptic_blend.models.backbones.protocol.Backbone` asks for."""

    pixels = IMAGENET_PIXELS

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.channels = {"c2": width, "c3": 2 * width, "c4": 4 * width, "c5": 8 * width}
        self.stem = block(3, width)
        widths = pairwise([width, *self.channels.values()])
        self.stages = nn.ModuleDict({name: block(*pair) for name, pair in zip(self.channels, widths, strict=True)})

    @property
    def shard_units(self) -> list[nn.Module]:
        return list(self.stages.values())

    def pretrained_weights(self) -> PretrainedWeights:
        raise PanopticBlendError("imagenet: nobody has trained TinyNet yet; start without train.weights")

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x, features = self.stem(images), {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        return features


def train(model: PanopticBlend, config: Config, dataset: CocoPanoptic, iterations: int) -> None:
    """Train in a plain loop; see `fine_tune.py`."""
    augmentation = Augmentation(config.data.short_sides, config.data.long_side)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    batches = training_batches(dataset, augmentation, batch_size=2, seed=0)
    for iteration, batch in zip(range(1, iterations + 1), batches, strict=False):
        loss = torch.stack(list(model(batch.images, batch.targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10)
        optimizer.step()
        print(f"iteration {iteration}: loss {loss.item():.3f}")


def predictor(config: Config, dataset: CocoPanoptic, weights: Path) -> Predictor:
    """The model again, from its weights; no config names its backbone, so `panoptic_blend.load` cannot build it."""
    model = build_model(config, TinyNet())
    load_weights(model, weights)
    fold_norms(model.eval())  # faster, and the same but for rounding
    return Predictor(model, config, dataset.categories)


def main() -> None:
    """Read the arguments, make a data set if none is given, train, and predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="root of a COCO panoptic data set; default: generated images")
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("tiny_net.safetensors"))
    arguments = parser.parse_args()
    if arguments.data is None:
        arguments.data = Path("shapes")
        write_shapes(arguments.data, train=4, val=0)
    dataset = CocoPanoptic(arguments.data, "train2017")
    things, stuff = len(dataset.categories.thing_ids), len(dataset.categories.stuff_ids)
    config = load_config("demo/shapes_r18", [f"model.num_things={things}", f"model.num_stuff={stuff}"])
    torch.manual_seed(0)
    model = build_model(config, TinyNet())
    train(model, config, dataset, arguments.iterations)
    save_checkpoint(arguments.output, model.state_dict(), config, dataset.categories)
    found = predictor(config, dataset, arguments.output).predict(dataset.picture(0))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"a model of {parameters:,} parameters finds {len(found.segments)} segments in the first picture")


if __name__ == "__main__":
    main()
