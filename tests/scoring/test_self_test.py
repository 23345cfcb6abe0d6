"""The cases of ``pq --self-test`` against a second implementation of the rules, and verdicts on other evaluators."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from panoptic_blend.cli.main import application
from panoptic_blend.compat import pq_compute
from panoptic_blend.formats.images import read_segment_ids
from panoptic_blend.scoring.self_test import cases, held_against_the_rules, own_outcomes, read_outcomes, write_cases
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(application("pq"), ["pq", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("self-test") / "cases"
    assert run("--self-test", "--output", path) == (0, f"cases, and expected.json: {path}\n")
    return path


def by_the_rules(folder: Path) -> dict[str, list[Fraction | None]]:
    """PQ, SQ, RQ and the number of classes by group, pixel by pixel, from sections 4.1 and 4.2 of the paper."""
    truth, results = (json.loads((folder / f"{side}.json").read_text()) for side in ("truth", "results"))
    found = {annotation["image_id"]: annotation for annotation in results["annotations"]}
    counts: dict[int, list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 4)  # sum of IoUs, tp, fp, fn

    def count(category: int, *added: Fraction | int) -> None:
        counts[category] = [a + b for a, b in zip(counts[category], added, strict=True)]

    for annotation in truth["annotations"]:
        maps = []
        for side, each in (("truth", annotation), ("results", found[annotation["image_id"]])):
            pixels: dict[int, set[int]] = defaultdict(set)
            for place, segment in enumerate(read_segment_ids(folder / side / each["file_name"]).ravel().tolist()):
                pixels[segment].add(place)
            maps.append((pixels, {info["id"]: info for info in each["segments_info"]}))
        (true_pixels, true_infos), (found_pixels, found_infos) = maps
        void, matched = true_pixels[0], set()
        for true_id, info in true_infos.items():
            ious = [(Fraction(0), 0)]
            for found_id, other in found_infos.items():
                if other["category_id"] == info["category_id"]:
                    shared = len(true_pixels[true_id] & found_pixels[found_id])
                    ious.append(
                        (Fraction(shared, len(true_pixels[true_id] | (found_pixels[found_id] - void))), found_id)
                    )
            iou, found_id = max(ious)
            if info["iscrowd"]:
                continue
            if iou > Fraction(1, 2):
                count(info["category_id"], iou, 1, 0, 0)
                matched.add(found_id)
            else:
                count(info["category_id"], 0, 0, 0, 1)
        for found_id in found_infos.keys() - matched:
            category = found_infos[found_id]["category_id"]
            crowds = [id for id, i in true_infos.items() if i["iscrowd"] and i["category_id"] == category]
            ignored = void.union(*(true_pixels[id] for id in crowds)) & found_pixels[found_id]
            if 2 * len(ignored) <= len(found_pixels[found_id]):
                count(category, 0, 0, 1, 0)

    groups = {}
    for group, kinds in (("All", (0, 1)), ("Things", (1,)), ("Stuff", (0,))):
        chosen = [c["id"] for c in truth["categories"] if c["isthing"] in kinds and c["id"] in counts]
        rows = [counts[id] for id in chosen]
        sums = [
            (iou / (tp + fp / 2 + fn / 2), iou / tp if tp else Fraction(0), tp / (tp + fp / 2 + fn / 2))
            for iou, tp, fp, fn in rows
        ]
        means: list[Fraction | None] = [sum(column) / len(sums) for column in zip(*sums, strict=True)] or [None] * 3
        groups[group] = [*means, Fraction(len(sums))]
    return groups


@pytest.mark.parametrize("case", [case for case in cases() if case.expected != "error"], ids=lambda case: case.name)
def test_the_expected_figures_are_those_of_the_definition(case: Any, folder: Path) -> None:
    """The fractions of the file are the very ones, not rounded."""
    assert by_the_rules(folder / case.name) == {
        group: [None if value is None else Fraction(str(value)) for value in values]
        for group, values in case.expected.items()
    }


def test_this_evaluator_agrees_in_every_case() -> None:
    verdicts = held_against_the_rules(own_outcomes())
    assert [(verdict.case.name, verdict.differences) for verdict in verdicts] == [(case.name, []) for case in cases()]
    assert all(case.reason.endswith(".") for case in cases())
    refused = {verdict.case.name for verdict in verdicts if verdict.found == "error"}
    assert refused == {case.name for case in cases() if case.expected == "error" or case.may_refuse}


def test_the_command_prints_both_and_exits_with_0() -> None:
    code, said = run("--self-test", "--format", "csv")
    assert code == 0
    rows = [line.split(",") for line in said.splitlines()]
    assert ["exactly-half", "33.3", "33.3", "50.0", "2", "33.3", "33.3", "50.0", "2", "yes"] in rows
    assert f"{len(cases())} of {len(cases())} cases agree with the rules" in said
    verdicts = json.loads(run("--self-test", "--json")[1])
    assert verdicts["nothing-to-score"]["found"]["All"] == {"pq": None, "sq": None, "rq": None, "n": 0}
    assert all(verdict["agrees"] for verdict in verdicts.values())


def test_the_results_of_another_evaluator(folder: Path, tmp_path: Path) -> None:
    """What `compat.pq_compute` returns is the documented form, and a wrong figure is named with its reason."""
    outcomes: dict[str, Any] = {}
    for case in cases():
        try:
            outcomes[case.name] = pq_compute(folder / case.name / "truth.json", folder / case.name / "results.json")
        except PanopticBlendError:
            outcomes[case.name] = "error"
    path = tmp_path / "other_results.json"
    path.write_text(json.dumps(outcomes))
    assert run("--self-test", path)[0] == 0

    outcomes["exactly-half"]["Things"] = {"pq": 0.5, "n": 1}
    outcomes["above-half"] = {"All": {"pq": 59 / 99 + 1e-7}}
    outcomes["unknown-category"] = outcomes["absent-classes"]
    outcomes["large-ids"] = "error"
    del outcomes["wrong-class"]
    path.write_text(json.dumps(outcomes))
    code, said = run(path, "--self-test")
    assert code == 1
    assert "exactly-half: Things pq is 0.5, not 0. Person has IoU 4/8." in said
    assert "unknown-category: it is scored, and should be refused. " in said
    assert "large-ids: it is refused. " in said
    assert "wrong-class: no outcome is given. " in said
    assert f"{len(cases()) - 4} of {len(cases())} cases agree with the rules" in said


@pytest.mark.parametrize(
    "content", [[], {}, {"no-such-case": "error"}, {"large-ids": 3}, {"large-ids": {"All": {"pq": "1"}}}]
)
def test_results_in_another_form_are_refused(content: object, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    refused(read_outcomes, path)


def test_output_is_alone_and_overwrites_nothing(folder: Path, refused: Refused) -> None:
    assert "is not an empty folder" in refused(write_cases, folder)
    done = CliRunner().invoke(application("pq"), ["pq", "--self-test", "--output", str(folder), "--json"])
    assert str(done.exception) == "--output writes the cases and tests nothing; give it alone"
