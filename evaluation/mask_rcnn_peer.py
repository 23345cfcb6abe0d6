"""Train torchvision's Mask R-CNN by torchvision's own recipe for a given time, and score its masks.

    python -m evaluation.mask_rcnn_peer --data ROOT --pretrained lite0.safetensors --minutes 20 --output runs/peer

The peer of ``fit`` for instances: the network is ``torchvision.models.detection.MaskRCNN`` on the backbone that ``fit``
has there, with torchvision's FPN; pictures, input size and figures are ours. The recipe is that of torchvision's
references for detection: SGD with momentum 0.9, weight decay 1e-4 and a rate of 0.02 for 16 pictures, linear in the
batch; a warm-up from a thousandth of the rate; a tenth of the rate after 16/26 and after 22/26 of the training;
horizontal flips; batch norms of the backbone fixed, its stem and first stage frozen; no training picture without an
instance. In its favor, the sides of its anchors, which are made for pictures of 800 pixels, follow the input size, the
pictures are resized with antialiasing, the warm-up has as many steps as the demo's although an epoch of few pictures is
shorter, and ``--rate`` multiplies the rate, to be tried in a small grid. The schedule is one of time, so that the
training takes the time that it is given on any machine; an interrupted training continues from its last state.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from panoptic_blend.checkpoints.reading import read_weights
from panoptic_blend.cli import options
from panoptic_blend.cli.running import guarded
from panoptic_blend.config.precisions import Precision
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import EvaluationSample, evaluation_samples, training_batches
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.splits import without_empty
from panoptic_blend.data.transforms import Augmentation, Resizing
from panoptic_blend.files import locked, replacing
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.models.backbones.protocol import STAGES
from panoptic_blend.models.backbones.timm import TimmBackbone
from panoptic_blend.runtime.precision import autocast
from panoptic_blend.scoring.instance_tables import instance_tables
from panoptic_blend.structures import Detections, PanopticBlendError, Target
from panoptic_blend.terminal import print_tables, progress_line

_STATE_EVERY = 60.0
"""Seconds between two states."""
_WARM_UP = 100
_DROPS = 16 / 26, 22 / 26
"""Shares of the training after which the rate is a tenth."""
_ANCHOR, _ANCHOR_SIDE = 32, 800
"""torchvision's smallest anchor in pixels, for pictures with this short side."""


@dataclass(frozen=True)
class Peer:
    """The settings: the backbone of timm's and its file of weights, the input size, and the recipe's free choices."""

    pretrained: Path | None
    backbone: str = "tf_efficientnet_lite0"
    channels: int = 256
    short_side: int = 320
    long_side: int = 533
    batch_size: int = 8
    rate: float = 1.0
    frozen_stages: int = 2
    """Stages of the backbone that stay as they are, the stem being the first; torchvision's recipe freezes two."""
    seed: int = 0
    precision: Precision = "auto"


