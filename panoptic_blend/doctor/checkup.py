"""The order of a check: splits, their JSON, their files, and the splits against one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.evidence import Evidence, gather
from panoptic_blend.doctor.instances import check_instances
from panoptic_blend.doctor.kinds import Finding
from panoptic_blend.doctor.layout import Parts, find_splits, is_training, open_folders
from panoptic_blend.doctor.pixels import check_files, check_pixels
from panoptic_blend.doctor.records import LISTS, Contents, segments
from panoptic_blend.doctor.repair import mended, require_outside, write_repaired
from panoptic_blend.doctor.report import Counts, Repaired, Report, SplitReport, tally
from panoptic_blend.doctor.structure import check_annotations, check_categories, check_fields, check_images
from panoptic_blend.files import read_json
from panoptic_blend.structures import PanopticBlendError, Progress


@dataclass(frozen=True)
class _Known:
    """What is remembered of a split to compare it with others: categories in words, pictures by content."""

    split: str
    categories: frozenset[str]
    pictures: dict[bytes, str]


def check(
    root: str | Path,
    split: str | None = None,
    *,
    cases: int = 3,
    workers: int | None = None,
    progress: Progress | None = None,
    fix: str | Path | None = None,
) -> Report:
    """Find what is wrong with a COCO panoptic data set; its folders are only read.

    Args:
        root: has ``annotations/panoptic_<split>.json`` and the rest of the layout of COCO; PNGs may be in a zip.
        split: the only one to check; by default all that are found.
        cases: how many of each kind the report tells in words.
        workers: processes; by default as many as there are cores.
        progress: called with the files of a split that are done, and their number.
        fix: a corrected JSON of the one split to write, outside of the data set.

    Raises:
        PanopticBlendError: no data set there, or nothing can be mended or written to ``fix``.
    """
    root, out = Path(root), None if fix is None else Path(fix)
    splits = find_splits(root, split)
    if out is not None:
        if len(splits) != 1:
            raise PanopticBlendError(f"{root}: {len(splits)} splits, and one JSON is mended; say --split")
        require_outside(out, root, splits)
    reports: list[SplitReport] = []
    known: list[_Known] = []
    for parts in splits:
        report, compared = _check_split(parts, cases, workers, progress, out)
        reports.append(report)
        known += [compared] if compared is not None else []
    return Report(root, tuple(reports), tally(_between(known), cases))


def _check_split(
    parts: Parts, cases: int, workers: int | None, progress: Progress | None, out: Path | None
) -> tuple[SplitReport, _Known | None]:
    try:
        content = read_json(parts.json)
    except PanopticBlendError as error:
        if out is not None:
            raise
        broken = [Finding(kinds.JSON_UNREADABLE, str(error))]
        return SplitReport(parts.name, parts.json, Counts(), tally(broken, cases)), None
    contents = Contents.from_json(content)
    pictures, maps, missing = open_folders(parts, contents)
    if out is not None:
        _require_mendable(parts, content, has_maps=maps is not None)
    evidence = gather(contents, pictures, maps, workers, progress)
    problems = tally((*missing, *_findings(parts, content, evidence)), cases)
    corrected = None
    if out is not None:
        better = mended(content, evidence)
        corrected = Repaired(
            out,
            _counts(Contents.from_json(better), evidence),
            tally((*missing, *_findings(parts, better, evidence)), cases),
        )
        write_repaired(out, better)
    report = SplitReport(parts.name, parts.json, _counts(contents, evidence), problems, corrected)
    return report, _known(parts.name, contents, evidence)


def _findings(parts: Parts, content: Any, evidence: Evidence) -> Iterator[Finding]:
    contents = Contents.from_json(content)
    yield from check_fields(content)
    yield from check_categories(contents)
    yield from check_images(contents)
    yield from check_annotations(contents)
    yield from check_files(contents, evidence)
    yield from check_pixels(contents, evidence)
    if parts.instances.exists():
        yield from check_instances(parts.instances, contents)


def _require_mendable(parts: Parts, content: Any, has_maps: bool) -> None:
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        raise PanopticBlendError(f"{parts.json}: lacks one of the lists {', '.join(LISTS)}; that cannot be mended")
    if not has_maps:
        raise PanopticBlendError(f"{parts.maps}: no PNGs, from which the JSON would be mended; put them there")


def _counts(contents: Contents, evidence: Evidence) -> Counts:
    kinds_of = list(contents.is_thing.values())
    return Counts(
        images=len(contents.images),
        annotations=len(contents.annotations),
        segments=sum(1 for annotation in contents.annotations for _ in segments(annotation)),
        things=kinds_of.count(True),
        stuff=kinds_of.count(False),
        pictures=len(evidence.picture_names),
        maps=len(evidence.map_names),
    )


def _known(split: str, contents: Contents, evidence: Evidence) -> _Known:
    words = {True: "thing", False: "stuff", None: "of no kind"}
    names = contents.class_names
    categories = frozenset(f"{number} ({names[number]}, {words[k]})" for number, k in contents.is_thing.items())
    pictures = {p.digest: name for name, p in (evidence.pictures or {}).items() if p.failure is None}
    return _Known(split, categories, pictures)


def _between(known: list[_Known]) -> Iterator[Finding]:
    """Categories against the first split's, and pictures of training splits in others."""
    for other in known[1:]:
        for category in sorted(known[0].categories ^ other.categories):
            where = known[0].split if category in known[0].categories else other.split
            pair = f"{known[0].split} and {other.split}"
            yield Finding(kinds.SPLITS_CATEGORIES, f"{pair}: category {category} is only in {where}")
    for train in known:
        for other in known:
            if is_training(train.split) and not is_training(other.split):
                for digest in sorted(train.pictures.keys() & other.pictures.keys()):
                    names = train.pictures[digest], other.pictures[digest]
                    yield Finding(kinds.SPLITS_PICTURES, f"{train.split}/{names[0]} is {other.split}/{names[1]}")
