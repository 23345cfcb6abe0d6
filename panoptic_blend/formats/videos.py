"""Videos in and out, through OpenCV and the FFmpeg that comes with it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from panoptic_blend.files import replacing, require_file
from panoptic_blend.formats.images import Picture, quiet
from panoptic_blend.structures import PanopticBlendError

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # it would write lines of its own to standard error

_USUAL_FPS = 25.0


class VideoReader:
    """The frames of a video file, once, from the first on.

    ``fps`` are its frames per second, 25 where it does not say; ``announced`` is the number of frames it says it has,
    0 if it does not, and ``count`` how many could be read. A video that says it is turned is turned upright.

    Raises:
        PanopticBlendError: the file is missing or no video.
    """

    def __init__(self, path: Path) -> None:
        require_file(path)
        self.path, self.count = path, 0
        self._capture = _capture(path)
        if not self._capture.isOpened():
            raise PanopticBlendError(f"{path}: not a video, or cut short; fetch it again, or convert it to MP4")
        fps, announced = (self._capture.get(what) for what in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else _USUAL_FPS
        self.announced = int(announced) if 0 < announced < 2**31 else 0

    def frames(self, every: int = 1) -> Iterator[tuple[int, Picture]]:
        """The first frame and each ``every``-th after it: its number, from 1, and (H, W, 3) uint8 RGB."""
        while self._capture.grab():
            if self.count % every == 0:
                is_there, frame = self._capture.retrieve()
                if not is_there:
                    break
                yield self.count + 1, np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
            self.count += 1

    def require_whole(self) -> None:
        """Raise if the frames ended well before their announced number, which containers often estimate."""
        if self.count < self.announced - 1 - self.announced // 50:
            raise PanopticBlendError(
                f"{self.path}: cannot be read beyond frame {self.count} of {self.announced}, and what was read is "
                "written; the file is cut short or broken, so fetch it again"
            )


@contextmanager
def writing_video(path: Path, fps: float) -> Iterator[Callable[[Picture], None]]:
    """Write an MP4 (MPEG-4 part 2); the block is given a function that takes its next frame, (H, W, 3) uint8 RGB.

    The format wants even sides: of an odd number of rows or columns the last is left out. The file appears when the
    block ends without an error, in which there must have been a frame.
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
        if _capture(unfinished).get(cv2.CAP_PROP_FRAME_COUNT) != count:  # OpenCV does not say that a disk is full
            raise PanopticBlendError(f"{path}: the video could not be written whole; make room on the disk")


def _open(file: cv2.VideoWriter, path: Path, fps: float, shape: tuple[int, ...]) -> None:
    height, width = shape[:2]
    with quiet:
        file.open(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    if not file.isOpened():
        raise PanopticBlendError(f"{path.parent}: no MP4 of {width} x {height} pixels can be written; check the disk")


def _capture(path: Path) -> cv2.VideoCapture:
    with quiet:
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
