"""The web application: one model in memory, the endpoints of the page, and one for programs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TypeVar
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import panoptic_blend
from panoptic_blend.failures import in_one_line
from panoptic_blend.files import printable
from panoptic_blend.pages.pictures import encode_picture
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.prediction.protocol import PicturePredictor
from panoptic_blend.serve import downloads
from panoptic_blend.serve.bounded_queue import BoundedQueue
from panoptic_blend.serve.guard import Guard
from panoptic_blend.serve.incoming import decoded, fusion_settings, picture_name, read_body
from panoptic_blend.serve.kept_pictures import KeptPicture, KeptPictures
from panoptic_blend.serve.limits import Limits, RefusalError
from panoptic_blend.serve.page import page
from panoptic_blend.serve.replies import open_api, predict_reply
from panoptic_blend.structures import PanopticBlendError, PanopticMap

Content = TypeVar("Content")


class Server:
    """A model that is served under ``name``; `application` is what a web server runs.

    One picture at a time passes the network; fusing again and downloads have threads of their own, and none of them
    holds up the answers of the others.
    """

    def __init__(self, predictor: PicturePredictor, name: str, limits: Limits) -> None:
        self._predictor, self._name, self._limits = predictor, name, limits
        self._categories, self._settings = predictor.categories, predictor.config.model.fusion
        self._network = BoundedQueue(1, limits.queue, limits.seconds)
        self._others = BoundedQueue(2, limits.queue, limits.seconds)
        self._kept = KeptPictures(int(limits.kept_megabytes * 10**6))
        self._page = page(name, self._categories, self._settings)

    def application(self) -> ASGIApp:
        """The application with all routes, whose answers to errors are JSON with one line."""
        one = "/pictures/{key}"
        routes = [
            Route("/", self._show_page),
            Route("/health", self._health),
            Route("/model", self._model),
            Route("/openapi.json", self._open_api),
            Route("/predict", self._predict, methods=["POST"]),
            Route("/pictures", self._add, methods=["POST"]),
            Route(one, self._drop, methods=["DELETE"]),
            Route(f"{one}/photo.jpg", self._photo),
            Route(f"{one}/view", self._view),
            Route(f"{one}/{{file}}", self._download),
        ]
        answers = {RefusalError: _refused, HTTPException: _unknown, PanopticBlendError: _unusable, Exception: _failed}
        return Guard(Starlette(routes=routes, exception_handlers=answers, lifespan=self._lifespan), self._limits.hosts)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._network.close()
        self._others.close()

    async def _show_page(self, _: Request) -> Response:
        policy = {"Content-Security-Policy": "frame-ancestors 'none'"}  # the rest is in the page
        return HTMLResponse(self._page, headers=policy)

    async def _health(self, _: Request) -> Response:
        waiting = {"running_or_waiting": self._network.taken, "bound": self._network.bound}
        kept = {"pictures": len(self._kept), "megabytes": round(self._kept.bytes / 1e6, 1)}
        return JSONResponse({"status": "ok", "model": self._name, "queue": waiting, "kept": kept})

    async def _model(self, _: Request) -> Response:
        limits = asdict(self._limits)
        del limits["hosts"]
        content = {"model": self._name, "version": panoptic_blend.__version__, "categories": self._categories.records()}
        return JSONResponse(content | {"settings": self._settings.model_dump(), "limits": limits})

    async def _open_api(self, _: Request) -> Response:
        return JSONResponse(open_api())

    async def _predict(self, request: Request) -> Response:
        settings = fusion_settings(request, self._settings)

        def predicted(data: bytes) -> bytes:
            found = self._predictor.output(decoded(data, self._limits)).arrays()
            fusion = settings.model_dump()
            panoptic = paint(found.cutouts, found.scores, found.labels, found.semantic, **fusion)
            return predict_reply(self._categories.to_dataset(panoptic), settings)

        async with self._network.place():
            data = await read_body(request, self._limits)
            reply = await self._network.run(lambda: predicted(data))
        return Response(reply, media_type="application/json")

    async def _add(self, request: Request) -> Response:
        name = picture_name(request)

        def kept(data: bytes) -> KeptPicture:
            return KeptPicture.packed(name, data, self._predictor.output(decoded(data, self._limits, name)))

        async with self._network.place():
            data = await read_body(request, self._limits)
            picture = await self._network.run(lambda: kept(data))
        key = self._kept.add(picture)
        height, width = picture.size
        return JSONResponse({"id": key, "name": name, "width": width, "height": height}, 201)

    async def _drop(self, request: Request) -> Response:
        self._kept.drop(request.path_params["key"])
        return Response(status_code=204)

    async def _photo(self, request: Request) -> Response:
        picture = self._kept.get(request.path_params["key"])

        def photo() -> bytes:
            return encode_picture(decoded(picture.data, self._limits), downloads.VIEW_SIDE).photo

        return Response(await self._other(photo), media_type="image/jpeg")

    async def _view(self, request: Request) -> Response:
        _, fused = self._fusing(request)
        reply = await self._other(lambda: json.dumps(downloads.view(fused(), self._categories)))
        return Response(reply, media_type="application/json")

    async def _download(self, request: Request) -> Response:
        picture, fused = self._fusing(request)
        file = downloads.FILES.get(request.path_params["file"])
        if file is None:
            raise HTTPException(404)

        def content() -> bytes:
            source = downloads.Source(
                picture.name, lambda: decoded(picture.data, self._limits), fused(), self._categories
            )
            return file.make(source)

        name = quote(file.name_for(picture.name), safe="")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        return Response(await self._other(content), media_type=file.media_type, headers=headers)

    def _fusing(self, request: Request) -> tuple[KeptPicture, Callable[[], PanopticMap]]:
        """The picture of a request, and a function that fuses it with the settings of the request."""
        picture = self._kept.get(request.path_params["key"])
        settings = fusion_settings(request, self._settings)
        return picture, lambda: picture.fused(settings, self._categories)

    async def _other(self, job: Callable[[], Content]) -> Content:
        """The result of a job that does not need the network."""
        async with self._others.place():
            return await self._others.run(job)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return JSONResponse({"error": error.message}, error.status, headers)


def _unknown(request: Request, error: Exception) -> Response:
    """An address or a method that there is not."""
    assert isinstance(error, HTTPException)
    asked = printable(f"{request.method} {request.url.path}", 200)
    found = f"{asked}: {error.detail.lower()}; /openapi.json describes what there is"
    return JSONResponse({"error": found}, error.status_code, error.headers)


def _unusable(_: Request, error: Exception) -> Response:
    """A picture that the model cannot take."""
    return JSONResponse({"error": str(error)}, 422)


def _failed(_: Request, error: Exception) -> Response:
    """An error that is not the client's; the server goes on."""
    return JSONResponse({"error": str(in_one_line(error))}, 500)
