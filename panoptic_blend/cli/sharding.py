"""``panoptic-blend pq --shard`` and ``pq merge``: a run in parts, on several machines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.running import stoppable
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import progress_line

if TYPE_CHECKING:
    from panoptic_blend.scoring.run import ScoredFiles


def compare_part(
    files: ScoredFiles, shard: str | None, state: Path | None, outputs: Mapping[str, object], *, overwrite: bool
) -> None:
    """Compare the images of one part and write what was found; ``outputs`` are options that have no effect here."""
    from panoptic_blend.scoring.shards import Shard, write_part

    if shard is None or state is None:
        have, lack = ("--shard", "--state part.npz") if shard else ("--state", "--shard 1/8")
        raise PanopticBlendError(f"{have} does nothing alone; add {lack}")
    if idle := [name for name, value in outputs.items() if value]:
        raise PanopticBlendError(f"{idle[0]} has no effect on a part; give it to `pq merge`")
    if state.exists() and not overwrite:
        raise PanopticBlendError(f"{state}: already exists; choose another file, or add --overwrite")
    part = Shard.parse(shard)
    with progress_line(f"comparing part {part}") as progress:
        sets = files.read(progress, part=part.indices)
    write_part(state, part, files, sets)
    print(f"part {part}, {len(sets.details[0])} of {len(sets.file_names)} images: {state}")


def merge(
    parts: Annotated[list[Path], typer.Argument(help="The part files of one run of `pq --shard`, in any order.")],
    details: options.Details = None,
    table_format: options.DetailFormat = "csv",
    also: options.Also = None,
    group_by: options.GroupBy = None,
    fail_under: options.FailUnder = None,
    junit: options.Junit = None,
    github: options.Github = False,
    resamples: options.Resamples = 1000,
    seed: options.BootstrapSeed = 0,
    overwrite: options.Overwrite = False,
    form: options.Format = None,
    as_json: options.AsJson = False,
) -> None:
    """Merge the parts that pq --shard wrote: the figures are those of one run over all images."""
    from panoptic_blend.cli.score_output import Checks, print_scores
    from panoptic_blend.scoring.details import Resampling
    from panoptic_blend.scoring.further import parse_names
    from panoptic_blend.scoring.run import Wanted, require_writable, score
    from panoptic_blend.scoring.shards import merge_parts

    tables_as, resampling = options.table_format(form, as_json=as_json), Resampling(resamples, seed=seed)
    checks = Checks.parse(fail_under, junit, github=github)
    names = parse_names(also)
    with stoppable("stopped; nothing was written"):
        require_writable(details, table_format, overwrite)
        with progress_line("looking for PNGs that have changed") as progress:
            sets = merge_parts(parts, progress)
        in_detail = len(sets.details) > 1 or sets.details[0].boundary
        wanted = Wanted(details, table_format, overwrite, in_detail, names, group_by, resampling)
        scores = score(sets, wanted)
    print_scores(scores, resampling, tables_as, as_json=as_json, folder=details)
    if sets.remark:
        print(sets.remark, file=sys.stderr)
    checks.run(scores.report)
