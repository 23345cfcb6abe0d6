"""Load an exported model and predict the panoptic maps of pictures, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, overload

import numpy as np

from panoptic_blend.config.experiment import Config
from panoptic_blend.deploy.engines import Graph, open_graph
from panoptic_blend.deploy.manifest import MANIFEST, TOP_LAYER, Manifest, read_manifest
from panoptic_blend.deploy.resizing import Resizing
from panoptic_blend.formats.images import Picture
from panoptic_blend.machine import cores
from panoptic_blend.postprocessing.blending import TopLayer
from panoptic_blend.postprocessing.interpolation import Floats
from panoptic_blend.postprocessing.outputs import PostProcessing
from panoptic_blend.prediction.given_pictures import (
    GivenPicture,
    GivenPictures,
    are_many,
    maps_of,
    picture_of,
    require_picture,
)
from panoptic_blend.structures import Array, Output, PanopticBlendError, PanopticMap, Size


class ExportedPredictor:
    """An exported model that predicts pictures as `Predictor` does; ``deploy.load`` creates it. Threads may share it.

    Args:
        manifest: what is known of the model.
        graph: the network.
        top_layer: predicts attentions; None for a merge without them.
        config: the config of the model, perhaps with other options for what precedes and follows the network.
        at_once: the number of pictures for which ``graph`` has a thread of its own at the same time.
    """

    queue_depth = 0

    def __init__(
        self, manifest: Manifest, graph: Graph, top_layer: TopLayer | None, config: Config, at_once: int = 1
    ) -> None:
        self.manifest, self.config, self.categories = manifest, config, manifest.categories
        self.at_once = at_once
        self.resizing = Resizing(**config.test.model_dump())
        self._graph = graph
        self._post_processing = PostProcessing(
            config.model, manifest.levels, manifest.bottom_stride, manifest.semantic_stride, top_layer
        )

    def identity(self) -> dict[str, Any]:
        """See `PicturePredictor.identity`."""
        return {
            "weights": self.manifest.files,
            "precision": self.manifest.precision,
            "device": f"{self.manifest.engine} on cpu",
        }

    @overload
    def predict(self, picture: GivenPicture) -> PanopticMap: ...
    @overload
    def predict(self, picture: GivenPictures) -> list[PanopticMap]: ...
    def predict(self, picture: GivenPicture | GivenPictures) -> PanopticMap | list[PanopticMap]:
        """Predict the panoptic map of a picture, or of many, as `Predictor.predict` does."""
        if are_many(picture):
            return maps_of(cast(GivenPictures, picture), self)
        return self.output(cast(GivenPicture, picture)).panoptic

    def output(self, picture: GivenPicture) -> Output[Array]:
        """Predict one picture as `predict` does, and return all outputs, at the size of the picture."""
        pixels = picture_of(picture)
        return self.run(self.prepare(pixels), pixels.shape[:2])

    def prepare(self, pixels: Picture) -> Picture:
        """Resize a picture (H, W, 3) uint8 RGB for the network."""
        require_picture(pixels)
        return self.resizing(pixels)

    def run(self, image: Picture, size: tuple[int, ...]) -> Output[Array]:
        """Run the model on the result of `prepare`; all outputs, at ``size`` (height, width)."""
        with self._graph(self.pixels(image)) as raw:
            output = self.outputs(raw, (image.shape[0], image.shape[1]), (size[0], size[1]))
            if output.bases is not None:  # a view of what the engine will overwrite
                output = replace(output, bases=output.bases.copy())
        return output

    def outputs(self, raw: Mapping[str, Floats], size: Size, output_size: Size) -> Output[Array]:
        """What follows from the outputs of the graph for an image of ``size``, at ``output_size``.

        Raises:
            PanopticBlendError: the graph gave numbers that are not finite, or arrays of other strides than it should.
        """
        height, width = self._padded(size)
        for name, stride in self.manifest.strides().items():
            if raw[name].shape[2:] != (-(-height // stride), -(-width // stride)):
                raise PanopticBlendError(
                    f"{self.manifest.source.file}: {name} of its graph does not have the stride {stride} that "
                    f"{MANIFEST} says; export the model anew"
                )
        if not all(np.isfinite(raw[name]).all() for name in raw if not name.endswith("_features")):
            raise PanopticBlendError(
                f"{self.manifest.source.file}: its graph gave numbers that are not finite; export the model anew"
            )
        output = self._post_processing(raw, size, output_size)
        return replace(output, panoptic=self.categories.to_dataset(output.panoptic))

    def raw(self, image: Picture) -> dict[str, Floats]:
        """The outputs of the graph for the result of `prepare`, by name, of a batch of one image."""
        with self._graph(self.pixels(image)) as raw:
            return {name: value[:1].copy() for name, value in raw.items()}

    def pixels(self, image: Picture) -> Floats:
        """The input of the graph (N, 3, H, W) for an image (h, w, 3) uint8: padded with the mean of each channel."""
        given = self.manifest.input
        height, width = self._padded((image.shape[0], image.shape[1]))
        pixels = np.empty((given.batch, 3, height, width), dtype=np.float32)
        pixels[:] = np.array(given.mean, dtype=np.float32)[:, None, None]
        pixels[0, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
        return pixels

    def _padded(self, size: Size) -> Size:
        multiple, minimum = self.manifest.input.multiple, self.manifest.input.minimum
        height, width = (max(-(-side // multiple) * multiple, minimum) for side in size)
        return height, width


def load(
    folder: str | Path, threads: int | None = None, overrides: Iterable[str] = (), at_once: int = 1
) -> ExportedPredictor:
    """Load an exported model, which ``panoptic-blend export`` wrote; nothing in the folder runs as code.

    Args:
        threads: threads of the engine; by default one per core that this process may use.
        overrides: ``key=value`` changes to options that the network does not depend on, such as
            ``model.fusion.confidence=0.5``.
        at_once: pictures that the engine predicts at the same time, for as many threads that call it; they share its
            ``threads``. Many pictures are done sooner so, a single one later.

    Raises:
        MissingExtraError: the engine of the model is not installed.
        PanopticBlendError: the folder is not complete, or was changed; or an option belongs to the network.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    config = manifest.config.changed(overrides)
    _require_same_network(path, manifest.config, config)
    graph = open_graph(path, manifest, threads or cores(), at_once)
    return ExportedPredictor(manifest, graph, _top_layer(path, manifest), config, at_once)


