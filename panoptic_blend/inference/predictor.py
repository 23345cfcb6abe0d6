"""Load a trained model and predict the panoptic maps of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast, overload

import torch
from torch import Tensor

from panoptic_blend.checkpoints.digest import weights_digest
from panoptic_blend.checkpoints.importing import recognize
from panoptic_blend.checkpoints.io import (
    Checkpoint,
    is_checkpoint,
    load_weights,
    read_categories,
    read_checkpoint,
    require_modest,
)
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.data.dataset import to_tensor
from panoptic_blend.data.transforms import Resizing
from panoptic_blend.deploy.manifest import GRAPH_FILES, MANIFEST, is_exported
from panoptic_blend.download.known_weights import known_weights
from panoptic_blend.download.weights_sources import model_source, weights_path
from panoptic_blend.failures import first_line
from panoptic_blend.formats.categories import Categories, default_categories
from panoptic_blend.formats.images import Picture
from panoptic_blend.inference.forward import run_network
from panoptic_blend.machine import cores
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms, round_weights
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.prediction.given_pictures import (
    GivenPicture,
    GivenPictures,
    are_many,
    maps_of,
    picture_of,
    require_picture,
)
from panoptic_blend.runtime.precision import KNOWN_DEVICES, chosen_device, half_dtype, resolve
from panoptic_blend.structures import Output, PanopticBlendError, PanopticMap

_WRITERS = 8
"""The most threads that write pictures while a GPU predicts the next ones."""

_WEIGHTS = {".safetensors", ".pth", ".pt", ".pkl", ".ckpt", ".bin"}


class Predictor:
    """A trained model that predicts pictures; ``load`` of the same module creates it.

    Args:
        model: the model, which is set to evaluation mode.
        config: its config, with the input size in ``test``.
        categories: the categories whose ids the panoptic maps have.
        precision: arithmetic of the network.
    """

    def __init__(
        self, model: PanopticBlend, config: Config, categories: Categories, precision: Precision = "32-true"
    ) -> None:
        self.model, self.config, self.categories, self.precision = model.eval(), config, categories, precision
        self.resizing = Resizing(**config.test.model_dump())

    @property
    def queue_depth(self) -> int:
        """See `PicturePredictor.queue_depth`; drawing and writing a picture take longer than a GPU needs for it."""
        return 0 if self.model.pixel_mean.device.type == "cpu" else max(3, min(_WRITERS, cores()))

    @property
    def at_once(self) -> int:
        """See `PicturePredictor.at_once`; torch has its own threads for one picture."""
        return 1

    def identity(self) -> dict[str, Any]:
        """See `PicturePredictor.identity`."""
        device = self.model.pixel_mean.device
        return {
            "weights": weights_digest(self.model),
            "precision": resolve(self.precision, device),
            "device": device.type,
        }

    @overload
    def predict(self, picture: GivenPicture) -> PanopticMap: ...
    @overload
    def predict(self, picture: GivenPictures) -> list[PanopticMap]: ...
    def predict(self, picture: GivenPicture | GivenPictures) -> PanopticMap | list[PanopticMap]:
        """Predict the panoptic map of a picture, at its size and with dataset category ids.

        Args:
            picture: one picture in any form that `picture_of` takes: a path, bytes, an array (H, W, 3) RGB, a tensor
                (3, H, W) or a PIL image. An array (N, H, W, 3), a tensor (N, 3, H, W), or an iterable of pictures
                gives a list of maps.

        Raises:
            PanopticBlendError: a file cannot be read, or a picture has another form.
        """
        if not are_many(picture):
            return self.output(cast(GivenPicture, picture)).panoptic
        return maps_of(cast(GivenPictures, picture), self)

    def output(self, picture: GivenPicture) -> Output:
        """Predict one picture as `predict` does, and return all outputs of the model, at the size of the picture."""
        pixels = picture_of(picture)
        return self.run(self.prepare(pixels), pixels.shape[:2])

    def prepare(self, pixels: Picture) -> Tensor:
        """Resize a picture (H, W, 3) uint8 RGB to the network's input (3, h, w) uint8; thread-safe."""
        require_picture(pixels)
        return self.resizing(to_tensor(pixels))

    def run(self, image: Tensor, size: tuple[int, ...]) -> Output:
        """Run the model on the result of `prepare`; all outputs, at ``size`` (height, width)."""
        output: Output = run_network(self.model, image, size, self.categories, self.precision)
        return output


