"""A cache of model outputs, in one file, from which a data set can be fused with any settings."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from panoptic_blend.config.model_options import Calibration
from panoptic_blend.config.precisions import Precision
from panoptic_blend.data.loader import evaluation_samples
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.transforms import Resizing
from panoptic_blend.deploy.predictor import ExportedPredictor
from panoptic_blend.failures import doing
from panoptic_blend.files import part_of
from panoptic_blend.inference.forward import run_network
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.calibration import calibrate
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.prediction.sharing import ALONE, Alone, Shard
from panoptic_blend.structures import Cutout, Output, PanopticMap, Progress, Runs, Segment, as_array

SOURCES = (
    *("structures.py", "instances.py", "extras.py", "files.py", "failures.py", "listing.py", "machine.py", "config"),
    *(
        "runs.py",
        "webassembly.py",
        "terminal.py",
        "table_formats.py",
        "formats",
        "metrics",
        "drawing",
        "postprocessing",
        "prediction",
        "deploy",
        "download",
        "models",
        "data",
        "checkpoints",
        "runtime",
        "inference",
    ),
    "sweep/cache.py",
)
"""Modules of this library that the content of a cache depends on: all that `cache` imports, also indirectly."""

_IDENTITY = "identity.json"


@dataclass(frozen=True, eq=False)
class FusionSample:
    """The outputs of the model for one image (H, W) before fusion, and its ground truth.

    ``scores`` (D,) float32, ``labels`` (D,) thing labels and D ``cutouts`` are its detections. The values of
    ``semantic`` are semantic classes; those of ``truth`` are positions in ``segments`` plus 1, or 0 for void. Areas and
    boxes of the segments are not kept.
    """

    scores: npt.NDArray[np.floating]
    labels: npt.NDArray[np.integer]
    cutouts: list[Cutout]
    semantic: Runs
    truth: Runs
    segments: list[Segment]

    @classmethod
    def from_output(cls, output: Output[Any], truth: PanopticMap) -> FusionSample:
        """Create a sample from an output that has the size of ``truth``."""
        return cls(
            as_array(output.scores).astype(np.float32),
            as_array(output.labels),
            output.cutouts,
            Runs.from_pixels(as_array(output.semantic)),
            truth.runs(),
            truth.segments,
        )

    def pack(self) -> bytes:
        """Serialize the sample as an .npz file, with masks packed to bits."""
        windows = [(c.top, c.left, *c.mask.shape) for c in self.cutouts]
        arrays = {
            "scores": self.scores,
            "labels": self.labels.astype(np.uint8),
            "windows": np.array(windows, dtype=np.int32).reshape(-1, 4),
            "masks": np.packbits(np.concatenate([np.zeros(0, np.bool_), *(c.mask.ravel() for c in self.cutouts)])),
            "size": np.array(self.truth.shape),
            "semantic": self.semantic.values.astype(np.uint8),
            "semantic_starts": self.semantic.starts,
            "truth": self.truth.values.astype(np.int32),
            "truth_starts": self.truth.starts,
            "segments": np.array([(s.category, s.is_thing, s.is_crowd) for s in self.segments], np.int64).reshape(
                -1, 3
            ),
        }
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()

    @classmethod
    def unpack(cls, content: bytes) -> FusionSample:
        """Deserialize the result of `pack`."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            a: dict[str, npt.NDArray[Any]] = dict(arrays)
        shape = int(a["size"][0]), int(a["size"][1])
        # without windows, np.split still returns one empty part, which the zip below ignores
        areas = a["windows"][:, 2:].prod(axis=1, dtype=np.int64)
        masks = np.split(np.unpackbits(a["masks"], count=int(areas.sum())).astype(np.bool_), np.cumsum(areas)[:-1])
        return cls(
            a["scores"],
            a["labels"],
            [Cutout(m.reshape(h, w), y, x) for (y, x, h, w), m in zip(a["windows"].tolist(), masks, strict=False)],
            Runs(a["semantic"], a["semantic_starts"], shape),
            Runs(a["truth"], a["truth_starts"], shape),
            [
                Segment(i, category, bool(is_thing), None, 0, None, bool(is_crowd))
                for i, (category, is_thing, is_crowd) in enumerate(a["segments"].tolist(), start=1)
            ],
        )


class FusionCache:
    """The `FusionSample` of every image of a data set, in its order; picklable. `open_cache` creates it.

    Args:
        members: the images, by their numbers in the data set.
        calibration: applied to the scores.
    """

    def __init__(self, path: Path, members: Sequence[int], calibration: Calibration | None = None) -> None:
        self.path, self._members, self._calibration = path, members, calibration or Calibration()

    def __len__(self) -> int:
        return len(self._members)

    def part(self, members: Sequence[int], calibration: Calibration) -> FusionCache:
        """The images ``members``, with scores as of a model with this calibration.

        The scores of the model that was run must not be calibrated already.
        """
        return FusionCache(self.path, [self._members[member] for member in members], calibration)

    def read(self, indices: Iterable[int]) -> Iterator[FusionSample]:
        """Read the samples at ``indices``."""
        with zipfile.ZipFile(self.path) as archive:
            for index in indices:
                sample = FusionSample.unpack(archive.read(_member(self._members[index])))
                scores = calibrate(torch.from_numpy(sample.scores), **self._calibration.model_dump())
                yield replace(sample, scores=scores.numpy())

    def is_whole(self) -> bool:
        """Whether every sample can be read."""
        try:
            return sum(1 for _ in self.read(range(len(self)))) == len(self)
        except Exception:  # a damaged archive makes zipfile and numpy raise anything
            return False


