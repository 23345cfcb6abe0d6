"""Merge, split and filter data sets: read their maps as labels, which `panoptic_blend.convert` writes as a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.files import distinct_names
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_layout import find_instances
from panoptic_blend.formats.name_lists import suggestion
from panoptic_blend.formats.names import locate
from panoptic_blend.interchange.conditions import read_condition
from panoptic_blend.interchange.source import MapSource, open_source, read_list, split_names
from panoptic_blend.structures import Category, ImageId, PanopticBlendError

NUMBERS = "width", "height", "segments", "things", "stuff", "crowds"
"""What a condition may compare besides the number of segments of a class; things and classes are without crowds."""

Meanings = Mapping[int, Category | None]
"""The category that one of a data set becomes, by its id; None for void."""


@dataclass(frozen=True)
class Edit:
    """What is changed: first classes get new names, then only some ``classes`` are kept, if any are named.

    ``where`` is the text of a condition that pictures must fulfill after that.
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    where: str | None = None


def parse_renames(pairs: Iterable[str] | None) -> dict[str, str]:
    """The new names by the old ones, from texts such as ``lorry=truck``."""
    renames: dict[str, str] = {}
    for pair in pairs or ():
        old, sign, new = (part.strip() for part in pair.partition("="))
        if not (old and sign and new) or old in renames:
            raise PanopticBlendError(
                f"--rename {pair}: is not OLD=NEW with an OLD of its own; write one for each class"
            )
        renames[old] = new
    return renames


def joined_categories(sources: Sequence[MapSource], edit: Edit) -> tuple[Categories, list[Meanings]]:
    """The categories of all sources together, by name, and what those of each source become.

    A class keeps the id that it has in the first source with it, unless another class has this id.

    Raises:
        PanopticBlendError: a class is a thing here and stuff there, or the edit names one that there is not.
    """
    _require_known(sources, edit)
    joined: dict[str, Category] = {}
    owner: dict[str, Path] = {}
    meanings: list[Meanings] = []
    for source in sources:
        for category in source.categories:
            name = edit.renames.get(category.name, category.name)
            if edit.classes and name not in edit.classes:
                continue
            known = joined.get(name)
            if known is None:
                used = {other.id for other in joined.values()}
                number = category.id if category.id not in used else max(used) + 1
                joined[name], owner[name] = replace(category, id=number, name=name), source.path
            elif known.is_thing != category.is_thing:
                kinds = ("a thing", "stuff") if known.is_thing else ("stuff", "a thing")
                raise PanopticBlendError(
                    f"{name!r} is {kinds[0]} in {owner[name]} and {kinds[1]} in {source.path}; rename one of them"
                )
        meanings.append({c.id: joined.get(edit.renames.get(c.name, c.name)) for c in source.categories})
    return Categories(joined.values()), meanings


def _require_known(sources: Sequence[MapSource], edit: Edit) -> None:
    names = sorted({category.name for source in sources for category in source.categories})
    renamed = sorted({edit.renames.get(name, name) for name in names})
    for option, wanted, known in (("--rename", edit.renames, names), ("--classes", edit.classes, renamed)):
        for name in wanted:
            if name not in known:
                hint = suggestion(name, known)
                if option == "--classes" and name in edit.renames:
                    hint = f"--rename makes it {edit.renames[name]}, so name that"
                raise PanopticBlendError(f"{option}: no class is called {name}; {hint}")


