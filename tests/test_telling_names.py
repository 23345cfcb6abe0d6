"""Names of files that tell them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from panoptic_blend.files import telling_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/truth.json", "/d/a.json", "/d/b.json"], ["truth.json", "a.json", "b.json"]),
        (["/t/x.json", "/a/x.json"], ["t/x.json", "a/x.json"]),
        (["/d/ann/x.json", "/r/a/val/x.json", "/r/b/val/x.json"], ["d/ann/x.json", "a/val/x.json", "b/val/x.json"]),
        (["/x.json", "/x.json"], ["x.json", "x.json"]),
        (["/x.json", "/a/x.json"], ["//x.json", "a/x.json"]),
    ],
)
def test_the_shortest_end_that_tells_paths_apart(paths: list[str], names: list[str]) -> None:
    assert telling_names([Path(path) for path in paths]) == [name.replace("//", "/") for name in names]
