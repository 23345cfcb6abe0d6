"""Awkward cases of PQ with figures worked out by hand, by which this evaluator and others are held against the rules.

The cases and their reasons are in ``self_test.yaml``. They are written as COCO panoptic JSON + PNG, as any evaluator
reads them, so that the reading of files is checked too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from panoptic_blend.config.yaml_text import parse_yaml
from panoptic_blend.files import filling, printable, without_nan
from panoptic_blend.formats.images import write_segment_ids
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.panoptic_writer import segment_record
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.scoring.evaluate_files import evaluate_files
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Segment

ERROR = "error"
"""The outcome of a case that an evaluator refuses."""

TOLERANCE = 1e-6
"""Figures, as fractions, agree within this; others may round theirs."""

_CASES = Path(__file__).with_suffix(".yaml")
_FIGURES = ("pq", "sq", "rq", "n")

Outcome = Mapping[str, Mapping[str, float | None]] | str
"""The figures ``pq``, ``sq``, ``rq`` and ``n`` of the groups ``All``, ``Things`` and ``Stuff``; or `ERROR`."""


@dataclass(frozen=True)
class Case:
    """One case of the YAML file, which explains the fields; ``expected`` is what the rules give."""

    name: str
    reason: str
    classes: dict[str, str]
    images: list[dict[str, list[str]]]
    expected: dict[str, list[int | str | None]] | str
    ids: dict[str, int] = field(default_factory=dict)
    truth_fields: dict[str, dict[str, int]] = field(default_factory=dict)
    results_fields: dict[str, dict[str, int]] = field(default_factory=dict)
    records: str | None = None
    may_refuse: bool = False

    @property
    def outcome(self) -> Outcome:
        """The expected figures as numbers."""
        if isinstance(self.expected, str):
            return self.expected
        return {
            group: {
                key: None if value is None else float(Fraction(str(value)))
                for key, value in zip(_FIGURES, values, strict=True)
            }
            for group, values in self.expected.items()
        }

    def write(self, folder: Path) -> None:
        """Write ``truth.json`` and ``results.json``, with the PNGs in folders beside them."""
        sizes = [(len(image["truth"]), len(image["truth"][0])) for image in self.images]
        images = [
            {"id": number, "file_name": f"{number}.jpg", "height": height, "width": width}
            for number, (height, width) in enumerate(sizes, start=1)
        ]
        for side in ("truth", "results"):
            annotations = [
                self._write_map(folder / side, number, image[side])
                for number, image in enumerate(self.images, start=1)
                if side in image
            ]
            content = {"images": images, "annotations": annotations, "categories": _table()["categories"]}
            (folder / f"{side}.json").write_text(json.dumps(content), encoding="utf-8")

    def _write_map(self, folder: Path, number: int, rows: Sequence[str]) -> dict[str, object]:
        """Write the PNG of one image to the folder of its side, and return its record for the JSON."""
        is_truth = folder.name == "truth"
        first = 1 if is_truth else 101
        ids = {letter: id for id, letter in enumerate(self.classes, start=first)} | self.ids
        pixels = np.array([[ids.get(letter, 0) for letter in row] for row in rows], dtype=np.int32)
        write_segment_ids(folder / f"{number}.png", pixels)
        segments = [_segment(ids[letter], name) for letter, name in self.classes.items()]
        drawn = [letter for letter in self.classes if any(letter in row for row in rows)]
        letters = drawn if is_truth or self.records is None else self.records
        of_letter = dict(zip(self.classes, PanopticMap.measured(pixels, segments).segments, strict=True))
        fields = self.truth_fields if is_truth else self.results_fields
        infos = [segment_record(of_letter[letter]) | fields.get(letter, {}) for letter in letters]
        return {"image_id": number, "file_name": f"{number}.png", "segments_info": infos}


@dataclass(frozen=True)
class Verdict:
    """How an evaluator's outcome of a case compares with the rules; None if it has given none."""

    case: Case
    found: Outcome | None

    @property
    def differences(self) -> list[str]:
        """What differs, each in a few words; nothing if the evaluator is right."""
        expected, found = self.case.outcome, self.found
        if found is None:
            return ["no outcome is given"]
        if isinstance(expected, str) or isinstance(found, str):
            if expected == found or (isinstance(found, str) and self.case.may_refuse):
                return []
            return ["it is refused" if isinstance(found, str) else "it is scored, and should be refused"]
        return [
            f"{group} {key} is {_text(found[group][key])}, not {_text(value)}"
            for group, figures in expected.items()
            for key, value in figures.items()
            if key in found.get(group, {}) and not _agree(value, found[group][key])
        ]


