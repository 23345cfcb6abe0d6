"""The door for predictors: what the loops over pictures and frames ask of the part that runs a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from panoptic_blend.config.experiment import Config
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import Picture
from panoptic_blend.prediction.given_pictures import GivenPicture
from panoptic_blend.structures import Output, PanopticMap


class PicturePredictor(Protocol):
    """A model that predicts pictures; `inference.predictor.Predictor` and `deploy.predictor.ExportedPredictor` are two.

    ``config`` has its options, and ``categories`` the ids of its maps.
    """

    config: Config
    categories: Categories

    @property
    def queue_depth(self) -> int:
        """That of `overlapped`, and its number of ``finishers``; 0 where the network itself keeps all cores busy."""

    @property
    def at_once(self) -> int:
        """The number of pictures that threads predict at the same time, each with a part of the cores."""

    def identity(self) -> Mapping[str, Any]:
        """Everything that the results depend on but for the input, as JSON, by names that messages use."""

    def predict(self, picture: GivenPicture) -> PanopticMap:
        """The panoptic map of a picture in any form that `picture_of` takes, at its size, with dataset category ids."""

    def output(self, picture: GivenPicture) -> Output[Any]:
        """All outputs for a picture, at its size."""

    def prepare(self, pixels: Picture) -> Any:
        """The network's input for a picture (H, W, 3) uint8 RGB; thread-safe."""

    def run(self, image: Any, size: tuple[int, ...]) -> Output[Any]:
        """All outputs for the result of `prepare`, at ``size`` (height, width)."""
