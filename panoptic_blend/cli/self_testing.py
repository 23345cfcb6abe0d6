"""``panoptic-blend pq --self-test``: hold an evaluator of PQ against cases that were worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import print_json, print_tables


def self_test(
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER.json", help="Outcomes of another evaluator; default: those of this one."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write the cases and what is expected of them, for others."),
    ] = None,
    form: options.Format = None,
    as_json: options.AsJson = False,
) -> None:
    """Score awkward cases, print what the rules give beside it, and exit with code 1 where the two disagree."""
    from panoptic_blend.scoring.self_test import held_against_the_rules, own_outcomes, read_outcomes, write_cases
    from panoptic_blend.scoring.self_test_table import disagreements, verdict_table, verdicts_json

    tables_as = options.table_format(form, as_json=as_json)
    if output:
        if other or form or as_json:
            raise PanopticBlendError("--output writes the cases and tests nothing; give it alone")
        write_cases(output)
        print(f"cases, and expected.json: {output}")
        return
    verdicts = held_against_the_rules(read_outcomes(other) if other else own_outcomes())
    if as_json:
        print_json(verdicts_json(verdicts))
    else:
        found = other.name if other else "panoptic-blend"
        print_tables(verdict_table(verdicts, found), form=tables_as, remarks=disagreements(verdicts))
    if any(verdict.differences for verdict in verdicts):
        raise typer.Exit(1)
