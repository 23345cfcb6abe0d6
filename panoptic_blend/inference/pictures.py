"""Panoptic maps of loose pictures, and drawings of maps on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from panoptic_blend.drawing.overlay import draw
from panoptic_blend.files import require_no_overwrite
from panoptic_blend.formats.images import Picture, read_picture, write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.inference.journal import Journal, Record, made_with, stamp_of
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.machine import overlapped
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Progress

_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class _Job:
    """One picture to predict, and where its results go."""

    image_id: int
    path: Path
    png: Path
    drawing: Path
    source: str
    stamp: list[int]


def predict_pictures(
    predictor: Predictor, inputs: Sequence[Path], output: Path, progress: Progress, overwrite: bool = False
) -> int:
    """Write ``output``/panoptic.json, its PNGs in panoptic/, and drawings in pictures/; return how many.

    An image whose name is a number, as COCO's are, has that number as its id; others count up from 1. On a GPU pictures
    are read, predicted and written at the same time. What an interrupted run has finished, the next one keeps
    (`Journal`).

    Raises:
        PanopticBlendError: ``output`` holds other results and is not to be overwritten, or, after all others are
            written, pictures that could not be read.
    """
    jobs = _jobs(list(find_pictures(inputs)), output)
    written = [output / "panoptic.json", *(job.png for job in jobs), *(job.drawing for job in jobs)]
    require_no_overwrite(written, [job.path for job in jobs])
    journal = Journal.open(output, made_with(predictor, {"kind": "pictures"}), written, overwrite)
    journal.require_sources(job.source for job in jobs)
    kept = {job.source: entry for job in jobs if (entry := journal.find(job.source, job.stamp))}
    records = {source: (entry.image, entry.annotation) for source, entry in kept.items()}
    with journal, PanopticWriter(written[0], categories=predictor.categories) as writer:
        run = _Run(predictor, journal, writer)
        progress(len(kept), len(jobs))
        left = [job for job in jobs if job.source not in kept]
        with closing(overlapped(run.read(left), run.predict, run.write, queue_depth=ahead(predictor))) as finished:
            for job, image, annotation in finished:
                records[job.source] = image, annotation
                progress(len(records) + len(run.unread), len(jobs))
        for job in jobs:
            if job.source in records:
                image, annotation = records[job.source]
                writer.append([image | {"id": job.image_id}], [annotation | {"image_id": job.image_id}])
    problems = run.unread | run.undrawn
    skipped = [problems[job.source] for job in jobs if job.source in problems]
    if skipped:
        raise PanopticBlendError(f"{skipped[0]} ({len(skipped)} of {len(jobs)} pictures skipped; the rest is written)")
    return len(jobs)


def ahead(predictor: Predictor) -> int:
    """How many pictures wait before and behind the network; none on the CPU, all of which the network uses itself."""
    return 0 if predictor.model.pixel_mean.device.type == "cpu" else 3


class _Run:
    """The three steps from a picture to its files; ``unread`` and ``undrawn`` say of which sources one failed."""

    def __init__(self, predictor: Predictor, journal: Journal, writer: PanopticWriter) -> None:
        self._predictor, self._journal, self._writer = predictor, journal, writer
        self.unread: dict[str, PanopticBlendError] = {}
        self.undrawn: dict[str, PanopticBlendError] = {}

    def read(self, jobs: Iterable[_Job]) -> Iterator[tuple[_Job, Picture, Tensor]]:
        for job in jobs:
            try:
                picture = read_picture(job.path)
                yield job, picture, self._predictor.prepare(picture)
            except PanopticBlendError as error:
                self.unread[job.source] = error

    def predict(self, read: tuple[_Job, Picture, Tensor]) -> tuple[_Job, Picture, PanopticMap]:
        job, picture, image = read
        return job, picture, self._predictor.run(image, picture.shape[:2]).panoptic

    def write(self, predicted: tuple[_Job, Picture, PanopticMap]) -> tuple[_Job, Record, Record]:
        job, picture, panoptic = predicted
        image, annotation = self._writer.save(job.image_id, job.path.name, panoptic)
        try:
            write_picture(job.drawing, draw(picture, panoptic, self._predictor.categories))
        except PanopticBlendError as error:  # too wide for a JPEG; its map stands
            self.undrawn[job.source] = error
        else:
            self._journal.add(job.source, job.stamp, [job.png, job.drawing], image, annotation)
        return job, image, annotation


def _jobs(paths: Sequence[Path], output: Path) -> list[_Job]:
    stems = Counter(path.stem for path in paths)
    twice = [path for path in paths if stems[path.stem] > 1]
    if twice:
        raise PanopticBlendError(f"{twice[0]}: another picture is called {twice[0].stem} too; predict them apart")
    numbers = [int(path.stem) if path.stem.isascii() and path.stem.isdigit() else -1 for path in paths]
    ids = numbers if min(numbers) >= 0 and len(set(numbers)) == len(paths) else range(1, len(paths) + 1)
    return [
        _Job(
            image_id,
            path,
            png=output / "panoptic" / f"{path.stem}.png",
            drawing=output / "pictures" / f"{path.stem}.jpg",
            source=str(path.resolve()),
            stamp=stamp_of(path),
        )
        for image_id, path in zip(ids, paths, strict=True)
    ]


def find_pictures(inputs: Sequence[Path]) -> Iterator[Path]:
    """Pictures among ``inputs``: files as they are, folders by what they hold, in the order of names."""
    for path in inputs:
        if path.is_dir():
            found = sorted(item for item in path.iterdir() if item.suffix.lower() in _PICTURES and item.is_file())
            if not found:
                raise PanopticBlendError(f"{path}: no pictures in this folder; expected {', '.join(sorted(_PICTURES))}")
            yield from found
        elif path.is_file():
            yield path
        else:
            hint = "give changes to the config as --set key=value" if "=" in str(path) else "check the path"
            raise PanopticBlendError(f"{path}: no such file or folder; {hint}")
