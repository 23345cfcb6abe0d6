"""The model card: what a published model is, how good it is on which data, and under which license."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import panoptic_blend
from panoptic_blend.config.experiment import Config
from panoptic_blend.download.hub import is_on_hub
from panoptic_blend.download.known_weights import KnownWeights, find_known, origin_of
from panoptic_blend.files import printable
from panoptic_blend.formats.categories import Categories
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.publishing.figures import RunFigures
from panoptic_blend.scoring.detail_tables import rare_classes
from panoptic_blend.terminal import percent

_TRUTHS = {
    "instances": "the instance annotation, as published figures are",
    "panoptic": "the things of the panoptic annotation, and not comparable with AP against an instance annotation",
}
"""What AP is against, by the word in the record of an evaluation."""
UNKNOWN = "unknown"
"""The license of a model whose author names none."""
A_FILE = "a file"
"""Initial weights that are not public."""


@dataclass(frozen=True)
class Card:
    """All that a model card says."""

    repo: str
    config: Config
    """The config that is published, without paths of this machine."""
    categories: Categories
    figures: RunFigures
    license: str
    data: str | None
    """The name of the data set, if the author gives one."""
    initial: str | None
    """The initial weights: a public name, ``a file``, or None if there were none."""
    pictures: Sequence[str] = ()
    """File names of the pictures."""

    def text(self) -> str:
        """The card as Markdown with a YAML header."""
        parts = [self._header(), self._use(), self._figures(), self._training(), self._license(), self._pictures()]
        return "\n\n".join(part for part in parts if part) + "\n"

    @property
    def task(self) -> str:
        """``panoptic`` or ``instance``."""
        return "panoptic" if self.config.model.semantic.enabled else "instance"

    def _header(self) -> str:
        tags = ["panoptic_blend", f"{self.task}-segmentation"]
        return "\n".join(
            [
                *("---", f"license: {self.license}", "library_name: panoptic_blend"),
                *("pipeline_tag: image-segmentation", "tags:", *(f"- {tag}" for tag in tags), "---"),
            ]
        )

    def _use(self) -> str:
        known = [category for category in self.categories if category.is_thing or self.task == "panoptic"]
        names = ", ".join(_plain(category.name) for category in known)
        things = sum(category.is_thing for category in known)
        kinds = f"{things} classes of things" + (f" and {len(known) - things} of stuff" if len(known) > things else "")
        return f"""# {self.repo.partition("/")[2]}

A model for {self.task} segmentation, made with panoptic_blend {panoptic_blend.__version__}. It knows
{kinds}: {names}.

With panoptic_blend and its extra `hub`:

```sh
panoptic-blend predict hf://{self.repo} photo.jpg
```"""

    def _figures(self) -> str:
        evaluation = self.figures.evaluation
        lines = ["## Figures", ""]
        if not evaluation:
            return "\n".join([*lines, "This model comes without figures."])
        data = f"of {_plain(self.data)}" if self.data else "of a data set that its author does not name"
        lines.append(f"In percent, on the split `{_plain(self.config.data.val)}` {data}:")
        columns = {key: value for key, value in evaluation.items() if key not in ("iteration", "instance_truth")}
        lines += ["", *_table([list(columns), [_figure(value) for value in columns.values()]]), ""]
        if truth := _TRUTHS.get(str(evaluation.get("instance_truth"))):
            lines += [f"AP is against {truth}.", ""]
        return "\n".join([*lines, *self._intervals()]).rstrip()

    def _intervals(self) -> Iterator[str]:
        findings = self.figures.findings
        if findings is None:
            yield f"There are no confidence intervals: {self.figures.why_no_intervals}."
            return
        groups = findings.intervals.groups
        images = len(findings.file_names)
        yield f"PQ with 95% confidence intervals (studentized bootstrap over {images} images, 1000 resamples):"
        yield ""
        rows = [[g, percent(groups[g].value), _bounds(groups[g].low, groups[g].high)] for g in GROUPS]
        yield from _table([["", "PQ", "interval"], *(row for row in rows if row[1] != "-")])
        if rare := rare_classes(findings):
            yield ""
            yield f"{_plain(rare)}."

    def _training(self) -> str:
        train = self.config.train
        start = {None: "random weights", "imagenet": "an ImageNet classifier"}.get(self.initial, self.initial)
        return f"""## Training

{train.iterations} iterations of {train.batch_size} images, starting from {start}. `config.yaml` has all options."""

    def _license(self) -> str:
        said = "Its author names no license." if self.license == UNKNOWN else f"License: {self.license}."
        known = self.initial and find_known(self.initial)
        source = f" Its initial weights, {known.name} by {known.publisher}: {known.license}." if known else ""
        return f"## License\n\n{said}{source}"

    def _pictures(self) -> str:
        shown = "\n\n".join(f"![{Path(name).stem}]({name})" for name in self.pictures)
        return f"## Pictures\n\n{shown}" if shown else ""


def initial_weights(config: Config) -> str | None:
    """The initial weights of a config in public words; a file of this machine is not named."""
    weights = config.train.weights
    if weights is None or weights == "imagenet" or is_on_hub(weights):
        return weights
    known = origin_of(weights)
    return known.name if known else A_FILE


def restricted(config: Config) -> KnownWeights | None:
    """The known weights that a config starts from, if their license asks something of what is made of them."""
    known = config.train.weights and origin_of(config.train.weights)
    return known if known and known.license.terms else None


def _plain(text: str) -> str:
    """Foreign text without line breaks and without signs that Markdown and HTML would interpret."""
    return "".join(" " if sign in "`*_[]<>|#\\" else sign for sign in printable(text, 200))


def _figure(value: Any) -> str:
    return percent(value) if isinstance(value, float) else "-"


def _bounds(low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"{percent(low)} to {percent(high)}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return [head, "|" + "---|" * len(rows[0]), *others]
