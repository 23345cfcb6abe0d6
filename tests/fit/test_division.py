"""The only split of a data set is divided in two that the loader reads, and pictures are not copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.fit.division import divide
from panoptic_blend.fit.intake import prepare
from panoptic_blend.fit.kept import kept


def only_train(root: Path, count: int = 7) -> Path:
    for path in (root / "annotations").glob("*val2017*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    path = root / "annotations/panoptic_train2017.json"
    content = json.loads(path.read_text())
    path.write_text(
        json.dumps({**content, "images": content["images"][:count], "annotations": content["annotations"][:count]})
    )
    return root


def test_both_splits_are_read_and_the_folder_of_the_user_is_left_alone(shapes: Path, tmp_path: Path) -> None:
    root = only_train(shapes)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    prepared = prepare(root, tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    train, val = (CocoPanoptic(prepared.root, split) for split in (prepared.train, prepared.val))
    whole = CocoPanoptic(root, "train2017")
    assert (len(train), len(val)) == (5, 2), "more than the share, as classes of two pictures are on both sides"
    assert sorted([*train.images.file_names, *val.images.file_names]) == sorted(whole.images.file_names)
    assert (
        train.truth(0).segment_ids == whole.truth(list(whole.images.ids).index(train.images.ids[0])).segment_ids
    ).all()
    assert (prepared.root / "train").is_symlink()
    assert prepared.remarks[0] == (
        "2 of 7 pictures are held back for validation, stratified by class (seed 0); pictures are taken one by one, as "
        "neither names nor likeness show groups"
    )
    assert prepared.remarks[-1].startswith("too few validation pictures (2) to say")


def test_the_division_is_kept_until_the_data_or_the_seed_change(shapes: Path, tmp_path: Path) -> None:
    root, output = only_train(shapes), tmp_path / "run/data"

    def chosen(seed: int) -> tuple[str, int]:
        divide(root, "train2017", output, val_share=0.3, seed=seed)
        path = output / "annotations/panoptic_val.json"
        return json.loads(path.read_text())["images"], path.stat().st_mtime_ns

    first = chosen(0)
    assert chosen(0) == first
    others = [chosen(seed)[0] for seed in range(1, 4)]
    assert any(other != first[0] for other in others)
    assert chosen(0)[0] == first[0]


def test_one_picture_cannot_be_divided_and_two_can(shapes: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    root = only_train(shapes, 2)
    prepared = prepare(root, tmp_path / "two")
    assert len(CocoPanoptic(prepared.root, "train")) == len(CocoPanoptic(prepared.root, "val")) == 1
    message = refused(prepare, only_train(root, 1), tmp_path / "one")
    assert message.startswith("panoptic_train2017.json: has 1 labeled picture")
    assert not (tmp_path / "one/data").exists()


def test_a_folder_that_was_not_made_here_is_not_replaced(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.txt").write_text("irreplaceable")
    assert "was not made by fit" in refused(kept, tmp_path / "data", "key", lambda folder: None)
    assert (tmp_path / "data/thesis.txt").exists()
