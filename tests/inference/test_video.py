"""Prediction of a video: maps of its frames, COCO results and a drawn video."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from killable_predict import finish
from test_pictures import contents, ignore, noted, predict_pictures
from test_predictor import CATEGORIES, CONFIG, lively

from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import Picture, read_picture
from panoptic_blend.formats.videos import VideoReader, writing_video
from panoptic_blend.inference.predictor import Predictor, load
from panoptic_blend.prediction.video import predict_video

Refused = Callable[..., str]
COUNT = 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_checkpoint(path, lively(CONFIG).state_dict(), CONFIG, CATEGORIES)
    return path


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return load(checkpoint)


@pytest.fixture
def video(generated: Path, tmp_path: Path) -> Path:
    photo = read_picture(sorted((generated / "train2017").iterdir())[0])
    with writing_video(tmp_path / "clip.mp4", 12.5) as add:
        for number in range(COUNT):
            add(np.roll(photo, 5 * number, axis=1), (number + 1) / 12.5)
    return tmp_path / "clip.mp4"


def frames(path: Path) -> list[Picture]:
    return [frame.picture for frame in VideoReader(path).frames()]


def test_every_frame_is_an_image_and_a_drawing(predictor: Predictor, video: Path, tmp_path: Path) -> None:
    output, calls = tmp_path / "out", []
    assert predict_video(predictor, video, output, lambda *done: calls.append(done)) == COUNT
    assert calls == [(number, COUNT) for number in range(1, COUNT + 1)]
    results = read_panoptic_json(output / "panoptic.json")
    maps = Folder(output / "panoptic")
    pictures = frames(video)
    for number, (image, picture) in enumerate(zip(results.images, pictures, strict=True), start=1):
        assert (image.id, image.file_name) == (number, f"frame_{number:06d}.png")
        assert image.size == picture.shape[:2]
        read = image.annotation.read(results.path, maps, image.size)
        assert np.array_equal(read.segment_ids, predictor.predict(picture).segment_ids)
    drawn = frames(output / "clip.mp4")
    assert VideoReader(output / "clip.mp4").fps == 12.5
    assert [picture.shape for picture in drawn] == [picture.shape for picture in pictures]
    assert all(np.abs(a.astype(int) - b).mean() > 10 for a, b in zip(drawn, pictures, strict=True))


def test_every_third_frame_gives_a_video_of_the_same_duration(
    predictor: Predictor, video: Path, tmp_path: Path
) -> None:
    assert predict_video(predictor, video, tmp_path / "out", ignore, every=3) == 2
    images = json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"]
    assert [(image["id"], image["file_name"]) for image in images] == [(1, "frame_000001.png"), (4, "frame_000004.png")]
    drawn = VideoReader(tmp_path / "out" / "clip.mp4")
    assert drawn.announced / drawn.fps == pytest.approx(COUNT / 12.5, rel=1e-3)


def test_an_interrupted_run_continues_where_it_stopped(
    checkpoint: Path, predictor: Predictor, video: Path, tmp_path: Path
) -> None:
    predict_video(predictor, video, tmp_path / "plain", ignore)
    output, errors = tmp_path / "out", tmp_path / "errors.txt"
    command = [checkpoint, "--video", video, "-o", output]
    assert finish(command, errors, number=int(signal.SIGKILL), at=3) == -signal.SIGKILL
    assert not (output / "clip.mp4").exists()
    assert finish(command, errors, number=int(signal.SIGINT), at=1, noted=True) == 130
    assert errors.read_text() == "interrupted; run the same command again to continue\n"
    before = noted(output)
    assert len(before) >= 3
    assert finish(command, errors) == 0
    assert before.items() <= noted(output).items()
    assert contents(output) == contents(tmp_path / "plain"), "the drawn video too"


def test_other_results_are_not_mixed_in(predictor: Predictor, video: Path, tmp_path: Path, refused: Refused) -> None:
    output = tmp_path / "out"
    predict_video(predictor, video, output, ignore)
    before = contents(output)
    assert "made with other input" in refused(predict_video, predictor, video, output, ignore, 2)
    photo = tmp_path / "photo.png"
    photo.write_bytes((output / "panoptic" / "frame_000001.png").read_bytes())
    assert "made with other input" in refused(predict_pictures, predictor, [photo], output, ignore)
    assert "would be overwritten" in refused(predict_video, predictor, video, tmp_path, ignore)
    assert contents(output) == before
    assert predict_video(predictor, video, output, ignore, 2, overwrite=True) == 3
    assert len(contents(output)) == 3 + 2


def test_the_readable_frames_of_a_truncated_video_are_written(
    predictor: Predictor, video: Path, tmp_path: Path, refused: Refused
) -> None:
    content = video.read_bytes()
    start, stop = content.find(b"mdat") + 4, content.find(b"moov") - 4
    middle = (start + stop) // 2
    video.write_bytes(content[:middle] + bytes(stop - middle) + content[stop:])
    message = refused(predict_video, predictor, video, tmp_path / "out", ignore)
    count = len(frames(tmp_path / "out" / "clip.mp4"))
    assert 0 < count < COUNT
    assert f"clip.mp4: cannot be read beyond frame {count} of {COUNT}" in message
    assert len(json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"]) == count
    video.write_bytes(content[: stop // 2])
    assert "not a video" in refused(predict_video, predictor, video, tmp_path / "other", ignore)
    assert not (tmp_path / "other").exists()
