"""``export.json``, which describes an exported model: its graph, its files, and all that must be known to run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from panoptic_blend.config.experiment import Config
from panoptic_blend.config.model_options import Model
from panoptic_blend.config.option_types import Count
from panoptic_blend.files import file_digest, inside, printable, require_file
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.structures import PanopticBlendError

MANIFEST = "export.json"
"""The file of an exported folder by which the folder is recognized."""

TOP_LAYER = "top_layer.npz"
"""The file with ``weight`` (K * M * M, channels, 3, 3) and ``bias`` of the layer that predicts attentions."""

Engine = Literal["onnx", "openvino"]
Precision = Literal["float32", "int8"]

GRAPH_FILES: dict[Engine, tuple[str, ...]] = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
"""The files of the graph of each engine; the engine is given the first."""

FIELDS = {"logits": "class", "distances": "left, top, right or bottom", "centerness": "one", "features": "channel"}
"""The outputs of the graph on every level, as in ``<level>_<field>``, and the meaning of their second axis.

A network with ``model.fcos.quality=joint`` has no centerness."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Positive = Annotated[float, Field(gt=0, le=1e6)]


class _Record(BaseModel):
    """A table of the file: frozen, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True)


class Source(_Record):
    """The weights that a model was exported from."""

    file: str
    """Name without folder, or the name of known weights."""
    sha256: Digest
    """Digest of the state dict (`checkpoints.digest.weights_digest`), whose norms are folded into convolutions."""


class Input(_Record):
    """The input of the graph: RGB from 0 to 255, padded at the bottom and right with the mean of each channel."""

    name: str = "pixels"
    batch: Count = 1
    """N, which is fixed."""
    multiple: Annotated[Count, Field(multiple_of=32)] = 32
    """Height and width are multiples of this."""
    minimum: Count = 32
    """Smallest height and width."""
    mean: tuple[Number, Number, Number]
    """By which the graph normalizes, of R, G and B in 0..255."""
    std: tuple[Positive, Positive, Positive]
    dtype: Literal["float32"] = "float32"
    layout: Literal["NCHW"] = "NCHW"


class Quantization(_Record):
    """What was measured when a graph was quantized: PQ in percent over the segments of all classes together.

    It compares the maps of an int8 graph with those of the float32 graph, on calibration pictures.
    """

    pictures: Count
    """The number of calibration pictures."""
    float32: tuple[str, ...]
    """The parts of the network that stayed in float32."""
    all_int8: float
    """PQ with every part in int8."""
    gains: dict[str, float]
    """By how much PQ rose with one part in float32, by part."""
    agreement: float
    """PQ of the graph that was written."""


class Manifest(_Record):
    """The content of ``export.json``. Values that contradict one another are refused."""

    format: Literal[1] = 1
    engine: Engine
    precision: Precision = "float32"
    quantization: Quantization | None = None
    """How the graph became int8; None in float32."""
    version: str
    """The version of the library that exported the model."""
    source: Source
    config: Config
    categories: Categories
    input: Input
    outputs: dict[str, str]
    """The outputs of the graph in their order, and the meaning of their axes; `output_axes` gives them."""
    levels: dict[str, Count]
    """Names and strides of the pyramid levels of the detector, finest first."""
    bottom_stride: Count
    """Stride of the bases."""
    semantic_stride: Count | None
    """Stride of the semantic logits; None without a semantic head."""
    files: dict[str, Digest]
    """SHA-256 of every other file of the folder."""

    @field_validator("categories", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        try:
            return value if isinstance(value, Categories) else Categories(value)
        except (PanopticBlendError, TypeError) as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        model, known = self.config.model, self.categories
        has_stuff = model.semantic.enabled
        if len(known.thing_ids) != model.num_things or (has_stuff and len(known.stuff_ids) != model.num_stuff):
            raise ValueError("the numbers of categories are not those of its config")
        if has_stuff != (self.semantic_stride is not None):
            raise ValueError("`semantic_stride` contradicts model.semantic.enabled")
        if len(self.levels) != len(model.fcos.size_limits) + 1:
            raise ValueError("`levels` contradict model.fcos.size_limits")
        strides = self.levels, self.bottom_stride, self.semantic_stride
        if list(self.outputs) != list(output_axes(*strides, has_quality=model.fcos.quality != "joint")):
            raise ValueError("`outputs` are not those of its levels")
        if (self.precision == "int8") != (self.quantization is not None):
            raise ValueError("`quantization` contradicts `precision`")
        if set(self.files) != set(file_names(self.engine, model)):
            raise ValueError("`files` are not those of its engine and config")
        return self

    def strides(self) -> dict[str, int]:
        """The stride of each output of the graph, by name."""
        found = {f"{level}_{field}": stride for level, stride in self.levels.items() for field in FIELDS}
        found["bases"] = self.bottom_stride
        if self.semantic_stride is not None:
            found["semantic_logits"] = self.semantic_stride
        return {name: found[name] for name in self.outputs}

    def record(self) -> dict[str, Any]:
        """The manifest as a record for JSON."""
        return {**self.model_dump(mode="json", exclude={"categories"}), "categories": self.categories.records()}


def file_names(engine: Engine, model: Model) -> tuple[str, ...]:
    """The files of an exported folder beside `MANIFEST`."""
    return (*GRAPH_FILES[engine], *((TOP_LAYER,) if model.blender.merge == "blend" else ()))


def output_axes(
    levels: Mapping[str, int], bottom_stride: int, semantic_stride: int | None, has_quality: bool = True
) -> dict[str, str]:
    """The outputs of a graph in their order, and the meaning of their axes in words; ``centerness`` if it is there."""

    def axes(second: str, stride: int) -> str:
        return f"image, {second}, row and column at stride {stride}, rounded up"

    named = {
        f"{level}_{field}": axes(second, stride)
        for level, stride in levels.items()
        for field, second in FIELDS.items()
        if has_quality or field != "centerness"
    }
    named["bases"] = axes("basis", bottom_stride)
    if semantic_stride is not None:
        named["semantic_logits"] = axes("some thing or stuff class", semantic_stride)
    return named


def is_exported(path: Path) -> bool:
    """Whether a path is a folder with an exported model."""
    return (path / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Read ``export.json`` of a folder, and check that every file it names is the one that was exported.

    Raises:
        PanopticBlendError: the file is missing or cannot be understood, or another file is missing or was changed.
    """
    path = folder / MANIFEST
    require_file(path, "give a folder that `panoptic-blend export` wrote")
    try:
        manifest = Manifest.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        problem = printable(f"{f'`{place}`: ' if place else ''}{first['msg']}", 300)
        raise PanopticBlendError(
            f"{path}: {problem}; was it written by another version? export the model anew"
        ) from None
    for name, expected in manifest.files.items():
        file = inside(folder, name)
        require_file(file, "the folder is not complete; export the model anew")
        if file_digest(file) != expected:
            raise PanopticBlendError(f"{file}: is not the file that {MANIFEST} describes; export the model anew")
    return manifest
