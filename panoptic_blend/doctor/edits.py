"""Changes to a panoptic JSON that only its owner can decide: which categories are things, and what crowds are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from panoptic_blend.doctor.records import Contents, flag, segments
from panoptic_blend.formats.json_fields import Record, integer
from panoptic_blend.formats.name_lists import suggestion
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class Edits:
    """What `check` changes in a JSON before it is repaired.

    Categories named in ``things`` become things and all others stuff, or those in ``stuff`` stuff and all others
    things; with both, every category is in one of them. ``crowds_as_instances`` clears ``iscrowd`` of all things.
    """

    things: Collection[str] = ()
    stuff: Collection[str] = ()
    crowds_as_instances: bool = False

    def applied(self, content: Any, where: str) -> Any:
        """A changed copy of a parsed JSON; errors, about names that are not in it, start with ``where``."""
        contents = Contents.from_json(content)
        if self.things or self.stuff:
            names = [str(record.get("name")) for record in contents.categories]
            self._require_known(names, where)
            categories = [{**r, "isthing": int(self._is_thing(str(r.get("name"))))} for r in contents.categories]
            content = {**content, "categories": categories}
        if not self.crowds_as_instances:
            return content
        is_thing = Contents.from_json(content).is_thing
        annotations = [_without_crowds(annotation, is_thing) for annotation in contents.annotations]
        return {**content, "annotations": annotations}

    def _is_thing(self, name: str) -> bool:
        return name in self.things if self.things else name not in self.stuff

    def _require_known(self, names: Sequence[str], where: str) -> None:
        for option, chosen in (("--things", self.things), ("--stuff", self.stuff)):
            for name in chosen:
                if name not in names:
                    raise PanopticBlendError(
                        f"{where}: {option}: no category is called {name}; {suggestion(name, names)}"
                    )
        if self.things and self.stuff:
            for name in names:
                if (name in self.things) == (name in self.stuff):
                    count = "both" if name in self.things else "neither"
                    raise PanopticBlendError(f"{where}: {name} is in {count} of --things and --stuff; give only one")


def _without_crowds(annotation: Record, is_thing: dict[int, bool | None]) -> Record:
    if not isinstance(annotation.get("segments_info"), list):
        return annotation
    return {**annotation, "segments_info": list(_cleared(annotation, is_thing))}


def _cleared(annotation: Record, is_thing: dict[int, bool | None]) -> Iterator[Record]:
    for segment in segments(annotation):
        category = integer(segment, "category_id")
        is_crowd = flag(segment, "iscrowd") and category is not None and is_thing.get(category)
        yield {**segment, "iscrowd": 0} if is_crowd else segment