_FREE: Any = {
    "fcos": {"score_threshold", "candidates_per_level", "nms", "detections_per_image"},
    "blender": {"roi_size", "interpolation", "pooling", "rescoring"},
    "calibration": True,
    "fusion": True,
}
"""The options of the model that its network does not depend on."""


def _require_same_network(folder: Path, exported: Config, changed: Config) -> None:
    fixed, wanted = (config.model.model_dump(exclude=_FREE) for config in (exported, changed))
    for name, value in wanted.items():
        if fixed[name] != value:
            raise PanopticBlendError(
                f"{folder}: model.{name} was fixed when the model was exported; leave the change out, or export the "
                "model anew with it"
            )


def _top_layer(folder: Path, manifest: Manifest) -> TopLayer | None:
    if TOP_LAYER not in manifest.files:
        return None
    model, path = manifest.config.model, folder / TOP_LAYER
    outputs = model.bottom.num_bases * model.blender.attention_size**2
    shapes = {"weight": (outputs, model.fpn.channels, 3, 3), "bias": (outputs,)}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name], dtype=np.float32) for name in shapes}
    except Exception as error:  # a damaged archive makes zipfile and numpy raise anything
        raise PanopticBlendError(f"{path}: cannot be read ({type(error).__name__}); export the model anew") from None
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise PanopticBlendError(f"{path}: {name} has the shape {found[name].shape}, not {shape}; export anew")
    return TopLayer(found["weight"], found["bias"], model.bottom.num_bases)