def open_cache(
    path: Path,
    predictor: Predictor | ExportedPredictor,
    dataset: PanopticDataset,
    progress: Progress,
    say: Callable[[str], None] = lambda remark: None,
    team: Alone = ALONE,
) -> FusionCache:
    """Open the cache at ``path``, or run the model over the data set to create it, atomically.

    An existing cache is reused if it is undamaged and its `identity` is the same.

    Args:
        progress: called with the number of images done and the total number while the model runs.
        say: called with a line that says whether the cache is reused, or why the model is run.
        team: the processes that share the images.

    Raises:
        PanopticBlendError: an image cannot be read.
    """
    expected = identity(predictor, dataset)
    reason = team.from_first(lambda: _reason_to_run(path, len(dataset), expected))
    if team.is_first:
        say(f"{path}: reused" if reason is None else f"{path}: {reason}, so the model is run")
    if reason is not None:
        with part_of(path) as part:
            parts = team.share(len(dataset), partial(_run, part, predictor, dataset), progress)
            team.from_first(lambda: _join(parts, expected, path))
    return FusionCache(path, range(len(dataset)))


def _run(
    path: Path, predictor: Predictor | ExportedPredictor, dataset: PanopticDataset, shard: Shard, show: Progress
) -> Path:
    """Run the model on a shard of the images and write the samples to ``path``."""
    own, resizing = shard.range_of(len(dataset)), Resizing(**predictor.config.test.model_dump())
    model, precision = _network(predictor)
    samples = evaluation_samples(dataset, resizing, predictor.config.data.workers, shard)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for done, (index, sample) in enumerate(zip(own, samples, strict=True), start=1):
            with doing(f"running the model on {sample.file_name}", lower="test.short_side or test.long_side"):
                truth = sample.panoptic_truth()
                output = run_network(model, sample.image, sample.size, predictor.categories, precision)
                file.writestr(_member(index), FusionSample.from_output(output, truth).pack())
            show(done, len(own))
    return path


def _network(predictor: Predictor | ExportedPredictor) -> tuple[PanopticBlend | ExportedPredictor, Precision]:
    """What `run_network` takes, and its arithmetic."""
    if isinstance(predictor, ExportedPredictor):
        return predictor, "32-true"
    return predictor.model, predictor.precision


def _join(parts: Sequence[Path], expected: Mapping[str, str], path: Path) -> None:
    """Make one cache of the parts that the processes have written, in the first of them."""
    with zipfile.ZipFile(parts[0], "a", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for part in parts[1:]:
            with zipfile.ZipFile(part) as other:
                for name in other.namelist():
                    file.writestr(name, other.read(name))
        file.writestr(_IDENTITY, json.dumps(expected))
    parts[0].replace(path)


def identity(predictor: Predictor | ExportedPredictor, dataset: PanopticDataset) -> dict[str, str]:
    """Digests of everything that a cache depends on, by name; the fusion settings are not included."""
    options = predictor.config.model_dump(mode="json", include={"model", "test"})
    del options["model"]["fusion"]
    made_by = predictor.identity()
    options |= {name: made_by[name] for name in ("device", "precision")}
    return {
        "weights": _digest(json.dumps(made_by["weights"]).encode()),
        "config": _digest(json.dumps(options, sort_keys=True).encode()),
        "data": _digest(*dataset.version()),
        "library": _digest(torch.__version__.encode(), *(path.read_bytes() for path in sources())),
    }


def sources() -> list[Path]:
    """The files of `SOURCES`; another version of one of these may give another cache.

    Raises:
        FileNotFoundError: an entry of `SOURCES` does not exist or has no modules.
    """
    library = Path(__file__).parents[1]
    found = []
    for name in SOURCES:
        path = library / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            raise FileNotFoundError(f"{path}: no such module; correct SOURCES, or caches of two versions look the same")
        found += files
    return found


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _reason_to_run(path: Path, number: int, expected: Mapping[str, str]) -> str | None:
    """Why the file cannot be reused; None if it can."""
    if not path.exists():
        return "does not exist yet"
    try:
        with zipfile.ZipFile(path) as archive:
            found = json.loads(archive.read(_IDENTITY))
    except Exception:  # a damaged archive makes zipfile raise anything
        return "is damaged"
    differing = [name for name in expected if not isinstance(found, dict) or found.get(name) != expected[name]]
    if differing:
        return f"was made with other {' and '.join(differing)}"
    return None if FusionCache(path, range(number)).is_whole() else "is damaged"


def _member(index: int) -> str:
    return f"{index}.npz"
