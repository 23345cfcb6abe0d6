"""A model without a network, and a web server for it, for the tests of ``serve``."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from panoptic_blend.config.experiment import Config
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import Picture
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.prediction.protocol import PicturePredictor
from panoptic_blend.serve.limits import Limits
from panoptic_blend.serve.running import listening, web_server
from panoptic_blend.structures import Array, Category, Cutout, Output

CATEGORIES = Categories(
    [
        Category(3, "cat & <b>dog</b>", True, (200, 30, 30)),
        Category(5, "tree", True),
        Category(8, "sky", False, (30, 30, 200)),
        Category(9, "grass", False),
    ]
)


class StaticModel:
    """Finds the same in every picture of 60 x 40: a cat with score 0.9, a tree with 0.6, half of it on the cat.

    The upper 30 rows are sky, the others grass. Each call waits for ``gate``.
    """

    def __init__(self) -> None:
        self.config = Config().changed(["model.fusion.stuff_area=10"])
        self.categories = CATEGORIES
        self.gate = threading.Event()
        self.gate.set()

    def output(self, picture: Picture) -> Output[Array]:
        self.gate.wait()
        height, width = picture.shape[:2]
        semantic = np.full((height, width), 1, np.int64)
        semantic[30:] = 2
        mask = np.ones((20, 30), np.bool_)
        cutouts = [Cutout(mask, 0, 0), Cutout(mask, 0, 15)]
        scores, labels = np.array([0.9, 0.6], np.float32), np.array([0, 1])
        fused = paint(cutouts, scores, labels, semantic, **self.config.model.fusion.model_dump())
        boxes = np.array([[0, 0, 30, 20], [15, 0, 45, 20]], np.float32)
        panoptic = self.categories.to_dataset(fused)
        return Output(boxes, scores, labels, cutouts, semantic, panoptic, None, None)


@dataclass
class Answer:
    """The answer of a server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A model that is served on a port of this machine."""

    model: StaticModel
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes | None))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@contextmanager
def serving(limits: Limits) -> Iterator[Served]:
    """Serve a `StaticModel` in a thread."""
    model = StaticModel()
    with listening("127.0.0.1", 0) as listener:
        server = web_server(cast(PicturePredictor, model), "static <model>", limits)
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
        thread.start()
        yield Served(model, listener.getsockname()[1])
        model.gate.set()
        server.should_exit = True
        thread.join()


def jpeg(width: int = 60, height: int = 40, ending: str = ".jpg") -> bytes:
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(ending, picture)[1].tobytes()
