"""Videos written by OpenCV, intact and with changed bytes."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
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
            add(frame(number, size), number / fps)
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


def matroska(path: Path, milliseconds: Sequence[int], stated: float | None, duration: float | None) -> Path:
    """Write a Matroska video of one frame at each time, which states any frame rate and duration in ms, or none.

    OpenCV writes it with a constant rate; then the times of its blocks and those two elements are changed.
    """
    file = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for number in range(1, len(milliseconds) + 1):
        file.write(frame(number)[..., ::-1])
    file.release()
    content = bytearray(path.read_bytes())
    blocks = [match.start() for match in re.finditer(rb"\x81..\x80\xff\xd8", content, re.DOTALL)]
    for block, start in zip(blocks, milliseconds, strict=True):
        content[block + 1 : block + 3] = struct.pack(">h", start)
    rate, length = content.find(b"\x23\xe3\x83\x84"), content.find(b"\x44\x89\x88")
    content[rate : rate + 8] = (
        b"\x23\xe3\x83\x84" + struct.pack(">I", int(1e9 / stated)) if stated else b"\xec\x86" + bytes(6)
    )
    content[length : length + 11] = (
        b"\x44\x89\x88" + struct.pack(">d", duration) if duration else b"\xec\x89" + bytes(9)
    )
    path.write_bytes(content)
    return path


UNEVEN = [0, 30, 56, 81, 120, 160, 196, 233, 267, 308, 900, 930]
"""Milliseconds at which frames appear: about 30 a second, as a camera gives them, and a pause of half a second."""


@pytest.mark.parametrize(
    ("stated", "duration"), [(None, None), (1000, 960), (1000, None), (25, 960), (0.5, None), (12, 1e9)]
)
def test_frames_last_as_their_time_stamps_say_whatever_the_file_states(
    tmp_path: Path, stated: float | None, duration: float | None
) -> None:
    video = VideoReader(matroska(tmp_path / "a.mkv", UNEVEN, stated, duration))
    assert 25 <= video.fps < 31
    frames = list(video.frames())
    assert [frame.until for frame in frames[:-1]] == pytest.approx([ms / 1000 for ms in UNEVEN[1:]])
    assert frames[-1].until == video.seconds == pytest.approx(0.93 + 1 / video.fps)
    assert video.count == len(frames) == COUNT


def test_a_file_that_announces_frames_by_a_wrong_rate_is_complete(tmp_path: Path) -> None:
    video = VideoReader(matroska(tmp_path / "a.mkv", UNEVEN, 1000, 960))
    assert video.announced > 10 * COUNT
    assert video.expected < 2.5 * COUNT
    assert list(video.frames())
    video.require_complete()


def test_broken_time_stamps_count_as_one_frame(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 30000, 30040, 30080, 80, 120, 160, 160, 200, 240]
    video = VideoReader(matroska(tmp_path / "a.mkv", stamps, 25, None))
    assert [frame.number for frame in video.frames()] == list(range(1, video.count + 1))
    assert video.seconds == pytest.approx(30.08 + 6 * 0.04 + 0.04)


def test_a_frame_is_repeated_or_left_out_so_that_the_video_keeps_the_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with writing_video(path, 25) as add:
        for number, until in enumerate((0.04, 0.2, 0.21, 0.24, 0.4), start=1):
            add(frame(number), until)
    shown = [round(int(taken.picture[40, 40, 1]) / 15) for taken in VideoReader(path).frames()]
    assert shown == [1, 2, 2, 2, 2, 4, 5, 5, 5, 5]


@pytest.mark.parametrize(("every", "numbers"), [(1, range(1, 13)), (5, (1, 6, 11)), (100, (1,))])
def test_frames_are_read_as_written(tmp_path: Path, every: int, numbers: range | tuple[int, ...]) -> None:
    video = VideoReader(write(tmp_path / "new" / "a.mp4"))
    assert (video.fps, video.announced) == (29.97, COUNT)
    frames = list(video.frames(every))
    assert [taken.number for taken in frames] == list(numbers)
    ends = [*numbers[1:], COUNT + 1]
    assert [taken.until for taken in frames] == pytest.approx([(end - 1) / 29.97 for end in ends])
    for number, picture in ((taken.number, taken.picture) for taken in frames):
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
    assert {taken.picture.shape for taken in video.frames()} == {(48, 64, 3)}


def test_a_turned_video_is_turned_upright(tmp_path: Path) -> None:
    video = VideoReader(edit(write(tmp_path / "a.mp4"), turn))
    [turned] = video.frames(100)
    picture = turned.picture
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
        add(frame(1), 0.04)
        raise KeyboardInterrupt
    with pytest.raises(PanopticBlendError, match="completely; make room"), writing_video(path, 25) as add:
        add(frame(1), 0.04)
        add(frame(2, (24, 32)), 0.08)  # of another size, which OpenCV ignores
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "lat\udce9.mp4"  # OpenCV would end the process
    path.write_bytes(b"")
    assert "its name is not valid UTF-8; rename it" in refused(VideoReader, path)
    with pytest.raises(PanopticBlendError, match="not valid UTF-8"), writing_video(path, 5) as add:
        add(frame(1), 0.04)
