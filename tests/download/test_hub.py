"""Weights from a stand-in for the Hugging Face Hub; nothing but safetensors is taken from there."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, hub_serving

from panoptic_blend.download import weights_cache
from panoptic_blend.download.hub import fetch_from_hub
from panoptic_blend.download.weights_sources import model_source, weights_path
from panoptic_blend.extras import MissingExtraError

Refused = Callable[..., str]
HEADER = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER + bytes(4)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv(weights_cache.OFFLINE, "")
    with hub_serving(monkeypatch, tmp_path / "hub") as hub:
        hub.repos["me/street"] = {"model.safetensors": WEIGHTS, "other.safetensors": WEIGHTS + b"x", "model.bin": b"x"}
        yield hub


def test_a_file_is_fetched_once(hub: Hub) -> None:
    path = weights_path("hf://me/street")
    assert path.name == "model.safetensors" and path.read_bytes() == WEIGHTS
    assert weights_path(Path("hf://me/street")) == path, "a Path has one slash less"
    assert model_source("hf://me/street@main") == (path, None)
    assert hub.requests.count("GET /me/street/resolve/main/model.safetensors") == 1


def test_a_revision_and_a_file_can_be_named(hub: Hub, refused: Refused) -> None:
    assert fetch_from_hub(f"hf://me/street@{COMMIT}/other.safetensors").read_bytes() == WEIGHTS + b"x"
    assert "has no such revision" in refused(fetch_from_hub, "hf://me/street@v2")


def test_the_only_safetensors_is_taken_whatever_its_name(hub: Hub, refused: Refused) -> None:
    del hub.repos["me/street"]["model.safetensors"]
    assert fetch_from_hub("hf://me/street").name == "other.safetensors"
    hub.repos["me/street"]["more.safetensors"] = WEIGHTS
    assert "has 2 safetensors: other.safetensors, more.safetensors; name a file" in refused(
        fetch_from_hub, "hf://me/street"
    )
    hub.repos["me/street"] = {"model.bin": b"x"}
    assert "has no safetensors; name a file" in refused(fetch_from_hub, "hf://me/street")
    assert "the repository has no such file" in refused(fetch_from_hub, "hf://me/street/a.safetensors")


def test_nothing_but_safetensors_is_taken(hub: Hub, refused: Refused) -> None:
    assert "only safetensors are taken" in refused(fetch_from_hub, "hf://me/street/model.bin")
    assert hub.requests == []
    hub.repos["me/street"]["model.safetensors"] = pickle.dumps({"a": 1})
    assert "is no safetensors, whatever its name says" in refused(fetch_from_hub, "hf://me/street")


@pytest.mark.parametrize(
    "address", ["hf://", "hf://me", "hf://me/street@", "hf://me/street//", "hf://../../etc/passwd"]
)
def test_what_is_no_address(address: str, refused: Refused) -> None:
    assert refused(fetch_from_hub, address).startswith(f"{address}: ")


def test_offline_the_cache_is_used(hub: Hub, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights_cache.OFFLINE, "1")
    assert "not in the cache" in refused(fetch_from_hub, "hf://me/street")
    monkeypatch.setenv(weights_cache.OFFLINE, "")
    path = fetch_from_hub("hf://me/street")
    monkeypatch.setenv(weights_cache.OFFLINE, "1")
    count = len(hub.requests)
    assert fetch_from_hub("hf://me/street") == path and len(hub.requests) == count


def test_what_the_hub_lacks(refused: Refused) -> None:
    assert "not on the Hub, or private; check the name, or log in" in refused(fetch_from_hub, "hf://me/nothing")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"panoptic-blend\[hub\]"):
        fetch_from_hub("hf://me/street")
