"""Read what a request brings: the bytes of a picture, its name, and the settings of the fusion."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import PurePath

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from panoptic_blend.config.model_options import Fusion
from panoptic_blend.files import printable
from panoptic_blend.formats.headers import stored_size, undecodable
from panoptic_blend.formats.images import Picture, decode_picture
from panoptic_blend.serve.limits import Limits, RefusalError
from panoptic_blend.structures import PanopticBlendError

_MOST_BYTES = 180
"""The longest name of a picture; file systems allow 255 bytes, of which other names of its files need some."""
_HOW = "send the bytes of one picture file as the body, as `curl --data-binary @photo.jpg` does"


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body of a request, which holds one picture file; never more than ``limits.megabytes`` are in memory.

    Raises:
        RefusalError: it is too large, empty, a form, or does not arrive in time.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise RefusalError(415, f"forms are not read; {_HOW}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RefusalError(415, "compressed bodies are not read; send the picture file as it is")
    body, limit = bytearray(), int(limits.megabytes * 10**6)
    too_large = RefusalError(413, f"more than {limits.megabytes:g} MB; send a smaller picture")
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise RefusalError(408, f"the picture did not arrive within {limits.seconds:g} s; send it again") from None
    except ClientDisconnect:
        raise RefusalError(400, "the connection was closed before the end; send the picture again") from None
    if not body:
        raise RefusalError(400, f"no picture; {_HOW}")
    return bytes(body)


def decoded(data: bytes, limits: Limits, name: str = "the picture") -> Picture:
    """Decode a picture file, whose header is checked before anything is decoded; raises `RefusalError`."""
    size = stored_size(data)
    if size is not None and size[0] * size[1] > limits.megapixels * 10**6:
        seen = f"{name}: {size[1]} x {size[0]} pixels"
        raise RefusalError(413, f"{seen}, more than {limits.megapixels:g} megapixels; make it smaller")
    try:
        if size is None:
            raise undecodable(name)
        return decode_picture(data, name)
    except PanopticBlendError as error:
        raise RefusalError(400, str(error)) from None


def picture_name(request: Request) -> str:
    """The name of the picture file by the query, without folders; ``picture.jpg`` if there is none."""
    given = PurePath(request.query_params.get("name", "").replace("\\", "/")).name.lstrip(".")
    plain = printable(given).replace("\\", "_")
    return plain.encode()[-_MOST_BYTES:].decode(errors="ignore") or "picture.jpg"


def fusion_settings(request: Request, default: Fusion) -> Fusion:
    """The settings of the fusion in the query, and the ``default`` for those that it does not have."""
    given: Mapping[str, str] = request.query_params
    try:
        return Fusion.model_validate(default.model_dump() | {key: given[key] for key in given if key != "name"})
    except ValidationError as error:
        found = error.errors()[0]
        names = " or ".join(Fusion.model_fields)
        where = printable(".".join(map(str, found["loc"])), 100)
        raise RefusalError(400, f"{where}: {found['msg'].lower()}; give {names}") from None
