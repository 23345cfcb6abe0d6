"""Predict pictures: panoptic maps and instances as COCO results, and the maps drawn over the pictures."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from panoptic_blend.drawing.overlay import draw
from panoptic_blend.failures import ForeignError, doing, in_one_line, reworded
from panoptic_blend.files import printable, replacing, require_no_overwrite
from panoptic_blend.formats.addresses import read_picture_at
from panoptic_blend.formats.images import Picture, write_picture
from panoptic_blend.formats.instance_results import FILE_NAME, result_records, writing_results
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.metrics.instance_conversion import output_instances
from panoptic_blend.prediction.find_pictures import FoundPicture
from panoptic_blend.prediction.journal import Journal, JournalEntry, prediction_identity
from panoptic_blend.prediction.parallel import in_parallel
from panoptic_blend.prediction.picture_jobs import INSTANCES, PictureJob, picture_jobs
from panoptic_blend.prediction.protocol import PicturePredictor
from panoptic_blend.prediction.sharing import ALONE, Alone, Shard
from panoptic_blend.structures import Output, PanopticBlendError, Progress

FAILURES = "failures.txt"
"""The file with a line for each picture that failed in the last run, if there are any."""

_OF_THE_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
"""Errors of writing that the name of one picture causes; others, such as a full disk, would meet all pictures."""


def predict_pictures(
    predictor: PicturePredictor,
    pictures: Sequence[FoundPicture],
    output: Path,
    progress: Progress,
    overwrite: bool = False,
    team: Alone = ALONE,
) -> int:
    """Write the results of pictures to ``output``; return the number of pictures.

    ``panoptic.json`` has the panoptic maps, with its PNGs in ``panoptic/``; ``instances_results.json`` all detections
    in COCO's format, put together from a file for each picture in ``instances/``; ``pictures/`` the drawings.

    A picture whose name is a number, as in COCO, has it as its image id; the others are counted from 1 (so are those
    whose numbers are equal). What is done in parallel depends on the predictor (see `in_parallel`). Images that an
    interrupted run has finished are not predicted again (see `Journal`). A picture that fails, in whichever step, costs
    only itself; `FAILURES` in ``output`` lists all that did.

    Args:
        pictures: see `find_pictures`.
        progress: called with the number of pictures done, by all processes, and the total number.
        overwrite: replace results in ``output`` that were made with other weights, options or pictures.
        team: the processes that share the pictures; the files are those of a single process.

    Raises:
        PanopticBlendError: ``output`` has other results and ``overwrite`` is false; pictures fail, which is reported
            after all others are written; or results are removed meanwhile.
    """
    jobs, identity = picture_jobs(pictures, output), prediction_identity(predictor, {"kind": "pictures"})
    writer = PanopticWriter(output / "panoptic.json", categories=predictor.categories)
    journal: Journal | None = None

    def begin() -> list[PictureJob]:
        nonlocal journal
        journal = _opened(output, identity, jobs, overwrite)
        finished = _finished(journal, jobs)
        return [job for job in jobs if job.source not in finished]

    left = team.from_first(begin)
    count = len(jobs) - len(left)
    progress(count, len(jobs))
    with (
        journal or Journal.of_rank(output, identity, team.shard.rank) as own,
        writer if team.is_first else nullcontext(),
    ):
        work = partial(_predict_shard, predictor, left, own, writer)
        parts = team.share(len(left), work, lambda done, _: progress(count + done, len(jobs)))
        if not team.is_first:
            return len(jobs)
        entries = _finished(own, jobs) | {entry.source: entry for part in parts for entry in part.entries}
        failures = {source: failure for part in parts for source, failure in part.failures.items()}
        own.take_in(entry for part in parts[1:] for entry in part.entries if entry.source not in failures)
        own.require_results()
        written = [(job, entries[job.source]) for job in jobs if job.source in entries]
        for job, entry in written:
            writer.append([entry.image | {"id": job.image_id}], [entry.annotation | {"image_id": job.image_id}])
        with writing_results(output / FILE_NAME) as results:
            for job, entry in written:
                records = read_json(output / _instances(entry))
                results.append(record | {"image_id": job.image_id} for record in records)
    _report(output, [failures[job.source] for job in jobs if job.source in failures], len(jobs))
    return len(jobs)


def _opened(output: Path, identity: Mapping[str, Any], jobs: Sequence[PictureJob], overwrite: bool) -> Journal:
    """The journal of the folder, if its results are of these pictures and nothing else is overwritten."""
    written = [output / "panoptic.json", output / FILE_NAME, *(path for job in jobs for path in job.files)]
    require_no_overwrite(written, [job.path for job in jobs if isinstance(job.path, Path)])
    journal = Journal.open(output, identity, written, overwrite)
    journal.require_sources(job.source for job in jobs)
    (output / FILE_NAME).unlink(missing_ok=True)
    return journal


def _finished(journal: Journal, jobs: Iterable[PictureJob]) -> dict[str, JournalEntry]:
    """The entries of the pictures that are finished, by source; earlier versions kept no instances."""
    found = {job.source: journal.find(job.source, job.stamp) for job in jobs}
    return {source: entry for source, entry in found.items() if entry and _instances(entry)}


def _instances(entry: JournalEntry) -> str:
    """The name of the file with the detections of a finished picture; empty if there is none."""
    return next((name for name in entry.files if name.startswith(f"{INSTANCES}/")), "")


class _Part(NamedTuple):
    """The work of one process: its finished pictures, and the errors of those that failed, by source."""

    entries: list[JournalEntry]
    failures: dict[str, PanopticBlendError]


def _predict_shard(
    predictor: PicturePredictor,
    jobs: Sequence[PictureJob],
    journal: Journal,
    writer: PanopticWriter,
    shard: Shard,
    progress: Progress,
) -> _Part:
    """Predict a shard of the pictures and write their files."""
    steps = _PictureSteps(predictor, journal, writer)
    own = [jobs[index] for index in shard.range_of(len(jobs))]
    entries = []
    with closing(in_parallel(predictor, steps.read(own), steps.predict, steps.write)) as finished:
        for done, entry in enumerate(finished, start=1):
            if entry:
                entries.append(entry)
            progress(done, len(own))
    return _Part(entries, steps.failures)


def _report(output: Path, failures: Sequence[PanopticBlendError], total: int) -> None:
    """List the failures in a file, and raise an error if there are any."""
    listed = output / FAILURES
    if not failures:
        listed.unlink(missing_ok=True)
        return
    with replacing(listed) as temporary:
        temporary.write_text("".join(f"{printable(str(failure))}\n" for failure in failures), encoding="utf-8")
    first = failures[0]
    where = f", all in {listed}" if len(failures) > 1 else ""
    message = f"{first} ({len(failures)} of {total} pictures failed{where}; the rest is written)"
    error = reworded(next((failure for failure in failures if isinstance(failure, ForeignError)), first), message)
    if isinstance(error, ForeignError):
        error.folder = output
    raise error


_Read = tuple[PictureJob, Picture, Any]
_Predicted = tuple[PictureJob, Picture, Output[Any]]


class _PictureSteps:
    """The three steps from a picture to its results: read, predict, write; None stands for a picture that failed.

    ``failures`` are the errors of these pictures, by source.
    """

    def __init__(self, predictor: PicturePredictor, journal: Journal, writer: PanopticWriter) -> None:
        self._predictor, self._journal, self._writer = predictor, journal, writer
        self.failures: dict[str, PanopticBlendError] = {}

    def read(self, jobs: Iterable[PictureJob]) -> Iterator[_Read | None]:
        for job in jobs:
            read = None
            with self._costing_one(job, "reading"):
                picture = read_picture_at(job.path)
                read = job, picture, self._predictor.prepare(picture)
            yield read

    def predict(self, read: _Read | None) -> _Predicted | None:
        if read is not None:
            job, picture, image = read
            with self._costing_one(job, "predicting", picture):
                return job, picture, self._predictor.run(image, picture.shape[:2])
        return None

    def write(self, predicted: _Predicted | None) -> JournalEntry | None:
        if predicted is None:
            return None
        job, picture, output = predicted
        entry, categories = None, self._predictor.categories
        with self._costing_one(job, "writing the results of", picture):
            png = job.png.relative_to(self._writer.folder).as_posix()
            records = self._writer.save(job.image_id, job.name, output.panoptic, png)
            found = output_instances(output, categories.thing_ids)
            with replacing(job.instances) as temporary:
                temporary.write_text(json.dumps([*result_records(job.image_id, found)]), encoding="ascii")
            # the results are kept even if the drawing fails, because the picture is too wide for a JPEG
            name = job.instances.relative_to(self._writer.json_path.parent).as_posix()
            entry = JournalEntry(job.source, job.stamp, {name: 0}, *records)
            write_picture(job.drawing, draw(picture, output.panoptic, categories))
            entry = self._journal.add(job.source, job.stamp, job.files, *records)
        return entry

    @contextmanager
    def _costing_one(self, job: PictureJob, activity: str, picture: Picture | None = None) -> Iterator[None]:
        """Note an error of the block as the failure of its picture, unless it would meet all pictures."""
        size = "" if picture is None else f"its {picture.shape[1]} x {picture.shape[0]} pixels, "
        try:
            with doing(f"{activity} {job.path}", lower=f"{size}test.short_side or test.long_side"):
                yield
        except Exception as error:
            failure = in_one_line(error)
            if isinstance(error, OSError) and error.errno not in _OF_THE_NAME and not isinstance(failure, ForeignError):
                raise
            self.failures[job.source] = failure
