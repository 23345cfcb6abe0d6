"""The door for instance branches: what `PanopticBlend` asks of the part that finds instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from panoptic_blend.models.postprocess import Instances
from panoptic_blend.structures import Size, Target

Features = Mapping[str, Tensor]
"""Maps (N, c, h, w) by name: backbone stages ``c2``-``c5``, pyramid levels, and the semantic head's ``trunk``."""


class InstanceBranch(Protocol):
    """An ``nn.Module`` that finds instances in shared features; `BlendMask` and `MaskRCNN` are two.

    In training `PanopticBlend` adds `losses` to its own; in inference it calls `raw` and then `select`.
    """

    num_classes: int
    """C, the number of thing classes."""

    def loss_normalizers(self, frame: Size, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The counts that the loss terms are divided by, such as the number of positive locations.

        They are summed over all batches of an optimizer step before the first forward pass, so that a step gives the
        same gradients however it is divided among devices.

        Args:
            frame: (height, width) of the padded batch.
            targets: one for each image.

        Returns:
            Scalars by name.
        """

    def losses(
        self, features: Features, sizes: Sequence[Size], targets: Sequence[Target], normalizers: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The weighted loss terms of a batch, scalars by name.

        Args:
            features: maps of the padded batch.
            sizes: (height, width) of its images without padding.
            targets: one for each image.
            normalizers: `loss_normalizers` of the whole optimizer step, of which this batch may be a part.
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
