"""Networks of timm (PyTorch Image Models) as backbones. timm is imported when one is built."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from panoptic_blend.extras import require_extra
from panoptic_blend.failures import first_line
from panoptic_blend.models.backbones.freezing import PartlyFrozen
from panoptic_blend.models.backbones.protocol import (
    STAGES,
    PixelStatistics,
    PretrainedWeights,
    expected_of_trial,
    trial,
)
from panoptic_blend.structures import PanopticBlendError

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class TimmBackbone(PartlyFrozen):
    """A `Backbone` made of a timm network: (N, 3, H, W) to ``{"c2": (N, c, H/4, W/4), ..., "c5": stride 32}``.

    Args:
        name: a network of timm's with features at strides 4, 8, 16 and 32; a tag behind a dot chooses its weights.
        norm: batch norms with fixed statistics and weights, or with trained ones. Other norms are trained.
        frozen_stages: how many of stem, c2, c3, ... receive no gradient and keep their statistics. The stem is
            everything before the part that makes c2.
        pretrained: the weights that `pretrained_weights` returns: True for timm's own, a file, or False for none.
        drop_path: stochastic depth (Huang et al., ECCV 2016): how probably the last block is skipped in training.

    Raises:
        MissingExtraError: timm is not installed.
        PanopticBlendError: timm has no such network, or an option does not apply to it.
    """

    def __init__(
        self,
        name: str,
        norm: Literal["frozen_bn", "bn"] = "frozen_bn",
        frozen_stages: int = 2,
        pretrained: bool | str = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.name, self.pretrained = name, pretrained
        self.net = _network(name, drop_path)
        info = self.net.feature_info
        self._outputs = _outputs(name, info.reduction())
        self.channels: dict[str, int] = {stage: info.channels()[i] for stage, i in self._outputs.items()}
        self.pixels = _pixels(self.net.pretrained_cfg)
        makers = info.module_name()
        self._blocks = list(_blocks(self.net, makers))
        self.freeze(self._first_stages(frozen_stages, [makers[i] for i in self._outputs.values()]))
        if norm == "frozen_bn":
            self.freeze([name for name, module in self.named_modules() if isinstance(module, _BATCH_NORMS)])
        self._require_any_size()

    def _first_stages(self, count: int, makers: list[str]) -> list[str]:
        """Names of the blocks of the first ``count`` of stem, c2, c3, ...; ``makers`` are the last blocks of c2-c5."""
        blocks = [_flat(name.removeprefix("net.")) for name in self._blocks]
        last = [_flat(maker) for maker in makers]
        if count and not set(last) <= set(blocks):
            raise PanopticBlendError(f"model.backbone: {self.name} does not separate its stages; set frozen_stages=0")
        ends = [0, blocks.index(last[0]), *(blocks.index(maker) + 1 for maker in last)] if count else [0]
        return self._blocks[: ends[count]]

    def _require_any_size(self) -> None:
        """Raise unless the features of an image of unusual size have the expected channels and strides."""
        problem = "its maps have other sizes"
        try:
            found = trial(self)
        except (AssertionError, RuntimeError) as error:
            found, problem = {}, first_line(error)
        if found != expected_of_trial(self.channels):
            raise PanopticBlendError(
                f"model.backbone.name: {self.name} cannot read 64 x 96 pixels ({problem}); choose another network"
            )

    @property
    def shard_units(self) -> list[nn.Module]:
        """Stages or blocks, as timm divides the network; single layers, such as those of a stem, are left out."""
        blocks = [self.get_submodule(name) for name in self._blocks]
        return [block for block in blocks if len([*block.modules()]) > 1 and len([*block.parameters()]) > 0]

    def pretrained_weights(self) -> PretrainedWeights:
        """The weights of timm's classifier, or of the file that was given."""
        config, key = self.net.pretrained_cfg, "model.backbone.pretrained"
        source = config.get("hf_hub_id") or config.get("url")
        if isinstance(self.pretrained, str):
            return PretrainedWeights(self.pretrained, None, self._own_names, key)
        if not self.pretrained:
            raise PanopticBlendError(
                f"imagenet: {key}=false leaves {self.name} without weights; set it to true or a file"
            )
        if not source:
            raise PanopticBlendError(f"imagenet: timm has no weights of {self.name}; name a file by {key}")
        return PretrainedWeights(f"{source} for {self.name}", self._fetch, self._own_names, key)

    def _fetch(self) -> Mapping[str, Tensor]:
        state: Mapping[str, Tensor] = _network(self.name, pretrained=True).state_dict()
        return state

    def _own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename weights of timm's classifier, or of its feature network, with ``stages_0`` for ``stages.0``."""
        own = {_flat(name.removeprefix("net.")): name for name in self.state_dict()}
        return {own[_flat(name)]: value for name, value in state.items() if _flat(name) in own}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.net(images)
        found = {stage: features[i] for stage, i in self._outputs.items()}
        if str(getattr(self.net, "output_fmt", "")).endswith("NHWC"):
            return {stage: x.permute(0, 3, 1, 2) for stage, x in found.items()}
        return found


