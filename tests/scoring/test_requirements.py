"""``pq --fail-under``: what passes, exit codes, JUnit XML and annotations of GitHub."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from panoptic_blend.cli import main as cli
from panoptic_blend.metrics.panoptic_quality import PanopticQuality
from panoptic_blend.scoring.requirements import Check, Requirement, github_annotations, write_junit

CATEGORIES = [{"id": 1, "name": "<cat> & 100%", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]


def report_of(*cats: float, missed: int = 0) -> PanopticQuality:
    quality = PanopticQuality(CATEGORIES)
    quality.tally(((1, iou) for iou in cats), [1] * missed, [])
    return quality


@pytest.mark.parametrize(
    ("text", "of", "least"), [("45", "All", 45), ("things=40", "Things", 40), ("a=b=0.5", "a=b", 0.5)]
)
def test_requirements_are_read(text: str, of: str, least: float) -> None:
    assert Requirement.parse(text) == Requirement(of, least)


def test_wrong_requirements_are_refused(refused: Callable[..., str]) -> None:
    for text in ("", "x", "things=", "101", "-1", "nan", "inf"):
        assert refused(Requirement.parse, text).startswith(f"--fail-under {text}: ")
    message = refused(Requirement("dog", 4).check, report_of(0.6).compute())
    assert message.startswith(
        "--fail-under: `dog` is no class; give all, things, stuff or a class of the data set (<cat>"
    )


def test_a_requirement_is_met_at_the_figure_itself_and_missed_just_below() -> None:
    exact = Requirement("All", 58).check(report_of(0.58).compute())
    assert exact.passed and exact.message == "PQ of All is 58.00, at least 58"
    below = Requirement("Things", 58).check(report_of(0.58 - 1e-9).compute())
    assert not below.passed and below.message == "PQ of Things is 57.99, below 58"
    nothing = Requirement("sky", 0).check(report_of(0.58).compute())
    assert not nothing.passed and nothing.message == "PQ of sky: nothing to score, and 0 is required"


def test_junit_and_annotations(tmp_path: Path) -> None:
    report = report_of(0.8, missed=2).compute()
    checks = [Requirement(of, 40).check(report) for of in ("All", "<cat> & 100%", "Stuff")]
    assert [check.passed for check in checks] == [True, True, False]
    path = tmp_path / "deep" / "junit.xml"
    write_junit(path, [*checks, Check(Requirement("All", 50), 0.4)])
    suites = ElementTree.parse(path).getroot()
    assert (suites.tag, suites.attrib["tests"], suites.attrib["failures"]) == ("testsuites", "4", "2")
    cases = suites.findall("testsuite/testcase")
    assert [case.attrib["name"] for case in cases][:2] == [
        "PQ of All is at least 40",
        "PQ of <cat> & 100% is at least 40",
    ]
    failures = [case.find("failure") for case in cases]
    assert [None if f is None else f.attrib["message"] for f in failures] == [
        None,
        None,
        "PQ of Stuff: nothing to score, and 40 is required",
        "PQ of All is 40.00, below 50",
    ]
    assert list(github_annotations(checks))[1:] == [
        "::notice title=Panoptic quality::PQ of <cat> & 100%25 is 40.00, at least 40",
        "::error title=Panoptic quality::PQ of Stuff: nothing to score, and 40 is required",
    ]
    assert math.isnan(checks[2].pq)


def test_the_command_prints_its_figures_and_exits_with_1(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = shapes / "annotations" / "panoptic_val2017.json"
    content = json.loads(truth.read_text())
    del content["annotations"][0]
    (tmp_path / "results.json").write_text(json.dumps(content))
    files = [str(truth), str(tmp_path / "results.json"), "--prediction-folder", str(truth.with_suffix(""))]

    def run(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["panoptic-blend", "pq", *files, "--missing", "void", "--json", *options])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    code, printed, errors = run("--fail-under", "100", "--fail-under", "things=1", "--junit", str(tmp_path / "j.xml"))
    pq = json.loads(printed)["All"]["pq"]
    assert code == 1 and 0 < pq < 1
    assert errors == f"failed: PQ of All is {math.floor(1e4 * pq) / 100:.2f}, below 100\n"
    assert 'tests="2" failures="1"' in (tmp_path / "j.xml").read_text()
    code, _, errors = run("--fail-under", "1", "--github")
    assert code == 0 and errors.startswith("::notice title=Panoptic quality::PQ of All is ")
    code, printed, errors = run("--github")
    assert (code, printed) == (2, "") and "--github has nothing to report; add --fail-under PQ" in errors
