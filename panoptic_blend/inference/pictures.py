"""Predict panoptic maps of pictures: COCO results, and the maps drawn over the pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from panoptic_blend.drawing.overlay import draw
from panoptic_blend.files import require_no_overwrite
from panoptic_blend.formats.images import PICTURE_SUFFIXES, Picture, read_picture, write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.inference.journal import Journal, Record, file_stamp, prediction_identity
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.machine import overlapped
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Progress


@dataclass(frozen=True)
class _PictureJob:
    """One picture to predict: its image id, its path, and the paths of its PNG and its drawing.

    ``source`` and ``stamp`` identify it in the journal.
    """

    image_id: int
    path: Path
    png: Path
    drawing: Path
    source: str
    stamp: list[int]


def predict_pictures(
    predictor: Predictor, inputs: Sequence[Path], output: Path, progress: Progress, overwrite: bool = False
) -> int:
    """Write ``output``/panoptic.json, its PNGs in panoptic/, and drawings in pictures/; return the number of pictures.

    If the names of all pictures are different numbers, as in COCO, these are their image ids; otherwise the ids are
    1, 2, ... On a GPU pictures are read, predicted and written in parallel. Images that an interrupted run has finished
    are not predicted again (see `Journal`).

    Args:
        inputs: pictures, and folders with pictures.
        progress: called with the number of pictures done and the total number.
        overwrite: replace results in ``output`` that were made with other weights, options or pictures.

    Raises:
        PanopticBlendError: ``output`` has other results and ``overwrite`` is false; or pictures cannot be read, which
            is reported after all others are written.
    """
    jobs = _jobs(list(find_pictures(inputs)), output)
    written = [output / "panoptic.json", *(job.png for job in jobs), *(job.drawing for job in jobs)]
    require_no_overwrite(written, [job.path for job in jobs])
    journal = Journal.open(output, prediction_identity(predictor, {"kind": "pictures"}), written, overwrite)
    journal.require_sources(job.source for job in jobs)
    kept = {job.source: entry for job in jobs if (entry := journal.find(job.source, job.stamp))}
    records = {source: (entry.image, entry.annotation) for source, entry in kept.items()}
    with journal, PanopticWriter(written[0], categories=predictor.categories) as writer:
        steps, depth = _PictureSteps(predictor, journal, writer), queue_depth(predictor)
        progress(len(kept), len(jobs))
        left = [job for job in jobs if job.source not in kept]
        with closing(overlapped(steps.read(left), steps.predict, steps.write, queue_depth=depth)) as finished:
            for job, image, annotation in finished:
                records[job.source] = image, annotation
                progress(len(records) + len(steps.read_errors), len(jobs))
        for job in jobs:
            if job.source in records:
                image, annotation = records[job.source]
                writer.append([image | {"id": job.image_id}], [annotation | {"image_id": job.image_id}])
    problems = steps.read_errors | steps.drawing_errors
    skipped = [problems[job.source] for job in jobs if job.source in problems]
    if skipped:
        raise PanopticBlendError(f"{skipped[0]} ({len(skipped)} of {len(jobs)} pictures skipped; the rest is written)")
    return len(jobs)


def queue_depth(predictor: Predictor) -> int:
    """The queue depth of `overlapped`: 3 on a GPU; 0 on the CPU, where the network itself keeps all cores busy."""
    return 0 if predictor.model.pixel_mean.device.type == "cpu" else 3


class _PictureSteps:
    """The three steps from a picture to its results: read, predict, write.

    ``read_errors`` and ``drawing_errors`` are the errors of pictures that cannot be read or drawn, by source.
    """

    def __init__(self, predictor: Predictor, journal: Journal, writer: PanopticWriter) -> None:
        self._predictor, self._journal, self._writer = predictor, journal, writer
        self.read_errors: dict[str, PanopticBlendError] = {}
        self.drawing_errors: dict[str, PanopticBlendError] = {}

    def read(self, jobs: Iterable[_PictureJob]) -> Iterator[tuple[_PictureJob, Picture, Tensor]]:
        for job in jobs:
            try:
                picture = read_picture(job.path)
                yield job, picture, self._predictor.prepare(picture)
            except PanopticBlendError as error:
                self.read_errors[job.source] = error

    def predict(self, read: tuple[_PictureJob, Picture, Tensor]) -> tuple[_PictureJob, Picture, PanopticMap]:
        job, picture, image = read
        return job, picture, self._predictor.run(image, picture.shape[:2]).panoptic

    def write(self, predicted: tuple[_PictureJob, Picture, PanopticMap]) -> tuple[_PictureJob, Record, Record]:
        job, picture, panoptic = predicted
        image, annotation = self._writer.save(job.image_id, job.path.name, panoptic)
        try:
            write_picture(job.drawing, draw(picture, panoptic, self._predictor.categories))
        except PanopticBlendError as error:  # the picture is too wide for a JPEG; its map is kept
            self.drawing_errors[job.source] = error
        else:
            self._journal.add(job.source, job.stamp, [job.png, job.drawing], image, annotation)
        return job, image, annotation


def _jobs(paths: Sequence[Path], output: Path) -> list[_PictureJob]:
    stems = Counter(path.stem for path in paths)
    twice = [path for path in paths if stems[path.stem] > 1]
    if twice:
        raise PanopticBlendError(
            f"{twice[0]}: another picture is also named {twice[0].stem}, so their results would have the same names; "
            "predict them separately"
        )
    numbers = [int(path.stem) if path.stem.isascii() and path.stem.isdigit() else -1 for path in paths]
    ids = numbers if min(numbers) >= 0 and len(set(numbers)) == len(paths) else range(1, len(paths) + 1)
    return [
        _PictureJob(
            image_id,
            path,
            png=output / "panoptic" / f"{path.stem}.png",
            drawing=output / "pictures" / f"{path.stem}.jpg",
            source=str(path.resolve()),
            stamp=file_stamp(path),
        )
        for image_id, path in zip(ids, paths, strict=True)
    ]


def find_pictures(inputs: Sequence[Path]) -> Iterator[Path]:
    """The files of ``inputs``, with every folder replaced by the pictures in it, sorted by name."""
    for path in inputs:
        if path.is_dir():
            found = sorted(
                item for item in path.iterdir() if item.suffix.lower() in PICTURE_SUFFIXES and item.is_file()
            )
            if not found:
                formats = ", ".join(sorted(PICTURE_SUFFIXES))
                raise PanopticBlendError(f"{path}: no pictures in this folder; give one with {formats} files")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise PanopticBlendError(f"{path}: no such file or folder; check the path")