def _network(name: str, drop_path: float = 0.0, pretrained: bool = False) -> Any:
    """Create timm's network for the features of every stage, for images of any size if the network allows it.

    Swin Transformers (Liu et al., ICCV 2021) then pad their maps to whole windows, and shift these in every stage.
    """
    require_extra("timm", "or set model.backbone.kind=resnet")
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1, cutoff=0.3)
        hint = f"did you mean {close[0]}?" if close else "timm.list_models() lists them"
        raise PanopticBlendError(f"model.backbone.name: timm {timm.__version__} has no network {name!r}; {hint}")
    optional = {"strict_img_size": False, "always_partition": True, "drop_path_rate": drop_path}
    while True:
        try:
            net = timm.create_model(name, pretrained=pretrained, features_only=True, **optional)
        except TypeError as error:  # of the constructor, which names the arguments that it does not know
            unknown = [argument for argument in optional if argument in str(error)]
            if not unknown:
                raise
            optional = {argument: value for argument, value in optional.items() if argument not in unknown}
        except RuntimeError as error:
            if pretrained:
                raise
            problem = str(error).rstrip(".")
            raise PanopticBlendError(f"model.backbone.name: {problem}; choose another network of timm's") from None
        else:
            break
    if drop_path and "drop_path_rate" not in optional:
        raise PanopticBlendError(f"model.backbone: drop_path={drop_path} has no effect on {name}; leave it out")
    return net


def _outputs(name: str, strides: list[int]) -> dict[str, int]:
    """The output of a network that is each of our stages, found by the ``strides`` of its outputs."""
    if not set(STAGES.values()) <= set(strides):
        raise PanopticBlendError(
            f"model.backbone.name: {name} has features at strides {', '.join(map(str, strides))}"
            "; choose a network that has them at 4, 8, 16 and 32"
        )
    places = {stride: i for i, stride in enumerate(strides)}  # the last of several
    return {stage: places[stride] for stage, stride in STAGES.items()}


def _pixels(config: Mapping[str, Any]) -> PixelStatistics:
    mean, std = (tuple(255 * value for value in config[key]) for key in ("mean", "std"))
    return PixelStatistics(mean, std)


def _blocks(net: nn.Module, makers: list[str]) -> Iterator[str]:
    """Names of the parts of a network in the order they run: its children, or theirs if features come from them."""
    for name, child in net.named_children():
        if any(maker.startswith(f"{name}.") for maker in makers):
            yield from (f"net.{name}.{inner}" for inner, _ in child.named_children())
        else:
            yield f"net.{name}"


def _flat(name: str) -> str:
    """timm calls the module ``stages.0`` of a classifier ``stages_0`` in its feature network."""
    return name.replace(".", "_")