class _Pyramid(nn.Module):
    """A backbone with torchvision's FPN: (N, 3, H, W) to maps at strides 4 to 64, named as its heads expect."""

    def __init__(self, backbone: TimmBackbone, channels: int) -> None:
        super().__init__()
        self.body, self.out_channels = backbone, channels
        inputs = [backbone.channels[stage] for stage in STAGES]
        self.fpn = FeaturePyramidNetwork(inputs, channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        maps: dict[str, Tensor] = self.fpn({str(level): features[stage] for level, stage in enumerate(STAGES)})
        return maps


def build(peer: Peer, num_things: int) -> MaskRCNN:
    """The network with the weights of its backbone, for things 1..num_things; 0 is background."""
    backbone = TimmBackbone(
        peer.backbone, frozen_stages=peer.frozen_stages, pretrained=str(peer.pretrained) if peer.pretrained else False
    )
    if peer.pretrained:
        state = backbone.pretrained_weights().convert(read_weights(peer.pretrained).state)
        if missing := backbone.load_state_dict(state, strict=False).missing_keys:
            raise PanopticBlendError(f"{peer.pretrained}: lacks {missing[0]} of {peer.backbone}; give its weights")
    smallest = _ANCHOR * peer.short_side / _ANCHOR_SIDE
    sides = tuple((round(smallest * 2**level),) for level in range(len(STAGES) + 1))
    return MaskRCNN(
        _Pyramid(backbone, peer.channels),
        num_classes=num_things + 1,
        min_size=peer.short_side,
        max_size=peer.long_side,
        rpn_anchor_generator=AnchorGenerator(sides, ((0.5, 1.0, 2.0),) * len(sides)),
        image_mean=[value / 255 for value in backbone.pixels.mean],
        image_std=[value / 255 for value in backbone.pixels.std],
        _skip_resize=True,  # the pictures come resized; in inference, too, this changes nothing then
    )


def train(peer: Peer, training: PanopticDataset, seconds: float, output: Path) -> tuple[MaskRCNN, int]:
    """Train for ``seconds``, those before an interruption included; ``output`` gets ``state.pt``.

    Returns:
        The network, and the number of iterations.

    Raises:
        PanopticBlendError: a loss is not finite.
    """
    torch.manual_seed(peer.seed)
    model = build(peer, len(training.categories.thing_ids))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=learning_rate(peer, 0, 0), momentum=0.9, weight_decay=1e-4)
    iteration, spent = _resume(output / "state.pt", model, optimizer)
    start, saved = time.monotonic() - spent, spent
    augmentation = Augmentation(short_sides=(peer.short_side,), long_side=peer.long_side)
    batches = training_batches(training, augmentation, peer.batch_size, peer.seed, start=iteration)
    model.train()
    with progress_line("training Mask R-CNN", "seconds") as progress:
        while spent < seconds:
            batch = next(batches)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(peer, iteration, spent / seconds)
            targets = [torchvision_target(target) for target in batch.targets]
            with autocast(peer.precision, torch.device("cpu")):
                losses = model([image.float() / 255 for image in batch.images], targets)
            loss = torch.stack([value.float() for value in losses.values()]).sum()
            if not loss.isfinite():
                raise PanopticBlendError(f"iteration {iteration + 1}: the loss is not finite; lower --rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            iteration, spent = iteration + 1, time.monotonic() - start
            progress(min(round(spent), round(seconds)), round(seconds))
            if spent >= seconds or spent - saved > _STATE_EVERY:
                saved = spent
                with replacing(output / "state.pt") as path:
                    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                    torch.save({**state, "iteration": iteration, "seconds": spent}, path)
    return model, iteration


def _resume(path: Path, model: MaskRCNN, optimizer: torch.optim.SGD) -> tuple[int, float]:
    """Load the state of an earlier run, if there is one; returns its iterations and seconds."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["iteration"]), float(state["seconds"])


def learning_rate(peer: Peer, iteration: int, share: float) -> float:
    """The rate of an iteration after this share of the time."""
    warm_up = 0.001 + 0.999 * min(1.0, iteration / _WARM_UP)
    drops = sum(share >= drop for drop in _DROPS)
    return float(peer.rate * 0.02 * peer.batch_size / 16 * warm_up * 0.1**drops)


def torchvision_target(target: Target) -> dict[str, Tensor]:
    """A target in torchvision's form, in which label 0 is background."""
    numbers = torch.arange(1, len(target["labels"]) + 1)[:, None, None]
    return {
        "boxes": target["boxes"],
        "labels": target["labels"] + 1,
        "masks": (target["instance_map"][None] == numbers).to(torch.uint8),
    }


@torch.inference_mode()
def detect(model: MaskRCNN, sample: EvaluationSample, thing_ids: list[int], precision: Precision) -> Detections:
    """The detections of a picture with category ids, their masks at its size; torchvision's own steps."""
    model.eval()
    with autocast(precision, torch.device("cpu")):
        images, _ = model.transform([sample.image.float() / 255])
        features = model.backbone(images.tensors)
        proposals, _ = model.rpn(images, features)
        detections, _ = model.roi_heads(features, proposals, images.image_sizes)
    numbers = [{name: value.float() for name, value in found.items()} for found in detections]
    [found] = model.transform.postprocess(numbers, images.image_sizes, [sample.size])
    labels = torch.tensor(thing_ids)[found["labels"].long() - 1]
    return Detections(found["boxes"], found["scores"], labels, found["masks"][:, 0] > 0.5)


def score(model: MaskRCNN, peer: Peer, validation: PanopticDataset) -> AveragePrecision:
    """The detections of all pictures, against the things of their panoptic maps."""
    categories, found = validation.categories, AveragePrecision(validation.categories)
    with progress_line("evaluating", "images") as progress:
        samples = evaluation_samples(validation, Resizing(peer.short_side, peer.long_side))
        for done, sample in enumerate(samples, start=1):
            detections = detect(model, sample, categories.thing_ids, peer.precision)
            found.update(sample.panoptic_truth(), detections, sample.image_id)
            progress(done, len(validation))
    return found


def mask_rcnn_peer(
    data: Annotated[Path, typer.Option(help="Root in COCO's panoptic layout.")],
    output: Annotated[Path, typer.Option(help="Folder of the run, which is continued.")],
    pretrained: Annotated[Path | None, typer.Option(help="Weights of the backbone with timm's names.")] = None,
    minutes: Annotated[float, typer.Option(help="Time to train.")] = 20.0,
    train_split: Annotated[str, typer.Option("--train", help="Training split.")] = "train2017",
    val_split: Annotated[str, typer.Option("--val", help="Validation split.")] = "val2017",
    backbone: Annotated[str, typer.Option(help="Network of timm's.")] = Peer.backbone,
    channels: Annotated[int, typer.Option(help="Channels of the FPN; 256 is torchvision's.")] = Peer.channels,
    short_side: Annotated[int, typer.Option(help="Short side of the network's input.")] = Peer.short_side,
    batch_size: Annotated[int, typer.Option(help="Pictures of a step.")] = Peer.batch_size,
    rate: Annotated[float, typer.Option(help="Factor of the recipe's learning rate.")] = Peer.rate,
    frozen_stages: Annotated[int, typer.Option(help="Frozen stages of the backbone; 5 is all.")] = Peer.frozen_stages,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the order of the pictures.")] = Peer.seed,
    precision: options.NetworkPrecision = "auto",
) -> None:
    """Train torchvision's Mask R-CNN and print COCO's figures."""
    long_side = round(short_side * 5 / 3)
    peer = Peer(pretrained, backbone, channels, short_side, long_side, batch_size, rate, frozen_stages, seed, precision)
    with locked(output, "--output"):
        training = without_empty(CocoPanoptic(data, train_split)).dataset
        model, iterations = train(peer, training, 60 * minutes, output)
        print(f"{iterations} iterations")
        print_tables(*instance_tables(score(model, peer, CocoPanoptic(data, val_split)).compute(), "panoptic"))


if __name__ == "__main__":
    guarded(lambda: typer.run(mask_rcnn_peer))
