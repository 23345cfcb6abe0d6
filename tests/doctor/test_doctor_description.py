"""`panoptic-blend data check` on the command line: its output, its exit codes, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from panoptic_blend.cli.main import main
from panoptic_blend.files import printable

JSON = "annotations/panoptic_val2017.json"


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shapes: Path) -> Any:
    """Runs the command on Shapes and returns exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["panoptic-blend", "data", "check", *map(str, (shapes, *arguments))])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def set_areas(root: Path, area: object) -> int:
    """Set the area of every segment of val2017, and return the number of segments."""
    content = json.loads((root / JSON).read_text())
    segments = [segment for annotation in content["annotations"] for segment in annotation["segments_info"]]
    for segment in segments:
        segment["area"] = area
    (root / JSON).write_text(json.dumps(content))
    return len(segments)


def test_shapes_has_no_errors(check: Any, shapes: Path) -> None:
    code, out, err = check()
    assert (code, err) == (0, "")
    assert "val2017" in out and "train2017" in out
    code, out, err = check("--json", "--split", "val2017")
    record = json.loads(out)
    assert (code, err, record["sound"]) == (0, "", True)
    [split] = record["splits"]
    assert (split["name"], split["images"], split["pictures"], split["maps"]) == ("val2017", 3, 3, 3)
    assert {problem["severity"] for problem in split["problems"]} <= {"warning"}


def test_errors_are_listed_with_first_cases_and_remedy(check: Any, shapes: Path) -> None:
    number = set_areas(shapes, 7)
    code, out, _ = check()
    assert code == 1
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"  error area, {number} x: "))
    assert all(" 7 in the JSON, " in line for line in lines[start + 1 : start + 4])
    assert lines[start + 4] == f"      and {number - 3} more"
    assert lines[start + 5].startswith("    to do: recompute it")
    assert f"{number} errors and " in lines[-1]
    assert len(json.loads(check("--json", "--cases", 5)[1])["splits"][1]["problems"][0]["cases"]) == 5
    assert "image 1" not in check("--cases", 0)[1]


def test_the_command_that_is_shown_repairs(check: Any, shapes: Path, tmp_path: Path) -> None:
    set_areas(shapes, 7)
    [line] = [line for line in check()[1].splitlines() if line.startswith("to repair: ")]
    program = f"{sys.executable} -c 'from panoptic_blend.cli.main import main; main()'"
    command = line.removeprefix("to repair: ").replace("panoptic-blend", program, 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
    code, out, _ = check()
    assert code == 0 and "to repair: " not in out


def test_a_repair_is_reported(check: Any, shapes: Path, tmp_path: Path) -> None:
    number, out = set_areas(shapes, 7), tmp_path / "fixed.json"
    content = json.loads((shapes / JSON).read_text())
    content["annotations"][0]["segments_info"][0]["category_id"] = 77
    (shapes / JSON).write_text(json.dumps(content))
    code, text, _ = check("--split", "val2017", "--fix", out)
    assert code == 1, "one error cannot be repaired"
    assert f"repaired: {out}" in text
    assert f"  area: {number} of {number} gone" in text
    assert f"  kept 3 of 3 images and {number} of {number} segments" in text
    assert "  category-unknown: 1 left; list the category" in text
    record = json.loads(check("--split", "val2017", "--json", "--fix", tmp_path / "again.json")[1])
    repair = record["splits"][0]["mended"]
    assert repair["json"] == str(tmp_path / "again.json")
    assert [p["name"] for p in repair["problems"] if p["severity"] == "error"] == ["category-unknown"]


def test_refused_calls_exit_with_2(check: Any, shapes: Path) -> None:
    code, out, err = check("--split", "none")
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and len(err.splitlines()) == 1
    assert check("--fix", shapes / "x.json", "--split", "val2017")[0] == 2


def test_file_names_cannot_control_the_terminal(check: Any, shapes: Path) -> None:
    (shapes / "val2017" / "[red]\x1b[31m\n\u202e\udcff.jpg").write_bytes(b"")
    code, out, _ = check()
    assert code == 0
    assert r"      [red]\x1b[31m\n\u202e\udcff.jpg" in out.splitlines()
    assert printable("ü [b] 漢") == "ü [b] 漢"
    assert json.loads(check("--json")[1])["splits"][1]["problems"]


def test_an_interrupt_ends_the_check_with_one_line(shapes: Path, tmp_path: Path) -> None:
    content = json.loads((shapes / JSON).read_text())
    image, annotation = content["images"][0], content["annotations"][0]
    for number in range(3000):
        for folder, record in ((shapes / "val2017", image), ((shapes / JSON).with_suffix(""), annotation)):
            (folder / f"{number}{Path(record['file_name']).suffix}").symlink_to(folder / record["file_name"])
        content["images"].append({**image, "id": -number, "file_name": f"{number}.jpg"})
        content["annotations"].append({**annotation, "image_id": -number, "file_name": f"{number}.png"})
    (shapes / JSON).write_text(json.dumps(content))
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background of a shell
        "import panoptic_blend.doctor.checkup as c, panoptic_blend.cli.main as cli\n"
        "real = c.check\n"
        "def check(*a, progress, **k): return real(*a, progress=lambda *n: print('.', flush=True), **k)\n"
        "c.check = check\n"
        "cli.main()"
    )
    command = [sys.executable, "-c", code, "data", "check", str(shapes), "--split", "val2017", "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == ".\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped; nothing was written\n"
    assert out.count(".") < 6000
