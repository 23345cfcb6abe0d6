"""Read and write videos with OpenCV and its FFmpeg."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from panoptic_blend.files import replacing, require_file
from panoptic_blend.formats.images import Picture
from panoptic_blend.formats.quiet import quiet
from panoptic_blend.structures import PanopticBlendError

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg would log to standard error

_DEFAULT_FPS = 25.0


class VideoReader:
    """Reads the frames of a video file once, from first to last.

    ``fps`` is the number of frames per second, 25 if the file does not state it. ``announced`` is the number of frames
    that the file states, 0 if it does not, and ``count`` is the number of frames read so far. The rotation in the
    metadata is applied.

    Raises:
        PanopticBlendError: the file is missing or not a video.
    """

    def __init__(self, path: Path) -> None:
        require_file(path)
        self.path, self.count = path, 0
        self._capture = _capture(path)
        if not self._capture.isOpened():
            raise PanopticBlendError(f"{path}: not a video, or truncated; fetch it again, or convert it to MP4")
        fps, announced = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else _DEFAULT_FPS
        self.announced = int(announced) if 0 < announced < 2**31 else 0

    def frames(self, every: int = 1) -> Iterator[tuple[int, Picture]]:
        """Yield every N-th frame from the first on, N = ``every``: its number, from 1, and (H, W, 3) uint8 RGB."""
        while self._capture.grab():
            if self.count % every == 0:
                is_read, frame = self._capture.retrieve()
                if not is_read:
                    break
                yield self.count + 1, np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
            self.count += 1

    def require_complete(self) -> None:
        """Raise an error if far fewer frames were read than announced; the announced number is often an estimate."""
        if self.count < self.announced - 1 - self.announced // 50:
            raise PanopticBlendError(
                f"{self.path}: cannot be read beyond frame {self.count} of {self.announced}; the file is truncated or "
                "broken, so fetch it again; the results of the frames before are kept"
            )


@contextmanager
def writing_video(path: Path, fps: float) -> Iterator[Callable[[Picture], None]]:
    """Write an MP4 (MPEG-4 part 2) atomically; yield a function that appends a frame, (H, W, 3) uint8 RGB.

    The format needs even sides: the last of an odd number of rows or columns is cut off. The file appears when the
    block ends without an error; at least one frame must have been appended.
    """
    with replacing(path) as unfinished:
        file, count = cv2.VideoWriter(), 0

        def add(picture: Picture) -> None:
            nonlocal count
            if not count:
                _open(file, unfinished, fps, picture.shape)
            file.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            count += 1

        try:
            yield add
        finally:
            file.release()
        if _capture(unfinished).get(cv2.CAP_PROP_FRAME_COUNT) != count:  # OpenCV does not report a full disk
            raise PanopticBlendError(f"{path}: the video could not be written completely; make room on the disk")


def _open(file: cv2.VideoWriter, path: Path, fps: float, shape: tuple[int, ...]) -> None:
    height, width = shape[:2]
    with quiet:
        file.open(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    if not file.isOpened():
        raise PanopticBlendError(f"{path.parent}: no MP4 of {width} x {height} pixels can be written; check the disk")


def _capture(path: Path) -> cv2.VideoCapture:
    with quiet:
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
