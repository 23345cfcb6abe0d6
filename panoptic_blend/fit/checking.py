"""Check a data set before a model is fitted to it: errors end the run, and warnings that matter are repeated."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.checkup import check
from panoptic_blend.doctor.description import lines
from panoptic_blend.doctor.layout import find_splits
from panoptic_blend.doctor.report import Problem, Report, count_cases
from panoptic_blend.fit.kept import digest_of, kept
from panoptic_blend.listing import list_files
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import progress_line

MOST_DECODED = 2000
"""Pictures and PNGs of a split that are decoded, unless all are to be: some 30 seconds on two cores."""
_MATTERS = {
    kinds.CATEGORY_NAME,
    kinds.ONLY_CROWDS,
    kinds.STUFF_SEVERAL,
    kinds.STUFF_CROWD,
    kinds.MAP_VOID,
    kinds.VOID_SHARE,
    kinds.PICTURE_TWICE,
}
"""Warnings that change what a model learns or how good it seems."""
_UNUSED = {kind for kind in kinds.KINDS if kind.name.startswith("instances-")}
"""Kinds of problems of a file that is only compared with: things are those of the panoptic annotation."""


def require_sound(root: Path, splits: Sequence[str], output: Path, *, is_full: bool) -> list[str]:
    """Check splits of a data set in COCO's layout; a sound one is not checked again while its files are the same.

    Args:
        output: a folder for the result.
        is_full: decode every picture and PNG, and not only `MOST_DECODED` of each.

    Returns:
        Lines about warnings that matter, and about what was not decoded.

    Raises:
        PanopticBlendError: there are errors, all of which have been printed with their remedies.
    """
    parts = [path for paths in find_splits(root) if paths.name in splits for path in paths.inputs()]
    files = [file for path in parts for file in (list_files(path, recursive=True).paths if path.is_dir() else [path])]
    key = digest_of(filter(Path.exists, files), sorted(splits), is_full)
    remarks: list[str] = kept(output, key, lambda folder: _check(root, splits, is_full))
    return remarks


def _check(root: Path, splits: Sequence[str], is_full: bool) -> list[str]:
    with progress_line("checking") as progress:
        report = check(root, only=splits, most=None if is_full else MOST_DECODED, progress=progress)
    problems = [problem for split in report.splits for problem in split.problems] + list(report.between)
    errors = [problem for problem in problems if problem.kind not in _UNUSED]
    if count := count_cases("error", errors):
        print(*lines(report), sep="\n", file=sys.stderr)
        raise PanopticBlendError(
            f"{root}: has errors ({count}), the first of kind {errors[0].kind.name}; correct them as the lines say"
        )
    return list(_remarks(report, is_full))


def _remarks(report: Report, is_full: bool) -> Iterator[str]:
    for split in report.splits:
        for problem in split.problems:
            if problem.kind in _MATTERS or (problem.kind in _UNUSED and problem.kind.severity == "error"):
                yield f"{split.name}: {_line(problem)}"
        if not is_full and split.counts.images > MOST_DECODED:
            yield (
                f"{split.name}: {MOST_DECODED:,} of {split.counts.images:,} pictures and their PNGs were decoded to "
                f"check them; `panoptic-blend data check {report.root}` decodes all"
            )


def _line(problem: Problem) -> str:
    first = f" (first: {problem.cases[0]})" if problem.cases else ""
    return f"{problem.count:,} x {problem.kind.meaning}{first}; {problem.kind.remedy}"
