"""Predict panoptic maps of the frames of a video: COCO results, and a video with the maps drawn over it."""

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
from panoptic_blend.formats.videos import Frame, VideoReader, writing_video
from panoptic_blend.prediction.journal import Journal, JournalEntry, file_stamp, prediction_identity
from panoptic_blend.prediction.parallel import in_parallel
from panoptic_blend.prediction.protocol import PicturePredictor
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Progress, Segment

Ids = npt.NDArray[np.int32]


def drawn_video(video: Path, output: Path) -> Path:
    """The path of the video that `predict_video` draws."""
    return output / f"{video.stem}.mp4"


def predict_video(
    predictor: PicturePredictor, video: Path, output: Path, progress: Progress, every: int = 1, overwrite: bool = False
) -> int:
    """Write ``output``/panoptic.json, its PNGs in panoptic/, and the drawn video; return the number of frames.

    Frame n, counted from 1, has image id n and the name ``frame_00000n.png``. A class has the same color in all frames.
    Frames that an interrupted run has finished are drawn again, but not predicted again. The drawn video has a constant
    frame rate and shows each frame when the video does, by its time stamps.

    Args:
        progress: called with the number of frames done and the total number, which is often an estimate.
        every: take only the frames 1, 1 + every, ...; the drawn video has a lower frame rate and the same duration.
        overwrite: replace results in ``output`` that were made with other weights, options or input.

    Raises:
        PanopticBlendError: the file is not a video or has no frames; ``output`` has other results and ``overwrite`` is
            false; or the video ends too early, which is reported after its readable frames are written.
    """
    reader = VideoReader(video)
    panoptic_json, drawn = output / "panoptic.json", drawn_video(video, output)
    require_no_overwrite([drawn], [video])
    source = {"kind": "video", "path": str(video.resolve()), "stamp": file_stamp(video), "every": every}
    journal = Journal.open(output, prediction_identity(predictor, source), [panoptic_json, drawn], overwrite)
    total = -(-reader.expected // every)
    with (
        journal,
        PanopticWriter(panoptic_json, categories=predictor.categories) as writer,
        writing_video(drawn, reader.fps / every) as add_frame,
    ):
        steps, count = _FrameSteps(predictor, journal, writer), 0
        with closing(in_parallel(predictor, reader.frames(every), steps.predict, steps.write)) as finished:
            for count, (entry, picture, until) in enumerate(finished, start=1):
                writer.append([entry.image], [entry.annotation])
                add_frame(picture, until)
                progress(count, max(total, count))
        if not count:
            raise PanopticBlendError(f"{video}: no frame can be read; restore the video, or convert it to MP4")
        journal.require_results()
    reader.require_complete()
    return count


class _FrameSteps:
    """The two steps from a frame to its results: predict, write. The map of a finished frame is read from its PNG."""

    def __init__(self, predictor: PicturePredictor, journal: Journal, writer: PanopticWriter) -> None:
        self._predictor, self._journal, self._writer = predictor, journal, writer

    def predict(self, frame: Frame) -> tuple[Frame, JournalEntry | PanopticMap]:
        found = self._journal.find(_name(frame.number), [])
        return frame, found or self._predictor.predict(frame.picture)

    def write(self, predicted: tuple[Frame, JournalEntry | PanopticMap]) -> tuple[JournalEntry, Picture, float]:
        frame, found = predicted
        png = self._writer.folder / _name(frame.number)
        if isinstance(found, JournalEntry):
            entry, ids = found, read_segment_ids(png, frame.picture.shape[:2])
        else:
            image, annotation = self._writer.save(frame.number, png.name, found)
            entry, ids = self._journal.add(png.name, [], [png], image, annotation), found.segment_ids
        panoptic = _as_written(entry, ids, self._predictor.categories)
        return entry, draw(frame.picture, panoptic, self._predictor.categories, shades=False), frame.until


def _name(number: int) -> str:
    return f"frame_{number:06d}.png"


def _as_written(entry: JournalEntry, ids: Ids, categories: Categories) -> PanopticMap:
    """The map of an entry, with rounded scores from its record, so that new and finished frames are drawn alike."""
    try:
        return PanopticMap(ids, [_segment(record, categories) for record in entry.annotation["segments_info"]])
    except (KeyError, TypeError, ValueError):
        raise PanopticBlendError(f"journal.jsonl: {entry.source}: its entry is damaged; give --overwrite") from None


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
