"""The door for instance branches: what `PanopticBlend` asks of the part that finds instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from panoptic_blend.models.postprocess import Instances
from panoptic_blend.structures import Size, Target

Features = Mapping[str, Tensor]
"""Maps (N, c, h, w) by name: backbone stages ``c2``-``c5``, pyramid levels, and the semantic head's ``trunk``."""


@dataclass(frozen=True)
class TrainingBatch:
    """Images of a training step and all that their losses need of their targets."""

    images: Sequence[Tensor]
    truth: Any
    """What `InstanceBranch.truth` found."""
    semantic: Sequence[Tensor]
    """Classes (H, W) of the pixels of each image; empty for an instance model."""
    normalizers: Mapping[str, Tensor]
    """The counts that the loss terms are divided by: positive locations, pixels, ... (scalars)."""


class InstanceBranch(Protocol):
    """An ``nn.Module`` that finds instances in shared features; `BlendMask` and `MaskRCNN` are two.

    In training `PanopticBlend` adds `losses` to its own; in inference it calls `raw` and then `select`.
    """

    num_classes: int
    """C, the number of thing classes."""

    def truth(self, frame: Size, targets: Sequence[Target]) -> tuple[Any, dict[str, Tensor]]:
        """All that the losses of a batch need of its targets, found before the forward pass.

        Args:
            frame: (height, width) of the padded batch.
            targets: one for each image.

        Returns:
            The truth for `losses`, in a form of the branch's own; and scalars by name, the normalizers that the loss
            terms are divided by, such as the number of positive locations. Normalizers are summed over all batches of
            an optimizer step before the first forward pass, so that a step gives the same gradients however it is
            divided among devices.
        """

    def losses(
        self, features: Features, sizes: Sequence[Size], truth: Any, normalizers: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The weighted loss terms of a batch, scalars by name.

        Args:
            features: maps of the padded batch.
            sizes: (height, width) of its images without padding.
            truth: what `truth` found for it.
            normalizers: those of the whole optimizer step, of which this batch may be a part.
        """

    def raw(self, features: Features) -> dict[str, Tensor]:
        """Everything that depends on the images through plain tensor operations: this part can be exported.

        No suppression, no top-k and no shape that depends on values may occur in it.

        Returns:
            Tensors by name, the first axis of each being the images of the batch.
        """

    def select(self, raw: Mapping[str, Tensor], sizes: Sequence[Size]) -> list[Instances]:
        """The instances of every image, best first, in pixels of the padded batch.

        Args:
            raw: what `raw` returned.
            sizes: (height, width) of the images without padding.
        """
