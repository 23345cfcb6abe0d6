"""Small valid files of everything that is read with torch: weights, states, journals, logs and caches."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import torch

from evaluation.fuzz.readers import CATEGORIES
from evaluation.fuzz.runner import Reader
from panoptic_blend.checkpoints.inspection import inspect_weights
from panoptic_blend.checkpoints.io import is_checkpoint, read_checkpoint, read_figure, save_checkpoint
from panoptic_blend.checkpoints.reading import read_weights
from panoptic_blend.checkpoints.states import newest_state, save_state
from panoptic_blend.config.experiment import load_config
from panoptic_blend.formats.categories import Categories
from panoptic_blend.prediction.journal import Journal
from panoptic_blend.structures import Cutout, PanopticMap, Runs, Segment
from panoptic_blend.sweep.cache import FusionCache, FusionSample
from panoptic_blend.training.log import read_log

_IDENTITY = {"weights": "00ff", "options": {"model": {"num_things": 1}}, "input": {"kind": "folder"}}


def write_checkpoint(folder: Path) -> None:
    """Write one of our checkpoints."""
    state = {"a.weight": torch.ones(3, 2), "a.bias": torch.zeros(3, dtype=torch.float16)}
    config, categories = load_config("demo/shapes_r18"), Categories(CATEGORIES)
    save_checkpoint(folder / "a.safetensors", state, config, categories, {"pq": 0.5})


def read_checkpoints(folder: Path) -> None:
    """What every command with a checkpoint reads."""
    path = folder / "a.safetensors"
    if is_checkpoint(path):
        read_figure(path, "pq")
        read_checkpoint(path)


def write_weights(folder: Path) -> None:
    """Write foreign weights: a state dict of torch, an old one, and detectron2's pickle of arrays."""
    state = {"backbone.conv.weight": torch.ones(2, 3), "backbone.conv.bias": torch.zeros(2, dtype=torch.int64)}
    torch.save(state, folder / "zip.pth")
    torch.save({"model": state}, folder / "old.pth", _use_new_zipfile_serialization=False)
    arrays = {"model": {name: value.numpy() for name, value in state.items()}, "__author__": "x"}
    (folder / "arrays.pkl").write_bytes(pickle.dumps(arrays, protocol=2))


def read_foreign(folder: Path) -> None:
    """What every command with weights reads; the first damaged file is an error."""
    for path in sorted(folder.iterdir()):
        read_weights(path)


def inspect(folder: Path) -> None:
    """What ``weights inspect`` does."""
    for path in sorted(folder.iterdir()):
        inspect_weights(path)


def write_states(folder: Path) -> None:
    """Write two states of a run."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    for iteration in (10, 20):
        state = {"model": {"a": parameter.detach()}, "optimizer": optimizer.state_dict(), "scaler": {}}
        save_state(folder, state | {"iteration": iteration, "fixed": {"seed": 0, "options": {"train": [1, 2.5, "x"]}}})


def read_states(folder: Path) -> None:
    """What a resumed run reads."""
    newest_state(folder, lambda line: None)


def write_journal(folder: Path) -> None:
    """Write the journal of a prediction of two pictures."""
    with Journal.open(folder, _IDENTITY, [], overwrite=False) as journal:
        for number in (1, 2):
            written = folder / f"{number}.png"
            written.write_bytes(b"png")
            infos = [{"id": 1, "category_id": 1, "area": 4, "bbox": [0, 0, 2, 2]}]
            image = {"id": number, "file_name": f"{number}.jpg", "height": 2, "width": 2}
            annotation = {"image_id": number, "file_name": written.name, "segments_info": infos}
            journal.add(f"{number}.jpg", [3, 10**18], [written], image, annotation)


def read_journal(folder: Path) -> None:
    """What a continued prediction reads."""
    with Journal.open(folder, _IDENTITY, [folder / "x.json"], overwrite=False) as journal:
        journal.require_sources(["1.jpg", "2.jpg"])
        for number in (1, 2):
            journal.find(f"{number}.jpg", [3, 10**18])


def write_log(folder: Path) -> None:
    """Write the log of a run."""
    records = [{"iteration": 1, "loss": 2.5, "seconds": 0.1}, {"iteration": 2, "PQ": 1.0, "PQ_Th": 1.5}]
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))


def read_logs(folder: Path) -> None:
    """What the curves are drawn from."""
    read_log(folder)


def write_cache(folder: Path) -> None:
    """Write the cache of a sweep over one image."""
    ids = np.array([[0, 1, 1], [2, 2, 2]], np.int32)
    truth = PanopticMap(ids, [Segment(1, 1, True, None, 0, None), Segment(2, 7, False, None, 0, None)])
    sample = FusionSample(
        scores=np.array([0.5], np.float32),
        labels=np.array([0]),
        cutouts=[Cutout(np.ones((2, 2), np.bool_), 0, 1)],
        semantic=Runs.from_pixels(np.array([[0, 1, 1], [1, 1, 1]])),
        truth=truth.runs(),
        segments=truth.segments,
    )
    (folder / "0.npz").write_bytes(sample.pack())


def read_cache(folder: Path) -> None:
    """What a sweep checks before it fuses the outputs of a model again."""
    with zipfile.ZipFile(folder / "cache.zip", "w") as archive:
        archive.write(folder / "0.npz", "0.npz")
    cache = FusionCache(folder / "cache.zip", [0])
    if cache.is_whole():
        list(cache.read([0]))


READERS = (
    Reader("checkpoint", write_checkpoint, read_checkpoints),
    Reader("weights", write_weights, read_foreign),
    Reader("inspect-weights", write_weights, inspect),
    Reader("inspect-checkpoint", write_checkpoint, inspect),
    Reader("states", write_states, read_states),
    Reader("journal", write_journal, read_journal, damage="*.jsonl"),
    Reader("log", write_log, read_logs),
    Reader("cache", write_cache, read_cache),
)
