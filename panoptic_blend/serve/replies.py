"""The JSON that the endpoints answer, and its description as OpenAPI."""

from __future__ import annotations

import base64
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

import panoptic_blend
from panoptic_blend.config.model_options import Fusion
from panoptic_blend.formats.images import encode_segment_ids
from panoptic_blend.formats.panoptic_writer import segment_records
from panoptic_blend.structures import PanopticMap


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class SegmentReply(_Reply):
    """One segment, as in the ``segments_info`` of COCO panoptic."""

    id: int = Field(ge=1)
    """Its value in the PNG."""
    category_id: int
    """Its class, one of the ``categories`` of ``/model``."""
    iscrowd: int
    bbox: tuple[int, int, int, int]
    """Left, top, width and height in pixels."""
    area: int
    """Number of pixels."""
    score: float | None = None
    """Confidence from 0 to 1; stuff has none."""


class PredictReply(_Reply):
    """The panoptic map of a picture."""

    width: int
    height: int
    settings: Fusion
    """The settings by which instances and stuff were fused."""
    segments_info: list[SegmentReply]
    png: str
    """The map as a COCO panoptic PNG in base64: the id of the segment of a pixel is R + 256 G + 65536 B, 0 for none."""


class ErrorReply(_Reply):
    """The answer to a request that cannot be fulfilled."""

    error: str
    """What is wrong and what to do, in one line."""


def predict_reply(panoptic: PanopticMap, settings: Fusion) -> bytes:
    """The JSON of `PredictReply`; stuff has no key ``score``."""
    height, width = panoptic.segment_ids.shape
    reply = PredictReply(
        width=width,
        height=height,
        settings=settings,
        segments_info=[SegmentReply.model_validate(record) for record in segment_records(panoptic)],
        png=base64.b64encode(encode_segment_ids(panoptic.segment_ids)).decode(),
    )
    return reply.model_dump_json(exclude_none=True).encode()


def open_api() -> dict[str, Any]:
    """The endpoint for programs, ``/predict``, in the form of OpenAPI 3.1."""
    replies: list[type[BaseModel]] = [PredictReply, ErrorReply]
    modes = [(reply, _MODE) for reply in replies]
    _, schemas = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    settings = Fusion.model_json_schema()["properties"]
    parameters = [{"name": name, "in": "query", "schema": schema} for name, schema in settings.items()]
    return {
        "openapi": "3.1.0",
        "info": {"title": "panoptic-blend", "version": panoptic_blend.__version__},
        "paths": {
            "/predict": {
                "post": {
                    "summary": "The panoptic map of a picture, of which nothing is kept",
                    "parameters": parameters,
                    "requestBody": {"required": True, "content": {"image/*": {}, "application/octet-stream": {}}},
                    "responses": {
                        "200": _response("PredictReply", "The map"),
                        **{status: _response("ErrorReply", meaning) for status, meaning in _ERRORS.items()},
                    },
                }
            }
        },
        "components": {"schemas": schemas["$defs"]},
    }


_MODE: Literal["serialization"] = "serialization"
_ERRORS = {
    "400": "Not a picture, or damaged; an unknown setting",
    "403": "Called by a foreign name, or by the page of another site",
    "408": "The picture did not arrive in time",
    "413": "The file or the picture is too large",
    "415": "A form or a compressed body",
    "503": "Too many requests wait; Retry-After has the seconds to wait",
    "504": "No answer in time",
}


def _response(name: str, meaning: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}