@cache
def cases() -> tuple[Case, ...]:
    """All cases, in the order of the file."""
    return tuple(TypeAdapter(list[Case]).validate_python(_table()["cases"]))


def write_cases(folder: Path) -> None:
    """Write a folder for each case, and ``expected.json``, which has outcome and reason of each; not over anything."""
    with filling(folder) as temporary:
        for case in cases():
            case.write(temporary / case.name)
        expected = {
            case.name: {"expected": case.outcome, "may_refuse": case.may_refuse, "reason": case.reason}
            for case in cases()
        }
        (temporary / "expected.json").write_text(json.dumps(expected, indent=1), encoding="utf-8")


def own_outcomes() -> dict[str, Outcome]:
    """The outcome of every case by this library, from files in a temporary folder."""
    with TemporaryDirectory() as folder:
        write_cases(Path(folder) / "cases")
        return {case.name: _own_outcome(Path(folder) / "cases" / case.name) for case in cases()}


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Read the outcomes of another evaluator: a JSON object with, for each name of a case, its figures or "error".

    The figures are fractions, as panopticapi's ``pq_compute`` returns them: ``All``, and ``Things`` and ``Stuff`` if
    they are to be compared, each with ``pq`` and any of ``sq``, ``rq`` and ``n``. NaN and null are figures over
    nothing.

    Raises:
        PanopticBlendError: the file has another form, or names a case that there is not.
    """
    content, known = read_json(path), [case.name for case in cases()]
    if not isinstance(content, dict) or not content:
        raise PanopticBlendError(f"{path}: not a JSON object; give the outcome of each case by its name")
    for name, outcome in content.items():
        where = f"{path}: case {printable(name, 100)}"
        if name not in known:
            raise PanopticBlendError(
                f"{where}: there is no such case; write the names of `pq --self-test --output DIR`"
            )
        if outcome != ERROR and not (isinstance(outcome, dict) and _are_figures(outcome)):
            raise PanopticBlendError(
                f'{where}: neither figures nor "error"; write {{"All": {{"pq": 0.5, "sq": 0.5, "rq": 1, "n": 2}}, ...}}'
            )
    return content


def held_against_the_rules(outcomes: Mapping[str, Outcome]) -> list[Verdict]:
    """Compare the outcomes of an evaluator with those of all cases."""
    return [Verdict(case, outcomes.get(case.name)) for case in cases()]


@cache
def _table() -> Any:
    return parse_yaml(_CASES.read_text(encoding="utf-8"), _CASES.name)


def _segment(id: int, name: str) -> Segment:
    """A segment of a class of the YAML file, such as ``person crowd``."""
    known = {record["name"]: record for record in _table()["categories"]}
    category = known[name.removesuffix(" crowd")]
    return Segment(id, category["id"], category["isthing"] == 1, None, 0, None, name.endswith(" crowd"))


def _own_outcome(folder: Path) -> Outcome:
    try:
        report = evaluate_files(folder / "truth.json", folder / "results.json")
    except PanopticBlendError:
        return ERROR
    outcome: Outcome = without_nan(report.groups)
    return outcome


def _are_figures(outcome: Mapping[str, Any]) -> bool:
    groups = [outcome[group] for group in GROUPS if group in outcome]
    if "All" not in outcome or not all(isinstance(group, dict) and "pq" in group for group in groups):
        return False
    values = [group[key] for group in groups for key in _FIGURES if key in group]
    return all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)


def _agree(expected: float | None, found: float | None) -> bool:
    if expected is None or found is None or math.isnan(found):
        return expected is None and (found is None or math.isnan(found))
    return abs(expected - found) <= TOLERANCE


def _text(value: float | None) -> str:
    return "null" if value is None else f"{value:.7g}"
