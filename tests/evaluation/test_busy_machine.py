from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from evaluation import busy_machine
from evaluation.busy_machine import CONDITIONS, Condition, busy, measurements, picture, training_step
from panoptic_blend.shapes.dataset import write_shapes


def test_each_ratio_has_its_base_and_target() -> None:
    seconds = dict(zip([condition.name for condition in CONDITIONS], [1.0, 1.04, 2.0, 2.1, 3.2], strict=True))
    found = {m.name: m for m in measurements(seconds)}
    assert found["quiet, ratio"].value == 1.04
    assert found["quiet, ratio"].is_missed
    assert found["beside one loop, ratio"].value == pytest.approx(2 / 1.04)
    missed = [name for name, measurement in found.items() if measurement.is_missed]
    assert missed == ["quiet, ratio", "beside one loop from the middle on, ratio", "beside two loops, ratio"]


def test_loops_run_inside_the_block_and_not_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command))
        return started[-1]

    monkeypatch.setattr(busy_machine, "Popen", start)
    with pytest.raises(KeyError), busy(Condition("two", 2)):
        raise KeyError
    assert [loop.wait() for loop in started] == [-9, -9]
    with busy(Condition("later", 1, delay=1000)):
        pass
    assert len(started) == 2


@pytest.mark.parametrize("work", [training_step, picture])
def test_one_repeat_is_timed(work: object, tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", 8, 1, 0)
    assert callable(work)
    assert work(tmp_path, False, 1) > 0
