"""Quantize the graph of an exported model to int8 after training; the parts that hurt, as measured, stay in float32."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import redirect_stdout
from io import StringIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import nn

from panoptic_blend.deploy.engines import Graph, open_graph
from panoptic_blend.deploy.manifest import GRAPH_FILES, Quantization
from panoptic_blend.deploy.predictor import ExportedPredictor, load
from panoptic_blend.formats.images import Picture
from panoptic_blend.machine import cores
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, class_quality
from panoptic_blend.prediction.find_pictures import find_pictures
from panoptic_blend.prediction.given_pictures import picture_of
from panoptic_blend.structures import PanopticMap, Progress

PARTS = {
    "backbone": "backbone",
    "fpn": "fpn",
    "class tower": "instances.fcos.class_tower",
    "box tower": "instances.fcos.box_tower",
    "shared tower": "instances.fcos.shared_tower",
    "classes": "instances.fcos.class_logits",
    "boxes": "instances.fcos.distances",
    "centerness": "instances.fcos.centerness",
    "bottom": "instances.bottom",
    "semantic": "semantic",
}
"""The parts of a network that are quantized, or not, as a whole, and their modules."""

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
    """Replace the graph of OpenVINO in an exported folder by one in int8, but not its manifest.

    All layers are quantized, with weights per channel; then every part of `PARTS` is set back to float32 once, alone,
    to see what it costs. Pictures and layers have an order, so that the same weights and pictures give the same graph.

    Args:
        folder: with the graph in float32.
        network: the network of the graph, whose weights show which layers make up a part.
        pictures: for the ranges of activations, prepared as the runtime does.
        progress: called with the number of graphs measured so far, and the number of all.

    Raises:
        PanopticBlendError: a picture cannot be read.
    """
    import openvino

    predictor = load(folder)
    int8 = predictor.manifest.model_copy(update={"precision": "int8"})
    original = openvino.Core().read_model(folder / GRAPH_FILES["openvino"][0])
    layers = layers_of_parts(original, network)
    images = [predictor.prepare(picture_of(path)) for path in pictures]
    few = images[:: -(-len(images) // MEASURED)]
    truth = [predictor.run(image, image.shape[:2]).panoptic for image in few]
    trials = count(1)

    def agreement(parts: Sequence[str]) -> float:
        graph = all_int8.clone()
        set_back(graph, original, {name for part in parts for name in layers[part]})
        name_by_place(graph)
        openvino.save_model(graph, target / GRAPH_FILES["openvino"][0], compress_to_fp16=False)
        quality = PanopticQuality(predictor.categories)
        for expected, found in zip(truth, _maps(predictor, open_graph(target, int8, cores()), few), strict=True):
            quality.update(expected, found)
        if progress:
            progress(next(trials), len(layers) + 2)
        return pooled(quality)

    with TemporaryDirectory(dir=folder) as temporary:
        target = Path(temporary)
        all_int8 = _int8(original.clone(), predictor, images)
        reached, gains = measured(list(layers), agreement)
        float32 = tuple(part for part, gain in gains.items() if gain >= HURTS)
        final = agreement(float32)
        for name in GRAPH_FILES["openvino"]:
            (target / name).replace(folder / name)
    return Quantization(pictures=len(images), float32=float32, all_int8=reached, gains=gains, agreement=final)


def measured(parts: Iterable[str], agreement: Callable[[Sequence[str]], float]) -> tuple[float, dict[str, float]]:
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


def layers_of_parts(graph: Any, network: nn.Module) -> dict[str, list[str]]:
    """The names of the layers of each part in a graph of OpenVINO, which are recognized by their weights."""
    parts = {
        value.detach().numpy().tobytes(): part
        for name, value in network.named_parameters()
        if value.ndim >= 2
        for part, module in PARTS.items()
        if name.startswith(f"{module}.")
    }
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    for layer in graph.get_ordered_ops():
        if layer.get_type_name().endswith(("Convolution", "MatMul")):
            for part in {parts[data] for data in _constants(layer) if data in parts}:
                found[part].append(layer.get_friendly_name())
    return {part: names for part, names in found.items() if names}


def _constants(layer: Any) -> Iterator[bytes]:
    """The bytes of the constants that a layer reads, directly or in another shape."""
    for value in layer.input_values():
        node = value.get_node()
        while node.get_type_name() == "Reshape":
            node = node.input_value(0).get_node()
        if node.get_type_name() == "Constant":
            yield node.data.tobytes()


def _int8(graph: Any, predictor: ExportedPredictor, images: Sequence[Picture]) -> Any:
    """A graph of OpenVINO with all layers in int8: rounding of its activations and weights is part of the graph.

    Group norms stay in float32: in int8 they cost PQ and are slower.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else nncf reports its use to its makers
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # else it warns where there is no CUDA
    import nncf

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(StringIO()):  # progress bars
        return nncf.quantize(
            graph,
            nncf.Dataset(images, predictor.pixels),
            subset_size=len(images),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(types=["GroupNormalization"], validate=False),
        )


def set_back(graph: Any, original: Any, names: Set[str]) -> None:
    """Set the layers of some ``names`` in a quantized graph back to those of the ``original``."""
    known = {node.get_friendly_name(): node for node in original.get_ordered_ops()}
    for layer in graph.get_ordered_ops():
        if layer.get_friendly_name() not in names:
            continue
        rounded = layer.input_value(0).get_node()
        if rounded.get_type_name() == "FakeQuantize":
            layer.input(0).replace_source_output(rounded.input_value(0))
        before = known[layer.get_friendly_name()]
        for place in range(1, before.get_input_size()):
            if before.input_value(place).get_node().get_type_name() in ("Constant", "Reshape"):
                layer.input(place).replace_source_output(before.input_value(place))
        for reader in layer.output(0).get_target_inputs():
            _remove_correction(reader.get_node(), layer, known)


def _remove_correction(node: Any, layer: Any, known: Mapping[str, Any]) -> None:
    """Undo the change of the bias by which nncf makes up for the mean error of a layer, if ``node`` adds one."""
    if node.get_type_name() != "Add" or node.input_value(1).get_node().get_type_name() != "Constant":
        return
    if (before := known.get(node.get_friendly_name())) is not None:
        node.input(1).replace_source_output(before.input_value(1))
    else:  # the layer had no bias
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(layer.output(0))


def name_by_place(graph: Any) -> None:
    """Name all nodes of a graph by kind and place: OpenVINO numbers them over all graphs of a process."""
    graph.set_friendly_name("network")
    for place, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{place}")


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
