"""Quantize the graph of an exported model to int8 after training; the parts that hurt, as measured, stay in float32."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import nn

from panoptic_blend.deploy.engines import Graph, open_graph
from panoptic_blend.deploy.manifest import GRAPH_FILES, Engine, Quantization
from panoptic_blend.deploy.predictor import ExportedPredictor, load
from panoptic_blend.export.int8_onnx import OnnxInt8
from panoptic_blend.export.int8_openvino import OpenVinoInt8
from panoptic_blend.export.int8_parts import Int8Graph
from panoptic_blend.formats.images import Picture
from panoptic_blend.machine import cores
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, class_quality
from panoptic_blend.prediction.find_pictures import find_pictures
from panoptic_blend.prediction.given_pictures import picture_of
from panoptic_blend.structures import PanopticMap, Progress

HURTS = 1.0
"""A part stays in float32 if this raises PQ of the int8 maps against those of float32 by so many percent."""

MEASURED = 32
"""The largest number of calibration pictures on which the parts are measured."""


def calibration_pictures(source: Path, split: str, number: int) -> list[Path]:
    """At most ``number`` pictures of a folder, or of a split of a data set, evenly spread over their sorted paths.

    Raises:
        PanopticBlendError: there is no such folder, or it has no pictures.
    """
    folder = source / split if (source / "annotations").is_dir() else source
    found, _ = find_pictures([folder], recursive=True)
    paths = [picture.path for picture in found if isinstance(picture.path, Path)]
    places = np.linspace(0, len(paths) - 1, min(number, len(paths))).round().astype(int)
    return [paths[place] for place in places]


def quantize(
    folder: Path, network: nn.Module, pictures: Sequence[Path], progress: Progress | None = None
) -> Quantization:
    """Replace the graph in an exported folder by one in int8, but not its manifest.

    All layers are quantized, with weights per channel; then every part of the network is set back to float32 once,
    alone, to see what it costs. Pictures and layers have an order, so that the same weights and pictures give the same
    graph.

    Args:
        folder: with the graph in float32.
        network: the network of the graph, whose weights show which layers make up a part.
        pictures: for the ranges of activations, prepared as the runtime does.
        progress: called with the number of graphs measured so far, and the number of all.

    Raises:
        PanopticBlendError: a picture cannot be read.
    """
    predictor = load(folder)
    int8, files = predictor.manifest.model_copy(update={"precision": "int8"}), GRAPH_FILES[predictor.manifest.engine]
    images = [predictor.prepare(picture_of(path)) for path in pictures]
    graph = _FORMATS[int8.engine](folder / files[0], network, images, predictor.pixels)
    few = images[:: -(-len(images) // MEASURED)]
    truth = [predictor.run(image, image.shape[:2]).panoptic for image in few]
    trials = count(1)

    def agreement(float32: Collection[str]) -> float:
        graph.write(float32, target / files[0])
        quality = PanopticQuality(predictor.categories)
        for expected, found in zip(truth, _maps(predictor, open_graph(target, int8, cores()), few), strict=True):
            quality.update(expected, found)
        if progress:
            progress(next(trials), len(graph.parts) + 2)
        return pooled(quality)

    with TemporaryDirectory(dir=folder) as temporary:
        target = Path(temporary)
        reached, gains = measured(graph.parts, agreement)
        float32 = tuple(part for part, gain in gains.items() if gain >= HURTS)
        final = agreement(float32)
        for name in files:
            (target / name).replace(folder / name)
    return Quantization(pictures=len(images), float32=float32, all_int8=reached, gains=gains, agreement=final)


_FORMATS: dict[Engine, type[Int8Graph]] = {"onnx": OnnxInt8, "openvino": OpenVinoInt8}


def measured(parts: Iterable[str], agreement: Callable[[Collection[str]], float]) -> tuple[float, dict[str, float]]:
    """The agreement with no part in float32, and by how much it rises with each one, alone, in float32."""
    all_int8 = agreement(())
    return all_int8, {part: agreement([part]) - all_int8 for part in parts}


def lines(found: Quantization) -> list[str]:
    """What was measured, and which parts stayed in float32, to be printed."""
    gains = ", ".join(f"{part} {gain:+.1f}" for part, gain in found.gains.items())
    return [
        f"int8, {found.pictures} pictures: PQ {found.all_int8:.1f} of its maps against those of float32",
        f"with one part in float32: {gains}",
        f"in float32 ({HURTS:g} or more): {', '.join(found.float32) or 'none'}; PQ {found.agreement:.1f}",
    ]


def _maps(predictor: ExportedPredictor, graph: Graph, images: Iterable[Picture]) -> Iterator[PanopticMap]:
    """The maps of a graph, at the size of the ``images``."""
    for image in images:
        size = image.shape[0], image.shape[1]
        with graph(predictor.pixels(image)) as raw:
            yield predictor.outputs(raw, size, size).panoptic


def pooled(quality: PanopticQuality) -> float:
    """PQ in percent over the segments of all classes together: rare classes would make their mean jump."""
    classes = quality.compute().per_class.values()
    tp, fp, fn = (sum(int(each[name]) for each in classes) for name in ("tp", "fp", "fn"))
    return 100 * class_quality(sum(each["iou_sum"] for each in classes), tp, fp, fn)["pq"]