def edited_splits(
    roots: Sequence[Path], edit: Edit, split: str | None = None, images: Path | None = None
) -> dict[str, LabeledSource]:
    """The splits of all data sets in ``roots``, by name, to be written one by one.

    Args:
        split: only this one.
        images: the list of the pictures that are kept, of one split.

    Raises:
        PanopticBlendError: a data set or its split is missing, or the edit does not fit.
    """
    names = {root: [split] if split and split in split_names(root) else split_names(root) for root in roots}
    splits = [split] if split else list(dict.fromkeys(name for found in names.values() for name in found))
    if not splits or not any(split in found for split in splits for found in names.values()):
        raise PanopticBlendError(f"{roots[0]}: has no annotations/panoptic_{split or 'SPLIT'}.json; check the path")
    by_split = {name: [open_source(root, name) for root in roots if name in names[root]] for name in splits}
    if images is not None:
        if [len(found) for found in by_split.values()] != [1]:
            raise PanopticBlendError(f"--images {images}: names pictures of one split; choose it with --split")
        by_split = {name: [source.only(read_list(images), images)] for name, [source] in by_split.items()}
    sources = [source for found in by_split.values() for source in found]
    categories, meanings = joined_categories(sources, edit)
    meaning_of = dict(zip(map(id, sources), meanings, strict=True))
    return {
        name: _edited(found, edit, categories, [meaning_of[id(source)] for source in found])
        for name, found in by_split.items()
    }


def _edited(
    sources: Sequence[MapSource], edit: Edit, categories: Categories, meanings: Sequence[Meanings]
) -> LabeledSource:
    """The pictures of all sources with their labels, to be written as one split.

    Image ids stay if no two are the same, else pictures are numbered from 1; names of pictures that several sources
    have start with the name of their source.
    """
    numbers = dict.fromkeys([*(category.name for category in categories), *NUMBERS], 0.0)
    condition = None if edit.where is None else read_condition(edit.where, numbers, "--where")
    are_unique = max(Counter(str(i) for source in sources for i in _ids(source)).values(), default=1) == 1
    items: list[Item] = []
    notes = Notes()
    for source, prefix, own in zip(sources, _prefixes(sources), meanings, strict=True):
        folder = _pictures(source)
        if find_instances(folder.parent, source.split):
            notes.add("instances_*.json was not taken along, in which things may overlap", source.path.name)
        for place in source.places:
            name = source.images.file_names[place]
            if condition and not condition(numbers | _numbers(source, place, own)):
                notes.add("pictures were left out by --where", name)
                continue
            image_id: ImageId = source.images.ids[place] if are_unique else len(items) + 1
            read = partial(_labels, source, place, own)
            items.append(Item(image_id, prefix + name, locate(folder, name), read))
    if not items:
        raise PanopticBlendError(f"--where {edit.where}: no picture of {sources[0].split} is like that; change it")
    roots = [source.path.parent.parent for source in sources]  # of annotations/panoptic_SPLIT.json
    folders = [*roots, *(folder for source in sources for folder in (_pictures(source), source.maps.path))]
    return LabeledSource(sources[0].path, folders, categories, items, notes)


def _pictures(source: MapSource) -> Path:
    assert source.pictures is not None  # the layout of a data set has them
    return source.pictures


def _ids(source: MapSource) -> Iterable[ImageId]:
    return (source.images.ids[place] for place in source.places)


def _prefixes(sources: Sequence[MapSource]) -> list[str]:
    """What the names of the pictures of each source start with: nothing, unless two sources share a name."""
    counts = Counter(source.images.file_names[place] for source in sources for place in source.places)
    if max(counts.values(), default=1) == 1:
        return [""] * len(sources)
    return [f"{name}/" for name in distinct_names([_pictures(source).parent for source in sources])]


def _numbers(source: MapSource, place: int, meanings: Meanings) -> dict[str, float]:
    """The numbers of a picture that a condition may compare, after classes were renamed and left out."""
    height, width = source.images.sizes[place]
    segments = source.annotations[source.places[place]].segments
    kept = [(meaning, segment.is_crowd) for segment in segments if (meaning := meanings[segment.category])]
    are_things = [category.is_thing for category, is_crowd in kept if not is_crowd]
    return {
        **Counter(category.name for category, is_crowd in kept if not is_crowd),
        "width": width,
        "height": height,
        "segments": len(kept),
        "things": sum(are_things),
        "stuff": len(are_things) - sum(are_things),
        "crowds": len(kept) - len(are_things),
    }


def _labels(source: MapSource, place: int, meanings: Meanings) -> Labels:
    picture = source.read(place)
    regions = [
        LabeledRegion(meanings[region.category.id], region.cutout, region.segment.is_crowd)
        for region in picture.regions
    ]
    return Labels(picture.size, regions)
