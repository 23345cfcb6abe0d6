"""From a picture, a folder or an array to panoptic maps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from panoptic_blend.checkpoints.importing import recognise
from panoptic_blend.checkpoints.io import Checkpoint, is_checkpoint, load_weights, read_categories, read_checkpoint
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.config.options import Precision
from panoptic_blend.data.dataset import to_tensor
from panoptic_blend.data.transforms import resize_image, size_for
from panoptic_blend.formats.categories import Categories, default_categories
from panoptic_blend.formats.images import Picture, read_picture
from panoptic_blend.inference.forward import run_network
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms, round_weights
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.precision import half
from panoptic_blend.structures import Output, PanopticBlendError, PanopticMap

_WEIGHTS = {".safetensors", ".pth", ".pt", ".pkl"}


class Predictor:
    """A trained model with what it takes to run it: `load` makes one."""

    def __init__(
        self, model: PanopticBlend, config: Config, categories: Categories, precision: Precision = "32-true"
    ) -> None:
        self.model, self.config, self.categories, self.precision = model.eval(), config, categories, precision

    @overload
    def predict(self, picture: str | Path | Picture) -> PanopticMap: ...
    @overload
    def predict(self, picture: list[str | Path | Picture]) -> list[PanopticMap]: ...
    def predict(self, picture: str | Path | Picture | list[str | Path | Picture]) -> PanopticMap | list[PanopticMap]:
        """The panoptic map of a picture, at its size, with dataset category ids; a list of them for a list.

        Args:
            picture: a path, or an array (H, W, 3) uint8 RGB.
        """
        if isinstance(picture, (str, Path, np.ndarray)):
            return self.output(picture).panoptic
        return [self.output(item).panoptic for item in picture]

    def output(self, picture: str | Path | Picture) -> Output:
        """All the model says about one picture: detections, masks, semantics, bases, attentions."""
        pixels = picture if isinstance(picture, np.ndarray) else read_picture(Path(picture))
        return self.run(self.prepare(pixels), pixels.shape[:2])

    def prepare(self, pixels: Picture) -> Tensor:
        """The network's input (3, h, w) uint8 for a picture (H, W, 3) uint8 RGB; any thread may do it."""
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise PanopticBlendError(f"an array of shape {pixels.shape} and {pixels.dtype}; give (H, W, 3) uint8 RGB")
        size = pixels.shape[0], pixels.shape[1]
        test = self.config.test
        return resize_image(to_tensor(pixels), size_for(size, test.short_side, test.long_side))

    def run(self, image: Tensor, size: tuple[int, ...]) -> Output:
        """All the model says about what `prepare` made, at ``size`` (height, width)."""
        return run_network(self.model, image, size, self.categories, self.precision)


def load(
    name_or_path: str | Path,
    weights: str | Path | None = None,
    device: str = "cpu",
    overrides: Iterable[str] = (),
    precision: Precision = "32-true",
) -> Predictor:
    """A ready `Predictor`, whose model can predict and nothing else: norms are folded, weights rounded once.

    Args:
        name_or_path: one of our checkpoints, which knows its config and categories; weights of others that
            fit a config of the library; or a config by name or path, which then needs ``weights``.
        weights: weights of any kind that `load_weights` knows.
        overrides: ``key=value`` changes to the config, such as ``model.fusion.confidence=0.5``.

    Raises:
        PanopticBlendError: a file is missing or does not fit.
    """
    source = Path(name_or_path)
    if source.suffix in _WEIGHTS and weights is None:
        known = read_checkpoint(source) if is_checkpoint(source) else recognise(source)
        config, categories = known.config.changed(overrides), known.categories
        state = known.state if isinstance(known, Checkpoint) else source
    elif weights is None:
        raise PanopticBlendError(f"{name_or_path}: a config has no weights; name a checkpoint, or give weights too")
    elif source.suffix in _WEIGHTS:
        raise PanopticBlendError(f"{name_or_path}: holds weights itself; drop {weights}, or name a config before it")
    else:
        config, state = load_config(name_or_path, overrides), Path(weights)
        counts = config.model.num_things, config.model.num_stuff
        categories = read_categories(state) or default_categories(*counts)
    model = build_model(config)
    load_weights(model, state)
    fold_norms(model.eval())
    placed = _placed(model, device)
    if dtype := half(precision, placed.pixel_mean.device):
        round_weights(placed, dtype)
    return Predictor(placed, config, categories, precision)


def _placed(model: PanopticBlend, device: str) -> PanopticBlend:
    try:
        return model.to(device).to(memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:
        raise PanopticBlendError(f"device {device!r}: {str(error).splitlines()[0]}; use cpu, cuda or cuda:0") from None
