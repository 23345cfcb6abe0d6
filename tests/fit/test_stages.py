"""The record of finished stages: it forgets what depends on a stage that is done again."""

from __future__ import annotations

import os
from pathlib import Path

from panoptic_blend.fit.stages import Stages, digest_of_files


def test_a_stage_is_done_with_the_same_inputs_and_its_files(tmp_path: Path) -> None:
    stages, file = Stages(tmp_path), tmp_path / "a"
    assert not stages.is_done("plan", {"minutes": 3})
    stages.finish("plan", {"minutes": 3})
    again = Stages(tmp_path)
    assert again.is_done("plan", {"minutes": 3})
    assert not again.is_done("plan", {"minutes": 3}, file)
    assert not again.is_done("plan", {"minutes": 4})
    assert again.difference("plan", {"minutes": 4}) == "minutes 3 then, 4 now"
    assert again.difference("plan", {"minutes": 3}) is None
    stages.finish("data", {"files": "0f"})
    assert stages.difference("data", {"files": "1f"}) == "files were added, removed or changed"


def test_a_stage_that_is_done_again_undoes_those_after_it(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    for name in ("data", "plan", "training"):
        stages.finish(name, {})
    stages.finish("plan", {})
    assert [Stages(tmp_path).is_done(name, {}) for name in ("data", "plan", "training")] == [True, True, False]


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for text in ("[]", '{"a": 1}'):
        (tmp_path / "stages.json").write_text(text)
        assert not Stages(tmp_path).is_done("a", {})


def test_a_digest_changes_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = digest_of_files(tmp_path)
    assert digest_of_files(tmp_path) == before
    os.utime(tmp_path / "a", ns=(1, 1))
    assert digest_of_files(tmp_path) != before
