"""Panoptic maps of a video's frames, as COCO results and drawn over the video."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.drawing.overlay import draw
from panoptic_blend.files import require_no_overwrite
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import Picture, read_segment_ids
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.formats.videos import VideoReader, writing_video
from panoptic_blend.inference.journal import Entry, Journal, made_with, stamp_of
from panoptic_blend.inference.pictures import ahead
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.machine import overlapped
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Progress, Segment

Ids = npt.NDArray[np.int32]


def drawn_video(video: Path, output: Path) -> Path:
    """Where `predict_video` draws."""
    return output / f"{video.stem}.mp4"


def predict_video(
    predictor: Predictor, video: Path, output: Path, progress: Progress, every: int = 1, overwrite: bool = False
) -> int:
    """Write ``output``/panoptic.json, its PNGs in panoptic/, and the drawn video; return the number of frames.

    Frame n, from 1, is the image n, ``frame_00000n.png``. With ``every``, the frames 1, 1 + every, ... are taken and
    drawn at as many frames per second fewer. A class has one colour in all frames. After an interruption the frames
    that are finished are not predicted again, only drawn.

    Raises:
        PanopticBlendError: the file is no video or has no frame, ``output`` holds other results and is not to be
            overwritten, or, after what could be read is written, the video ends too early.
    """
    reader = VideoReader(video)
    panoptic_json, drawn = output / "panoptic.json", drawn_video(video, output)
    require_no_overwrite([drawn], [video])
    source = {"kind": "video", "path": str(video.resolve()), "stamp": stamp_of(video), "every": every}
    journal = Journal.open(output, made_with(predictor, source), [panoptic_json, drawn], overwrite)
    total = -(-reader.announced // every)
    with (
        journal,
        PanopticWriter(panoptic_json, categories=predictor.categories) as writer,
        writing_video(drawn, reader.fps / every) as add_frame,
    ):
        run, count = _Run(predictor, journal, writer), 0
        with closing(overlapped(reader.frames(every), run.predict, run.write, queue_depth=ahead(predictor))) as finished:
            for count, (entry, picture) in enumerate(finished, start=1):
                writer.append([entry.image], [entry.annotation])
                add_frame(picture)
                progress(count, max(total, count))
        if not count:
            raise PanopticBlendError(f"{video}: no frame can be read; fetch it again, or convert it to MP4")
    reader.require_complete()
    return count


class _Run:
    """The steps from a frame to its files and its drawing; one that is finished is read back instead."""

    def __init__(self, predictor: Predictor, journal: Journal, writer: PanopticWriter) -> None:
        self._predictor, self._journal, self._writer = predictor, journal, writer

    def predict(self, frame: tuple[int, Picture]) -> tuple[int, Picture, Entry | PanopticMap]:
        number, picture = frame
        return number, picture, self._journal.find(_name(number), []) or self._predictor.predict(picture)

    def write(self, predicted: tuple[int, Picture, Entry | PanopticMap]) -> tuple[Entry, Picture]:
        number, picture, found = predicted
        png = self._writer.folder / _name(number)
        if isinstance(found, Entry):
            entry, ids = found, read_segment_ids(png, picture.shape[:2])
        else:
            records = self._writer.save(number, png.name, found)
            entry, ids = self._journal.add(png.name, [], [png], *records), found.segment_ids
        panoptic = _as_written(entry, ids, self._predictor.categories)
        return entry, draw(picture, panoptic, self._predictor.categories, shades=False)


def _name(number: int) -> str:
    return f"frame_{number:06d}.png"


def _as_written(entry: Entry, ids: Ids, categories: Categories) -> PanopticMap:
    """The map of an entry, the same now and when it is read back: with scores as the records round them."""
    try:
        return PanopticMap(ids, [_segment(record, categories) for record in entry.annotation["segments_info"]])
    except (KeyError, TypeError, ValueError):
        raise PanopticBlendError(f"journal.jsonl: {entry.source}: not as it was written; give --overwrite") from None


def _segment(record: dict[str, Any], categories: Categories) -> Segment:
    x, y, width, height = record["bbox"]
    return Segment(
        id=record["id"],
        category=record["category_id"],
        is_thing=categories.by_id[record["category_id"]].is_thing,
        score=record.get("score"),
        area=record["area"],
        box=(x, y, x + width, y + height),
    )
