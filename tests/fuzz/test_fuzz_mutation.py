"""Mutations depend on their seed alone, and reach what parsers read."""

from __future__ import annotations

import json
import zlib
from random import Random

import cv2
import numpy as np
import pytest
import yaml

from evaluation.fuzz.mutation import DEEP, change_value, mutate

CONTENT = json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 7, "isthing": 1}]}).encode()


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.yaml", "a.png", "a.safetensors", "a.bin"])
def test_a_mutation_depends_on_its_seed_alone(name: str) -> None:
    first, again = ([mutate(name, CONTENT, Random(seed)) for seed in range(50)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 25


def test_values_are_changed_removed_and_doubled_at_any_depth_and_the_original_stays() -> None:
    value = {"a": {"b": [1, 2]}, "c": "x"}
    found = [change_value(value, Random(seed)) for seed in range(2000)]
    assert value == {"a": {"b": [1, 2]}, "c": "x"}
    for expected in ({"c": "x"}, {"a": {"b": [1]}, "c": "x"}, {"a": {"b": [1, 2, 2]}, "c": "x"}):
        assert expected in found
    assert {"a": {"b": [1, None]}, "c": "x"} in found
    assert {"a": None, "c": "x"} in found
    assert {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}} in found, "a value from elsewhere in the document"


def test_json_has_values_that_no_serializer_writes() -> None:
    found = [mutate("a.json", CONTENT, Random(seed)) for seed in range(3000)]
    for part in (b"[" * DEEP, b"1" + b"0" * 400, b"NaN", b"1e999", b'"images": null, "images": '):
        assert any(part in content for content in found), part


def test_yaml_and_headers_of_safetensors_stay_readable() -> None:
    text = yaml.safe_dump({"train": {"lr": 0.1}, "model": {"things": [1, 2]}}).encode()
    parsed = 0
    for seed in range(30):
        try:
            parsed += yaml.safe_load(mutate("a.yaml", text, Random(seed))) != yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, UnicodeError):
            continue
    assert parsed > 12
    header = json.dumps({"__metadata__": {"config": '{"a": 1}'}, "x": {"dtype": "F32"}}).encode()
    content = len(header).to_bytes(8, "little") + header + b"data"
    whole = 0
    for seed in range(100):
        changed = mutate("a.safetensors", content, Random(seed))
        size = int.from_bytes(changed[:8], "little")
        whole += changed != content and changed.endswith(b"data") and size == len(changed) - 12
    assert whole > 50


def test_chunks_of_a_png_are_changed_with_a_right_checksum() -> None:
    content = cv2.imencode(".png", np.zeros((4, 5, 3), np.uint8))[1].tobytes()
    sizes = set()
    for seed in range(200):
        changed = mutate("a.png", content, Random(seed))
        header, checksum = changed[12:29], int.from_bytes(changed[29:33], "big")
        if header.startswith(b"IHDR") and zlib.crc32(header) == checksum:
            sizes.add(header[4:12])
    assert len(sizes) > 20, "many widths and heights that a decoder believes"