def load(
    name_or_path: str | Path,
    weights: str | Path | None = None,
    device: str = "cpu",
    overrides: Iterable[str] = (),
    precision: Precision = "32-true",
) -> Predictor:
    """Load a `Predictor` from a checkpoint, from known weights, or from a config and weights.

    The model is optimized for prediction and cannot be trained: norms are folded into convolutions, and weights are
    rounded once if ``precision`` is not float32.

    Args:
        name_or_path: a checkpoint of this library, which includes its config and categories; weights from elsewhere
            that fit a config of the library; the name of known weights or an address such as ``hf://owner/name``, which
            are fetched once; or the name or path of a config, which requires ``weights``.
        weights: a file of weights in any format that `load_weights` reads, or the name or address of some.
        device: ``cpu``, ``cuda``, ``cuda:0``, ...; ``auto`` is the best there is: CUDA, then MPS, then the CPU.
        overrides: ``key=value`` changes to the config, such as ``model.fusion.confidence=0.5``.
        precision: arithmetic of the network; ``auto`` is bfloat16 if the device has hardware for it.

    Raises:
        PanopticBlendError: a file is missing or does not fit the config, or the device is not available.
    """
    source, config_name = (Path(name_or_path), None) if weights else model_source(name_or_path)
    if source.suffix in _WEIGHTS and weights is None:
        known = read_checkpoint(source) if is_checkpoint(source) else recognize(source, config_name)
        config, categories = known.config.changed(overrides), known.categories
        state = known.state if isinstance(known, Checkpoint) else source
        if isinstance(known, Checkpoint):
            require_modest(source, config, known.state)
    elif weights is None:
        raise PanopticBlendError(f"{name_or_path}: {_why_no_weights(source)}")
    elif source.suffix in _WEIGHTS:
        raise PanopticBlendError(f"{name_or_path}: is a file of weights, and so is {weights}; give only one of these")
    else:
        config, state = load_config(name_or_path, overrides), weights_path(weights)
        counts = config.model.num_things, config.model.num_stuff
        categories = read_categories(state) or default_categories(*counts)
    model = build_model(config)
    load_weights(model, state, name=str(weights or name_or_path))
    fold_norms(model.eval())
    model = _moved(model, device)
    if dtype := half_dtype(precision, model.pixel_mean.device):
        round_weights(model, dtype)
    return Predictor(model, config, categories, precision)


def _why_no_weights(path: Path) -> str:
    """Why the name of a config, or the path of something that does not end like a file of weights, holds no weights."""
    exists = os.path.lexists(path)
    if path.as_posix() in config_names() or (exists and path.suffix in (".yaml", ".yml")):
        name = next((f", such as {known.name}" for known in known_weights().values() if known.config == str(path)), "")
        return f"a config has no weights; give a checkpoint, or weights with it{name}"
    if not exists:
        return "no such file or config; check the path"
    if is_exported(path):
        return "is an exported model; give the checkpoint that it was made from"
    if any((path / name).is_file() for names in GRAPH_FILES.values() for name in names):
        return f"has no {MANIFEST}, so it is not a whole exported model; export the model anew"
    if path.is_dir():
        return "is a folder; give the checkpoint in it, such as last.safetensors"
    return "is neither a checkpoint nor a config; give a checkpoint, such as last.safetensors"


def _moved(model: PanopticBlend, device: str) -> PanopticBlend:
    try:
        return model.to(chosen_device(device)).to(memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:
        raise PanopticBlendError(f"device {device!r}: {first_line(error)}; {KNOWN_DEVICES}") from None
