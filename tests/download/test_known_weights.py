"""The table of known weights: every entry is well-formed, and the table that a user sees says what it holds."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console
from torchvision.models import get_model_weights

from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.download.known_weights import KnownWeights, closest_name, find_known, known_weights
from panoptic_blend.download.weights_table import lines, record, table

EVERY = list(known_weights().values())
GUIDE = Path(__file__).parents[2] / "docs" / "weights.md"


@pytest.mark.parametrize("known", EVERY, ids=lambda known: known.name)
def test_an_entry_is_well_formed(known: KnownWeights) -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", known.name)
    address = urlsplit(known.address)
    assert address.scheme == "https" and not address.query and re.fullmatch(r"[\w.-]+\.(pth|pkl)", known.file)
    assert re.fullmatch(r"(?:[0-9a-f]{8}|[0-9a-f]{64})?", known.sha256) and re.fullmatch(r"([0-9a-f]{6})?", known.md5)
    in_name = re.search(r"[-_]([0-9a-f]{6}|[0-9a-f]{8})\.", known.file)
    assert in_name is None or in_name[1] in (known.sha256, known.md5), "what its name says of the checksum is checked"
    assert known.config in {*config_names(), None}
    assert urlsplit(known.source).scheme == urlsplit(known.license.address).scheme == "https"
    assert all(20 < figure < 90 for figure in known.figures.values())


def test_file_names_are_distinct_so_that_a_mirror_is_one_folder() -> None:
    assert len({known.file for known in EVERY}) == len(EVERY) == 25


def test_publishers_and_licenses() -> None:
    found = {(known.publisher, known.license.name, known.license.is_commercial) for known in EVERY}
    assert found == {
        ("mmdetection", "Apache-2.0", True),
        ("detectron2", "CC BY-SA 3.0", True),
        ("torchvision", "BSD-3-Clause", True),
        ("AdelaiDet", "AdelaiDet", False),
    }
    counts = [sum(known.publisher == name for known in EVERY) for name in ("mmdetection", "detectron2", "AdelaiDet")]
    assert counts == [4, 7, 6]
    assert EVERY[0].publisher == "mmdetection", "the recommended ones come first"


def test_torchvision_says_the_same_of_its_weights() -> None:
    for depth in (18, 34, 50, 101):
        for number, theirs in enumerate(get_model_weights(f"resnet{depth}"), start=1):
            known = known_weights()[f"resnet{depth}_imagenet_v{number}"]
            assert known.address == theirs.url
            assert known.figures["top-1"] == round(theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"], 1)
            assert known.megabytes == round(theirs.meta["_file_size"] * 2**20 / 1e6, 1)


def test_the_guide_has_the_same_table() -> None:
    text = GUIDE.read_text(encoding="utf-8").partition(
        "| name | figures | MB | license | config |\n|---|---|---|---|---|\n"
    )[2]
    rows = []
    for known in EVERY:
        figures = ", ".join(f"{name} {value:.1f}" for name, value in known.figures.items()) or "-"
        size, config = known.megabytes and format(known.megabytes, ".0f"), known.config and f"`{known.config}`"
        rows.append(f"| `{known.name}` | {figures} | {size or '-'} | {known.license.name} | {config or '-'} |")
    assert text.split("\n\n")[0] == "\n".join(rows)


def test_a_name_is_found_unless_it_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "panoptic_fpn_r50_3x_mmdet"
    known = find_known(name)
    assert known is not None and known.name == name and find_known("resnet50") is None
    Path(name).touch()
    assert find_known(name) is None


def test_closest_names() -> None:
    assert closest_name("panoptic_fpn_r50_mmdet") == "panoptic_fpn_r50_3x_mmdet"
    assert closest_name("blendmask_r50_official") in {"blendmask_r50_1x_official", "blendmask_r50_3x_official"}
    assert closest_name("yolo") is None


def test_the_table_and_the_records() -> None:
    console = Console(width=80)
    with console.capture() as printed:
        console.print(table())
    rows = printed.get().splitlines()
    assert len(rows) == len(EVERY) + 4, "no row is folded on a narrow terminal"
    assert re.search("panoptic_fpn_r50_3x_mmdet .* PQ 42.5 .* Apache-2.0 .* - .* - ", rows[3])
    told = list(lines())
    assert any(line.startswith("AdelaiDet: non-commercial") for line in told)
    assert any(line.startswith("CC BY-SA 3.0: name the authors, and share") for line in told)
    first = record()[0]
    assert first["config"] == "panoptic/panoptic_fpn_r50_3x_mmdet" and first["cached"] is None
    assert first["figures"] == {"PQ": 42.5, "PQ things": 50.3, "PQ stuff": 30.7} and first["md5"] is None
