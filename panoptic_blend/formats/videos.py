"""Read and write videos with OpenCV and its FFmpeg."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from panoptic_blend.files import replacing, require_file
from panoptic_blend.formats.images import Picture
from panoptic_blend.formats.quiet import quiet
from panoptic_blend.structures import PanopticBlendError

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg would log to standard error

VIDEO_SUFFIXES = {
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
}
"""File name endings, in lower case, by which videos are told from pictures."""

_DEFAULT_FPS = 25.0
_MEASURED = 100
"""Number of frames from whose time stamps the frame rate is measured."""
_LONGEST_PAUSE = 60.0
"""Seconds between two frames beyond which their time stamps are taken as broken."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video: its ``number``, from 1, ``picture`` (H, W, 3) uint8 RGB, and when it gives way to the next.

    ``until`` is in seconds from the first frame of the video.
    """

    number: int
    picture: Picture
    until: float


class VideoReader:
    """Reads the frames of a video file once, from first to last.

    ``fps`` is the number of frames per second: that of the file if its time stamps agree, else the usual one by its
    time stamps. ``announced`` is the number of frames that the file states, 0 if it does not; ``count`` and ``seconds``
    are the number of frames read so far, and how long they last. The rotation in the metadata is applied.

    Raises:
        PanopticBlendError: the file is missing or not a video.
    """

    def __init__(self, path: Path) -> None:
        require_file(path)
        self.path, self.count, self.seconds = path, 0, 0.0
        self._capture = _capture(path)
        if not self._capture.isOpened():
            raise PanopticBlendError(f"{path}: not a video, or truncated; fetch it again, or convert it to MP4")
        stated, announced = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.announced = int(announced) if 0 < announced < 2**31 else 0
        self._stated_fps = stated if math.isfinite(stated) and 0 < stated <= 1000 else 0.0
        self.fps = _frame_rate(self._stated_fps, _capture(path))

    @property
    def expected(self) -> int:
        """The number of frames to expect, 0 if unknown; some files announce what a wrong frame rate makes of them."""
        return min(self.announced, round(self.announced * self.fps / self._stated_fps)) if self._stated_fps else 0

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Yield every N-th frame from the first on, N = ``every``; each lasts until the next that is taken."""
        taken: tuple[int, Picture] | None = None
        start, stamp = 0.0, math.nan
        while self._capture.grab():
            before, stamp = stamp, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if self.count:
                start += stamp - before if 0 < stamp - before <= _LONGEST_PAUSE else 1 / self.fps
            if self.count % every == 0:
                is_read, pixels = self._capture.retrieve()
                if not is_read:
                    break
                if taken:
                    yield Frame(*taken, until=start)
                taken = self.count + 1, np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
            self.count += 1
            self.seconds = start + 1 / self.fps
        if taken:
            yield Frame(*taken, until=self.seconds)

    def require_complete(self) -> None:
        """Raise an error if far less was read than announced: frames, and also time, as both are often estimates."""
        announced_seconds = self.announced / self._stated_fps if self._stated_fps else math.inf
        is_short = self.seconds < 0.98 * announced_seconds - 1 / self.fps
        if is_short and self.count < self.announced - 1 - self.announced // 50:
            raise PanopticBlendError(
                f"{self.path}: cannot be read beyond frame {self.count} of {self.announced}; the file is truncated or "
                "broken, so fetch it again; the results of the frames before are kept"
            )


def _frame_rate(stated: float, capture: cv2.VideoCapture) -> float:
    """``stated`` frames per second, unless it is 0 or contradicts the time stamps of the first frames."""
    stamps: list[float] = []
    while len(stamps) < _MEASURED and capture.grab():
        stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    steps = [after - before for before, after in pairwise(stamps) if after > before]
    if not steps:
        return stated or _DEFAULT_FPS
    measured = 1 / median(steps)
    return stated if abs(stated / measured - 1) < 0.1 else measured


@contextmanager
def writing_video(path: Path, fps: float) -> Iterator[Callable[[Picture, float], None]]:
    """Write an MP4 (MPEG-4 part 2) atomically; yield a function of a frame, (H, W, 3) uint8 RGB, and when it ends.

    The end is in seconds from the start of the video. The frame rate of an MP4 is constant, so a frame is repeated, or
    left out, where that is needed to keep the time; the first is always shown. The format needs even sides: the last of
    an odd number of rows or columns is cut off. The file appears when the block ends without an error; at least one
    frame must have been added.
    """
    # the format has room for two digits of a high rate; the ends of the frames are rounded to the rate as written
    rate = max(0.01, round(fps, 3 if fps < 60 else 2))
    with replacing(path) as unfinished:
        file, count = cv2.VideoWriter(), 0

        def add(picture: Picture, until: float) -> None:
            nonlocal count
            if not count:
                _open(file, unfinished, rate, picture.shape)
            pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            for _ in range(max(round(until * rate), 1) - count):
                file.write(pixels)
                count += 1

        try:
            yield add
        finally:
            file.release()
        if _capture(unfinished).get(cv2.CAP_PROP_FRAME_COUNT) != count:  # OpenCV does not report a full disk
            raise PanopticBlendError(f"{path}: the video could not be written completely; make room on the disk")


def _open(file: cv2.VideoWriter, path: Path, fps: float, shape: tuple[int, ...]) -> None:
    height, width = shape[:2]
    _require_text(path)
    with quiet:
        file.open(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    if not file.isOpened():
        raise PanopticBlendError(f"{path.parent}: no MP4 of {width} x {height} pixels can be written; check the disk")


def _capture(path: Path) -> cv2.VideoCapture:
    _require_text(path)
    with quiet:
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)


def _require_text(path: Path) -> None:
    """Refuse a path that is not valid UTF-8, of which OpenCV dies."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise PanopticBlendError(f"{path}: its name is not valid UTF-8; rename it") from None
