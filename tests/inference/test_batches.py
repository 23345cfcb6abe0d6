"""Prediction of batches of columns: as it is, pickled, and in the processes of a local Ray."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_predictor import CATEGORIES, CONFIG, lively

from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.formats.images import decode_segment_ids
from panoptic_blend.inference.batches import PredictBatches
from panoptic_blend.inference.predictor import load

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_checkpoint(path, lively(CONFIG).state_dict(), CONFIG, CATEGORIES)
    return path


def test_columns_in_columns_out(checkpoint: Path, generated: Path, refused: Refused) -> None:
    """Bytes and paths give the maps of the predictor; a broken picture is an error in its row alone."""
    predictor, paths = load(checkpoint), sorted((generated / "val2017").iterdir())[:2]
    predict = PredictBatches(checkpoint, device="cpu")
    contents = np.array([*(path.read_bytes() for path in paths), b"broken"], dtype=object)
    found = predict({"name": np.array(["a", "b", "c"]), "bytes": contents})
    assert list(found) == ["name", "panoptic_png", "segments_info", "error"]
    for path, png, segments in zip(paths, found["panoptic_png"], found["segments_info"], strict=False):
        expected = predictor.predict(path)
        assert np.array_equal(decode_segment_ids(png, "png"), expected.segment_ids)
        assert [record["id"] for record in json.loads(segments)] == [segment.id for segment in expected.segments]
    assert (found["panoptic_png"][2], found["segments_info"][2]) == (b"", "[]")
    assert [bool(error) for error in found["error"]] == [False, False, True]

    mixed = predict({"bytes": [None, bytearray(b"broken")]})
    assert list(mixed) == ["panoptic_png", "segments_info", "error"], "columns are those of other batches"
    assert "NoneType" in mixed["error"][0] and "cannot be decoded" in mixed["error"][1]

    again: PredictBatches = pickle.loads(pickle.dumps(predict))
    assert len(pickle.dumps(predict)) < 2000, "the model is loaded where it is used"
    again.column = "path"
    by_path = again({"path": [*map(str, paths), str(generated / "nothing.jpg"), 7]})
    assert by_path["path"][-1] == 7, "paths stay"
    assert list(by_path["panoptic_png"][:2]) == list(found["panoptic_png"][:2])
    assert "no such file" in by_path["error"][2]
    assert refused(again, {"bytes": contents}) == "the batch has no column 'path'; give one of bytes"
    assert {name: len(values) for name, values in again({"path": []}).items()} == dict.fromkeys(by_path, 0)


@pytest.fixture(scope="module")
def ray() -> Any:
    """A local Ray without dashboard and network."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
        yield ray
        ray.shutdown()


def test_ray_predicts_what_this_process_does(ray: Any, checkpoint: Path, generated: Path) -> None:
    """By ``map_batches``, or, without pandas, which Ray Data needs, by an actor, as which Ray Data runs a class."""
    paths = sorted((generated / "val2017").iterdir())
    contents = np.array([path.read_bytes() for path in paths], dtype=object)
    expected = PredictBatches(checkpoint, device="cpu")({"bytes": contents})["panoptic_png"]
    if find_spec("pandas") is None:
        found = ray.get(ray.remote(PredictBatches).remote(checkpoint).__call__.remote({"bytes": contents}))
        assert list(found["panoptic_png"]) == list(expected)
        return
    pictures = ray.data.read_binary_files(str(paths[0].parent), include_paths=True)
    options = {"fn_constructor_kwargs": {"model": checkpoint}, "batch_size": 2, "concurrency": 1}
    rows = pictures.map_batches(PredictBatches, **options).take_all()
    assert {Path(row["path"]).name: row["panoptic_png"] for row in rows} == {
        path.name: png for path, png in zip(paths, expected, strict=True)
    }
