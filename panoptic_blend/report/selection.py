"""Lists of the images that a filter selects, as the page filters them; ``data export`` takes such a list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from panoptic_blend.files import replacing
from panoptic_blend.formats.categories import Categories
from panoptic_blend.metrics.causes import Cause, diagnose
from panoptic_blend.metrics.details import SIZES, SegmentRow, segment_rows
from panoptic_blend.scoring.file_pairs import FilePairs, Pair, iter_images
from panoptic_blend.structures import PanopticBlendError, Progress

FINDERS = "found-by", "missed-by"
"""What a filter may ask for once for each result set."""

KEYS = "cause", "class", "true", "predicted", "outcome", "size", "iou", "score", "pq", *FINDERS
"""What a filter may ask for; docs/report.md says what each means."""

_OUTCOMES = {"matched": "tp", "spurious": "fp", "missed": "fn", "ignored": "ignored"}
_NONE = "(none)"
_ALL = 0.0, 100.0

Range = tuple[float, float]


@dataclass(frozen=True)
class Selection:
    """A filter of images; what is None is not asked for. Classes are category ids, 0 for no class.

    ``found_by`` and ``missed_by`` are the places of result sets; everything else is about the first of them.
    """

    cause: Cause | None = None
    category: int | None = None
    true: int | None = None
    predicted: int | None = None
    outcome: str | None = None
    size: str | None = None
    iou: Range | None = None
    score: Range | None = None
    pq: Range | None = None
    found_by: tuple[int, ...] = ()
    missed_by: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str, categories: Categories, sets: Sequence[str] = ()) -> Selection:
        """Read ``key=value`` pairs with commas between them; ``sets`` are the names of the result sets.

        Raises PanopticBlendError for unknown keys and values, and for a key that is given twice but for `FINDERS`.
        """
        values: dict[str, str] = {}
        named: dict[str, list[int]] = {key: [] for key in FINDERS}
        for part in re.split(rf",\s*(?=(?:{'|'.join(KEYS)})\s*=)", text):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if key not in KEYS or not equals or not value:
                raise PanopticBlendError(
                    f"--select {text}: {part!r} is no key=value with one of the keys {', '.join(KEYS)}; correct it"
                )
            if key in FINDERS:
                named[key].append(_set(value, key, sets))
                continue
            if key in values:
                raise PanopticBlendError(f"--select {text}: `{key}` is given twice; select twice, and join the lists")
            values[key] = value
        category, true, predicted = (_category(values.get(key), categories) for key in ("class", "true", "predicted"))
        iou, score, pq = (_range(values.get(key), key) for key in ("iou", "score", "pq"))
        cause = _one_of(values.get("cause"), [str(cause) for cause in Cause], "cause")
        outcome = _one_of(values.get("outcome"), list(_OUTCOMES), "outcome")
        size = _one_of(values.get("size"), list(SIZES), "size")
        chosen = None if outcome is None else _OUTCOMES[outcome]
        finders = (tuple(named[key]) for key in FINDERS)
        found = None if cause is None else Cause(cause)
        return cls(found, category, true, predicted, chosen, size, iou, score, pq, *finders)

    @property
    def asks_who(self) -> bool:
        """Whether it matters which result set finds or misses a segment."""
        return bool(self.found_by or self.missed_by)

    def takes(self, pairs: Sequence[Pair], things: frozenset[int]) -> bool:
        """Whether an image, with its results in each set, is selected."""
        pair = pairs[0]
        rows = list(segment_rows(pair.image.id, pair.comparison, diagnose(pair.comparison, things)))
        if self.pq and not self._has_quality(rows):
            return False
        if self.asks_who:
            rows = [row for row in rows if row.side == "truth" and self._has_finders(row.segment, pairs)]
        if self.asks_who or self.outcome or self.size or self.iou or self.score:
            scores = {segment.id: segment.score for segment in pair.prediction.segments}
            return any(self._is_wanted(row, scores) and self._is_error(row, own=True) for row in rows)
        if self.cause is not None or self.true is not None or self.predicted is not None:
            return any(row.cause is not None and self._is_error(row) for row in rows)
        return self.category is None or any(row.category == self.category for row in rows)

    def _has_finders(self, segment: int, pairs: Sequence[Pair]) -> bool:
        """Whether the true segment is matched in all sets of ``found_by``, and missed in all of ``missed_by``."""
        found, missed = ([pairs[place].comparison for place in places] for places in (self.found_by, self.missed_by))
        return all(segment in each.truth.ids[each.matches.truth] for each in found) and all(
            segment in each.truth.ids[each.matches.missed] for each in missed
        )

    def _is_wanted(self, row: SegmentRow, scores: dict[int, float | None]) -> bool:
        low, high = SIZES[self.size] if self.size else (0, 2**62)
        score = scores.get(row.segment) if row.side == "prediction" else None
        return (
            (self.outcome is None or row.outcome == self.outcome)
            and low <= row.area < high
            and _is_in(row.nearest_iou if row.iou is None else row.iou, self.iou)
            and (self.score is None or (score is not None and _is_in(score, self.score)))
        )

    def _is_error(self, row: SegmentRow, *, own: bool = False) -> bool:
        """Whether class and cause are those asked for; with ``own``, the class must be that of the segment itself."""
        other = row.nearest_category or 0 if row.cause is Cause.WRONG_CLASS else 0
        true, predicted = (row.category, other) if row.side == "truth" else (other, row.category)
        classes = (row.category,) if own else (true, predicted)
        return (
            (self.cause is None or row.cause is self.cause)
            and (self.category is None or self.category in classes)
            and (self.true is None or (row.cause is not None and true == self.true))
            and (self.predicted is None or (row.cause is not None and predicted == self.predicted))
        )

    def _has_quality(self, rows: Sequence[SegmentRow]) -> bool:
        quality = _quality(rows)
        return quality is not None and _is_in(quality, self.pq)


def write_selection(
    sets: Mapping[str, FilePairs],
    text: str,
    out: Path,
    *,
    overwrite: bool,
    workers: int | None,
    progress: Progress | None = None,
) -> int:
    """Write the file names of the images that the filter ``text`` selects, one in each line; returns their number.

    Args:
        sets: the result sets by name; all but the first are made of the first by `FilePairs.with_results`.

    Raises:
        PanopticBlendError: the filter or a file is wrong, several sets are given and the filter does not ask which of
            them finds a segment, or ``out`` exists and may not be overwritten.
    """
    if out.exists() and not overwrite:
        raise PanopticBlendError(f"{out}: already exists; choose another --output, or add --overwrite")
    first = next(iter(sets.values()))
    selection = Selection.parse(text, first.categories, list(sets))
    if len(sets) > 1 and not selection.asks_who:
        raise PanopticBlendError(
            f"--select {text}: is about {next(iter(sets))} alone; ask with found-by or missed-by about other results, "
            "or leave --compare out"
        )
    things = frozenset(category.id for category in first.categories if category.is_thing)
    names = []

    def judge(found: list[Pair]) -> tuple[str, bool]:
        return found[0].image.file_name, selection.takes(found, things)

    for done, (name, is_taken) in enumerate(iter_images([*sets.values()], judge, workers=workers), start=1):
        names += [name] * is_taken
        if progress:
            progress(done, len(first))
    with replacing(out) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return len(names)


def _quality(rows: Sequence[SegmentRow]) -> float | None:
    """PQ of one image, the mean over its classes; None if nothing is scored."""
    sums: dict[int, float] = {}
    weights: dict[int, float] = {}
    for row in rows:
        if row.outcome == "tp" and row.side == "truth":
            sums[row.category] = sums.get(row.category, 0.0) + (row.iou or 0.0)
        if row.outcome in ("fp", "fn") or (row.outcome == "tp" and row.side == "truth"):
            weights[row.category] = weights.get(row.category, 0.0) + (1.0 if row.outcome == "tp" else 0.5)
    return sum(sums.get(id, 0.0) / weight for id, weight in weights.items()) / len(weights) if weights else None


def _is_in(share: float, bounds: Range | None) -> bool:
    low, high = bounds or _ALL
    return low / 100 <= share <= high / 100


def _range(text: str | None, key: str) -> Range | None:
    """``LOW..HIGH`` in percent; either may be left out."""
    if text is None:
        return None
    low, dots, high = text.partition("..")
    try:
        bounds = float(low or 0), float(high or 100)
    except ValueError:
        bounds = 1.0, 0.0
    if not dots or not 0 <= bounds[0] <= bounds[1] <= 100:
        raise PanopticBlendError(f"--select: {key}={text} is no range in percent; write for example {key}=0..50")
    return bounds


def _one_of(text: str | None, names: Sequence[str], key: str) -> str | None:
    if text is None or text in names:
        return text
    guess = "".join(f"; did you mean {name!r}?" for name in get_close_matches(text, names, 1))
    raise PanopticBlendError(f"--select: {key}={text} is none of {', '.join(names)}{guess or '; write one of them'}")


def _set(text: str, key: str, names: Sequence[str]) -> int:
    """The place of a result set that is given by its name, or by that without ``.json``."""
    short = [name.removesuffix(".json") for name in names]
    for known in (names, short):
        if text in known:
            return known.index(text)
    guess = "".join(f"; did you mean {name!r}?" for name in get_close_matches(text, [*short, *names], 1))
    raise PanopticBlendError(
        f"--select: {key}={text} is no result set, which are {', '.join(names)}{guess or '; others need --compare'}"
    )


def _category(text: str | None, categories: Categories) -> int | None:
    """The id of a class that is given by its name or id; of names that several have, the first."""
    if text is None:
        return None
    if text == _NONE:
        return 0
    for category in categories:
        if text == category.name:
            return category.id
    for category in categories:
        if text == str(category.id):
            return category.id
    names = [category.name for category in categories]
    guess = "".join(f"did you mean {name!r}?" for name in get_close_matches(text, names, 1))
    raise PanopticBlendError(f"--select: no class {text!r} in the truth; {guess or 'see its `categories`'}")
