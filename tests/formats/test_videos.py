"""Videos written by OpenCV, intact and with changed bytes."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from panoptic_blend.formats.videos import VideoReader, writing_video
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]
Pixels = npt.NDArray[np.uint8]
COUNT = 12


def frame(number: int, size: tuple[int, int] = (48, 64)) -> Pixels:
    """A gray frame, brighter with its number, with a red upper left corner."""
    pixels = np.full((*size, 3), 15 * number, np.uint8)
    pixels[:16, :16] = (255, 0, 0)
    return pixels


def write(path: Path, size: tuple[int, int] = (48, 64), fps: float = 29.97) -> Path:
    with writing_video(path, fps) as add:
        for number in range(1, COUNT + 1):
            add(frame(number, size))
    return path


def edit(path: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def break_second_half(content: bytearray) -> None:
    """Overwrite the later half of the frames with zeros; the index stays."""
    start, stop = content.find(b"mdat") + 4, content.find(b"moov") - 4
    middle = (start + stop) // 2
    content[middle:stop] = bytes(stop - middle)


def turn(content: bytearray) -> None:
    """Rotate by 90 degrees in the metadata: the matrix of the track header (ISO 14496-12, 8.3.2)."""
    matrix = content.find(b"tkhd") + 44
    assert struct.unpack(">9i", content[matrix : matrix + 36])[:5] == (65536, 0, 0, 0, 65536)
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(("every", "numbers"), [(1, range(1, 13)), (5, (1, 6, 11)), (100, (1,))])
def test_frames_are_read_as_written(tmp_path: Path, every: int, numbers: range | tuple[int, ...]) -> None:
    video = VideoReader(write(tmp_path / "new" / "a.mp4"))
    assert (video.fps, video.announced) == (29.97, COUNT)
    frames = list(video.frames(every))
    assert [number for number, _ in frames] == list(numbers)
    for number, picture in frames:
        assert picture.shape == (48, 64, 3)
        assert picture.dtype == np.uint8
        assert abs(int(picture[40, 40, 1]) - 15 * number) < 8
        red, green, blue = picture[4, 4].tolist()
        assert red > 180 and green < 60 and blue < 60
    assert video.count == COUNT
    video.require_complete()


def test_an_odd_side_loses_its_last_line(tmp_path: Path) -> None:
    video = VideoReader(write(tmp_path / "a.mp4", size=(49, 65), fps=0.2))
    assert video.fps == pytest.approx(0.2)
    assert {picture.shape for _, picture in video.frames()} == {(48, 64, 3)}


def test_a_turned_video_is_turned_upright(tmp_path: Path) -> None:
    video = VideoReader(edit(write(tmp_path / "a.mp4"), turn))
    [(_, picture)] = video.frames(100)
    assert picture.shape == (64, 48, 3)
    red = (picture[..., 0] > 180) & (picture[..., 1] < 60)
    assert red[4, -4], "the upper left corner, turned clockwise, is the upper right one"
    assert not red[4, 4]


def test_a_video_that_ends_early_is_reported(tmp_path: Path, refused: Refused) -> None:
    video = VideoReader(edit(write(tmp_path / "a.mp4"), break_second_half))
    count = len(list(video.frames()))
    assert 0 < count < COUNT
    assert f"cannot be read beyond frame {count} of {COUNT}" in refused(video.require_complete)


def test_files_that_are_not_videos_are_refused_in_one_line(tmp_path: Path, refused: Refused) -> None:
    whole = write(tmp_path / "a.mp4").read_bytes()
    for name, content in {"empty": b"", "text": b"no video" * 99, "cut": whole[: len(whole) // 2]}.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        assert f"{path}: not a video" in refused(VideoReader, path)
    assert "no such file" in refused(VideoReader, tmp_path / "none.mp4")
    code = f"from pathlib import Path; import panoptic_blend.formats.videos as v; v.VideoReader(Path({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("Traceback"), "OpenCV and FFmpeg log nothing"
    assert f"PanopticBlendError: {path}: not a video" in done.stderr.splitlines()[-1]


def test_an_incomplete_video_does_not_appear(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt), writing_video(path, 25) as add:
        add(frame(1))
        raise KeyboardInterrupt
    with pytest.raises(PanopticBlendError, match="completely; make room"), writing_video(path, 25) as add:
        add(frame(1))
        add(frame(2, (24, 32)))  # of another size, which OpenCV ignores
    assert list(tmp_path.iterdir()) == []
