"""What to label next, and probable label errors: a CSV file and a page for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from panoptic_blend.data.photometric import pixels_of
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.files import replacing
from panoptic_blend.fit.label_errors import Finding, LabelErrorSearch, find_label_errors
from panoptic_blend.fit.ranking import JudgedPicture, diverse, judge
from panoptic_blend.formats.images import Picture
from panoptic_blend.inference.evaluation import require_same_categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.prediction.find_pictures import find_pictures
from panoptic_blend.report.label_page import Entry, LabelList, write_label_page
from panoptic_blend.scoring.csv_tables import write_csv
from panoptic_blend.structures import PanopticBlendError, Progress

NEXT, ERRORS = "label_next", "label_errors"
"""The names of the CSV files and pages, without a suffix."""


def label_next(predictor: Predictor, folder: Path, output: Path, progress: Progress | None = None) -> Path:
    """Rank the pictures of a folder and its subfolders by how much their labels would teach the model.

    The score is ``disagreement / 2 + (doubtful + unclaimed) / 4``, which `Usefulness` defines: the disagreement of the
    predictions for the picture and for its mirror image, the share of things whose score is near the threshold of
    fusion, and the share of pixels in no segment. Of near duplicates, such as the pictures of a burst, only the best
    is ranked by its score; the second ones follow after the best of all groups, and so on.

    Writes ``label_next.csv`` with the file, score and reasons of each picture, and the page ``label_next.html``, to
    ``output``. A picture that cannot be read comes last, without a score and with its error.

    Args:
        progress: called with the number of pictures done and the total number.

    Returns:
        The CSV file.

    Raises:
        PanopticBlendError: the folder has no pictures, or none can be read.
    """
    pictures, _ = find_pictures([folder], recursive=True, passed=[output])
    judged, failures = list[JudgedPicture](), list[tuple[str, PanopticBlendError]]()
    for done, found in enumerate(pictures, start=1):
        try:
            judged.append(judge(predictor, found))
        except PanopticBlendError as error:
            failures.append((found.name, error))
        if progress:
            progress(done, len(pictures))
    if not judged:
        raise failures[0][1]
    ranked = diverse(judged)
    path = output / f"{NEXT}.csv"
    with replacing(path) as temporary:
        rows = [(_plain_path(one.found.name), round(one.score, 4), reasons) for one, reasons in ranked]
        broken = [(_plain_path(name), None, f"cannot be used: {error}") for name, error in failures]
        write_csv(temporary, ("file", "score", "why"), [*rows, *broken])
    _write_next_page(output, ranked, len(rows), len(failures))
    return path


def _write_next_page(output: Path, ranked: Sequence[tuple[JudgedPicture, str]], total: int, failed: int) -> None:
    entries = [
        Entry(one.found.name, "", "", reasons, one.score, place, one.size, None, one.marks)
        for place, (one, reasons) in enumerate(ranked)
    ]
    notes = [
        "The score is disagreement / 2 + (share of things near the threshold + share of pixels in no segment) / 4. "
        "Disagreement is that of the predictions for the picture and for its mirror image.",
        *([f"Pictures that cannot be used: {failed}; the last lines of {NEXT}.csv say why."] if failed else []),
    ]
    shown = LabelList(
        title="What to label next",
        notes=notes,
        legend=("only in the picture", "only in its mirror image"),
        decisions=("label it", "leave it out"),
        csv=f"{NEXT}.csv",
        total=total,
    )
    write_label_page(output / f"{NEXT}.html", shown, entries, lambda place: ranked[place][0].picture())


def label_errors(
    predictor: Predictor,
    dataset: PanopticDataset,
    output: Path,
    *,
    training: PanopticDataset | None = None,
    progress: Progress | None = None,
) -> Path:
    """List the segments of an annotation that the model denies with confidence: probable label errors.

    The kinds are those of `Kind`, and ``Reliability`` says how confident the model must be. Writes ``label_errors.csv``
    with the file, the data set, the ids of the segments in it, the kind, words, score and box of each, the
    strongest first, and the page ``label_errors.html``, to ``output``. For a data set without panoptic maps, the ids
    are the positions of the instances of the picture in the annotation file, from 1.

    Args:
        dataset: pictures that the model was not trained on.
        training: pictures that it was trained on, to be listed too. A wrong label that the model has learned by heart
            is not found there, which the page says.
        progress: called with the number of pictures done and the total number.

    Returns:
        The CSV file.

    Raises:
        PanopticBlendError: a data set has other categories than the model, or a picture cannot be read.
    """
    sources = [dataset, *([training] if training is not None else [])]
    total, done, searches = sum(map(len, sources)), 0, list[LabelErrorSearch]()
    for source in sources:
        require_same_categories(predictor.categories, source, predictor.config.model.semantic.enabled)

        def show(done_here: int, _: int, start: int = done) -> None:
            if progress:
                progress(start + done_here, total)

        searches.append(find_label_errors(predictor, source, show))
        done += len(source)
    return write_label_errors(output, list(zip(sources, searches, strict=True)), training)


def write_label_errors(
    output: Path, searched: Sequence[tuple[PanopticDataset, LabelErrorSearch]], training: PanopticDataset | None = None
) -> Path:
    """Write the list and the page of `label_errors`, from at most two data sets that were searched.

    Returns:
        The CSV file.
    """
    findings, notes = list[tuple[int, Finding]](), list(_ABOUT_ERRORS)
    for number, (source, search) in enumerate(searched):
        findings += [(number, finding) for finding in search.findings()]
        if search.recall is not None and search.recall < 0.5:
            notes.append(_ABOUT_RECALL.format(search.recall, source.name))
        if source is training:
            notes.append(_ABOUT_TRAINING.format(source.name))
    findings.sort(key=lambda item: -item[1].strength)
    sources = [source for source, _ in searched]
    path = output / f"{ERRORS}.csv"
    with replacing(path) as temporary:
        write_csv(temporary, _ERROR_COLUMNS, (_error_row(sources[number], found) for number, found in findings))
    _write_errors_page(output, sources, findings, notes)
    return path


_ERROR_COLUMNS = ("file", "data", "segments", "what", "words", "score", "x0", "y0", "x1", "y1")
_ABOUT_ERRORS = (
    "The model denies these labels; a person decides. The score is how well the segments lie on each other times how "
    "sure the model is: 1 means as sure as it usually is where it agrees with the labels.",
)
_ABOUT_RECALL = "The model finds {:.0%} of the annotated things of {}: many entries are errors of its own."
_ABOUT_TRAINING = "The model was trained on the pictures of {}: a wrong label that it has learned is not listed."


def _error_row(source: PanopticDataset, found: Finding) -> tuple[object, ...]:
    segments = " ".join(str(segment.id) for segment in found.candidate.labeled)
    file = _plain_path(source.images.file_names[found.image])
    return file, source.name, segments, found.candidate.kind, found.words, round(found.strength, 4), *found.box


def _write_errors_page(
    output: Path, sources: Sequence[PanopticDataset], findings: Sequence[tuple[int, Finding]], notes: Sequence[str]
) -> None:
    starts = [0, len(sources[0])]  # pictures of both data sets have numbers of their own

    def entry(number: int, found: Finding) -> Entry:
        images = sources[number].images
        return Entry(
            file=images.file_names[found.image],
            source=sources[number].name,
            kind=found.candidate.kind,
            words=found.words,
            score=found.strength,
            picture=starts[number] + found.image,
            size=images.sizes[found.image],
            box=found.box,
            marks=found.marks,
        )

    def read(picture: int) -> Picture:
        number = int(picture >= starts[1])
        return pixels_of(sources[number][picture - starts[number]].image)

    shown = LabelList(
        title="Probable label errors",
        notes=notes,
        legend=("labeled", "seen"),
        decisions=("the label is wrong", "the label is right"),
        csv=f"{ERRORS}.csv",
        total=len(findings),
    )
    write_label_page(output / f"{ERRORS}.html", shown, [entry(*item) for item in findings], read)


def _plain_path(name: str) -> str:
    """A relative path that a spreadsheet does not take for a formula."""
    return f"./{name}" if name.startswith(("=", "+", "-", "@")) else name
