"""Check a data set: each split's JSON and files, then the splits against one another."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.edits import Edits
from panoptic_blend.doctor.evidence import Evidence, inspect_files
from panoptic_blend.doctor.instances import check_instances
from panoptic_blend.doctor.kinds import Finding
from panoptic_blend.doctor.layout import SplitPaths, find_splits, is_training, open_folders
from panoptic_blend.doctor.pixels import check_files, check_pixels, left_out
from panoptic_blend.doctor.records import LISTS, Contents, segments
from panoptic_blend.doctor.repair import repaired, require_outside, write_repaired
from panoptic_blend.doctor.report import Counts, RepairReport, Report, SplitReport, tally
from panoptic_blend.doctor.structure import (
    check_annotations,
    check_categories,
    check_crowds,
    check_fields,
    check_images,
)
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.structures import PanopticBlendError, Progress

NO_EDITS = Edits()


@dataclass(frozen=True)
class _SplitSummary:
    """The categories of a split as text, and its picture names by digest, for comparison with other splits."""

    split: str
    categories: frozenset[str]
    pictures: dict[bytes, str]


def check(
    root: str | Path,
    split: str | None = None,
    *,
    only: Collection[str] = (),
    most: int | None = None,
    cases: int = 3,
    workers: int | None = None,
    progress: Progress | None = None,
    fix: str | Path | None = None,
    edits: Edits = NO_EDITS,
) -> Report:
    """Find the faults of a COCO panoptic data set; its folders are only read.

    Args:
        root: the root of the data set, with ``annotations/panoptic_<split>.json`` and the rest of COCO's layout; the
            PNGs may be in a zip.
        split: check only this split; by default every split that is found.
        only: check only these of the splits that are found.
        most: decode at most this many pictures and PNGs of a split, evenly spread; of the others only the JSON and
            that they are there are checked.
        cases: how many cases of each kind of problem the report describes.
        workers: number of processes; by default one per core.
        progress: called with the number of files of a split that are done, and the number of all its files.
        fix: where to write a repaired JSON of the split, outside the data set; only one split can be repaired.
        edits: what is changed besides in the repaired JSON.

    Raises:
        PanopticBlendError: there is no data set, it cannot be repaired, or ``fix`` must not be written.
    """
    root, out = Path(root), None if fix is None else Path(fix)
    if out is None and (edits.things or edits.stuff or edits.crowds_as_instances):
        raise PanopticBlendError("--things, --stuff and --crowds change the JSON that --fix writes; add --fix OUT.json")
    splits = [paths for paths in find_splits(root, split) if not only or paths.name in only]
    if out is not None:
        if len(splits) != 1:
            raise PanopticBlendError(
                f"{root}: has {len(splits)} splits, but --fix repairs one; choose it with --split NAME"
            )
        require_outside(out, root, splits)
    reports: list[SplitReport] = []
    summaries: list[_SplitSummary] = []
    for paths in splits:
        report, summary = _check_split(paths, cases, workers, progress, out, edits, most)
        reports.append(report)
        summaries += [summary] if summary is not None else []
    return Report(root, tuple(reports), tally(_compare_splits(summaries), cases))


def _check_split(
    paths: SplitPaths,
    cases: int,
    workers: int | None,
    progress: Progress | None,
    out: Path | None,
    edits: Edits,
    most: int | None,
) -> tuple[SplitReport, _SplitSummary | None]:
    try:
        content = read_json(paths.json)
    except PanopticBlendError as error:
        if out is not None:
            raise
        broken = [Finding(kinds.JSON_UNREADABLE, str(error))]
        return SplitReport(paths.name, paths.json, Counts(), tally(broken, cases)), None
    contents = Contents.from_json(content)
    pictures, maps, missing = open_folders(paths, contents)
    if out is not None:
        _require_repairable(paths, content, has_maps=maps is not None)
        edited = edits.applied(content, paths.json.name)
    evidence = inspect_files(contents, pictures, maps, workers, progress, most)
    problems = tally((*missing, *_findings(paths, content, evidence)), cases)
    repair = None
    if out is not None:
        fixed = repaired(edited, evidence)
        repair = RepairReport(
            out,
            _counts(Contents.from_json(fixed), evidence),
            tally((*missing, *_findings(paths, fixed, evidence)), cases),
        )
        write_repaired(out, fixed)
    report = SplitReport(
        paths.name, paths.json, _counts(contents, evidence), problems, repair, left_out(contents, evidence)
    )
    return report, _summarize(paths.name, contents, evidence)


def _findings(paths: SplitPaths, content: Any, evidence: Evidence) -> Iterator[Finding]:
    contents = Contents.from_json(content)
    yield from check_fields(content)
    yield from check_categories(contents)
    yield from check_images(contents)
    yield from check_annotations(contents)
    yield from check_crowds(contents)
    yield from check_files(contents, evidence)
    yield from check_pixels(contents, evidence)
    if paths.instances.exists():
        yield from check_instances(paths.instances, contents)


def _require_repairable(paths: SplitPaths, content: Any, has_maps: bool) -> None:
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        raise PanopticBlendError(f"{paths.json}: lacks one of the lists {', '.join(LISTS)}; add it, --fix cannot")
    if not has_maps:
        raise PanopticBlendError(f"{paths.maps}: no PNGs, from which --fix repairs the JSON; put them there")


def _counts(contents: Contents, evidence: Evidence) -> Counts:
    is_thing = list(contents.is_thing.values())
    return Counts(
        images=len(contents.images),
        annotations=len(contents.annotations),
        segments=sum(1 for annotation in contents.annotations for _ in segments(annotation)),
        things=is_thing.count(True),
        stuff=is_thing.count(False),
        pictures=len(evidence.picture_names),
        maps=len(evidence.map_names),
    )


def _summarize(split: str, contents: Contents, evidence: Evidence) -> _SplitSummary:
    words = {True: "thing", False: "stuff", None: "no valid `isthing`"}
    names = contents.class_names
    categories = frozenset(
        f"{number} ({names[number]}, {words[is_thing]})" for number, is_thing in contents.is_thing.items()
    )
    pictures = {facts.digest: name for name, facts in (evidence.pictures or {}).items() if facts.failure is None}
    return _SplitSummary(split, categories, pictures)


def _compare_splits(splits: list[_SplitSummary]) -> Iterator[Finding]:
    """Categories that differ from the first split's, and training pictures that are in another split too."""
    for other in splits[1:]:
        first = splits[0]
        for category in sorted(first.categories ^ other.categories):
            where = first.split if category in first.categories else other.split
            pair = f"{first.split} and {other.split}"
            yield Finding(kinds.SPLITS_CATEGORIES, f"{pair}: category {category} is only in {where}")
    for train in splits:
        for other in splits:
            if is_training(train.split) and not is_training(other.split):
                for digest in sorted(train.pictures.keys() & other.pictures.keys()):
                    names = train.pictures[digest], other.pictures[digest]
                    yield Finding(kinds.SPLITS_PICTURES, f"{train.split}/{names[0]} is {other.split}/{names[1]}")
