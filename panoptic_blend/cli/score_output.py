"""Print the figures of ``panoptic-blend pq`` and ``pq merge``."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.scoring.detail_tables import all_tables, rare_classes
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.run import Scores
from panoptic_blend.scoring.tables import class_table, nothing_to_score, quality_table
from panoptic_blend.table_formats import TableFormat
from panoptic_blend.terminal import print_json, print_tables


def print_scores(
    scores: Scores, resampling: Resampling, form: TableFormat, *, as_json: bool = False, folder: Path | None = None
) -> None:
    """Print the tables with their remarks, or JSON; ``folder`` is where tables of details were written."""
    if as_json:
        print_json(scores.summary(resampling))
        return
    found = scores.findings
    tables = all_tables(found) if found else (class_table(scores.report), quality_table(scores.report))
    remarks = [nothing_to_score(scores.report), rare_classes(found) if found else None]
    remarks += [remark for section in scores.sections for remark in section.remarks()]
    remarks += [f"tables of segments, images, classes and causes: {folder}"] if folder else []
    further = (table for section in scores.sections for table in section.tables())
    print_tables(*tables, *further, form=form, remarks=filter(None, remarks))
