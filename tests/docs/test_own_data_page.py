"""The guide to one's own data: its program writes a folder that its first command converts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from documented import blocks

from panoptic_blend.convert.labelme import Classes, read_labelme
from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.data.dataset import CocoPanoptic

PAGE = "docs/own-data.md"


def test_the_example_folder_is_written_and_converted(
    shapes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [program] = [block for block in blocks(PAGE) if block.language == "python"]
    shapes.rename(tmp_path / "moved")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "moved").rename(tmp_path / "datasets/shapes")
    monkeypatch.chdir(tmp_path)
    exec(compile(program.text, PAGE, "exec"), {})
    classes = Classes(stuff=["grass", "water", "sand", "sky"])
    write(
        read_labelme(Path("labeled"), classes),
        ConversionOptions(Path("datasets/own"), val_share=0.1),
        lambda done, total: None,
    )
    truth = CocoPanoptic("datasets/shapes", "train2017")
    pictures = {image.file_name: truth.truth(i) for i, image in enumerate(truth.images)}
    for split, count in (("train", 6), ("val", 1)):
        data = CocoPanoptic("datasets/own", split)
        assert len(data) == count
        for i, image in enumerate(data.images):
            before, after = pictures[image.file_name], data.truth(i)
            stuff = {s.id for s in after.segments if not s.is_thing}
            known = {s.id for s in before.segments if not s.is_thing}
            both = np.isin(before.segment_ids, list(known)) & np.isin(after.segment_ids, list(stuff))
            names_before = {s.id: truth.categories.by_id[s.category].name for s in before.segments}
            names_after = {s.id: data.categories.by_id[s.category].name for s in after.segments}
            pairs = set(zip(before.segment_ids[both].tolist(), after.segment_ids[both].tolist(), strict=True))
            assert pairs and all(names_before[a] == names_after[b] for a, b in pairs)
