"""Find the pictures to predict in files, folders and lists, say what is left out, and name their results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from panoptic_blend.files import distinct_names, printable, read_bytes
from panoptic_blend.formats.addresses import Address, Location, location_of
from panoptic_blend.formats.images import PICTURE_SUFFIXES
from panoptic_blend.formats.videos import VIDEO_SUFFIXES
from panoptic_blend.listing import Listing, list_files
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class FoundPicture:
    """A picture to predict: where it is, its ``name`` in the COCO JSON, and the name of its results, without a suffix.

    The ``name`` is relative to the folder that was given, or to that of the list. No two pictures have the same
    ``result``, in any case of letters.
    """

    path: Location
    name: str
    result: str


def find_pictures(
    inputs: Sequence[Location], recursive: bool = False, passed: Collection[Path] = (), listed: Path | None = None
) -> tuple[list[FoundPicture], list[str]]:
    """Find the pictures in files, folders and a list, each once; the second result is a line for each folder with more.

    A file that is named is taken whatever it is called; in a folder its name must end as one of `PICTURE_SUFFIXES`.

    Args:
        recursive: take the pictures of subfolders too.
        passed: folders in which nothing is looked for, such as those that are written.
        listed: a text file that names a picture in each line, by address or by path, which is relative to its folder.
            Whether these exist is found when they are read.

    Raises:
        PanopticBlendError: there is no such file or folder, or a folder or the list has no pictures.
    """
    names: dict[Location, str] = {}
    known: set[Location] = set()
    remarks: list[str] = []
    for path in inputs:
        pictures: Mapping[Location, str]
        if isinstance(path, Address):
            pictures = _in_remote_folder(path, recursive) if path.is_folder else {path: path.name}
        elif path.is_dir():
            pictures, remark = _in_folder(path, recursive, passed)
            remarks += filter(None, [remark])
        elif path.is_file():
            pictures = {path: path.name}
        else:
            raise PanopticBlendError(f"{path}: no such file or folder; check the path")
        _add(pictures, names, known)
    if listed:
        _add(_in_list(listed), names, known)
    return _with_results(_distinguished(names)), remarks


def _add(pictures: Mapping[Location, str], names: dict[Location, str], known: set[Location]) -> None:
    """Add pictures with their names, but for those that are known under another path."""
    for picture, name in pictures.items():
        if (place := absolute(picture)) not in known:
            known.add(place)
            names[picture] = name


def absolute(location: Location) -> Location:
    """The path without links and dots in its folder; a link to a picture is a picture of its own."""
    return location if isinstance(location, Address) else location.parent.resolve() / location.name


def _in_list(path: Path) -> dict[Location, str]:
    """The pictures that a text file names, with their names relative to its folder if they are in it."""
    text = read_bytes(path).decode("utf-8-sig", "surrogateescape")
    pictures: dict[Location, str] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        location = location_of(line)
        if isinstance(location, Address):
            pictures[location] = location.name
        else:
            is_inside = not location.is_absolute() and ".." not in location.parts
            pictures[path.parent / location] = location.as_posix() if is_inside else location.name
    if not pictures:
        raise PanopticBlendError(f"{path}: names no pictures; write a path or an address in each line")
    return pictures


def _in_remote_folder(folder: Address, recursive: bool) -> dict[Location, str]:
    found = folder.files(recursive)
    pictures: dict[Location, str] = {address: name for address, name in found if _kind(address.path) == "pictures"}
    if not pictures:
        formats = ", ".join(sorted(PICTURE_SUFFIXES))
        raise PanopticBlendError(f"{folder}: no pictures in this folder; give one with {formats} files")
    return pictures


def _in_folder(folder: Path, recursive: bool, passed: Iterable[Path]) -> tuple[dict[Location, str], str]:
    """The pictures of a folder with their names, and a line that says what else is in it; empty if nothing is."""
    listing, root = _listing(folder, recursive), folder.resolve()
    below = [path.resolve() for path in passed]
    skipped = [folder / path.relative_to(root) for path in below if path.is_relative_to(root)]
    files = [path for path in listing.paths if not any(path.is_relative_to(other) for other in skipped)]
    entered = files if recursive else [path for path in files if path.parent == folder]
    pictures: dict[Location, str] = {
        path: path.relative_to(folder).as_posix() for path in entered if _kind(path) == "pictures"
    }
    others = Counter(_kind(path) for path in entered if path not in pictures) + listing.passed_over
    deeper = sum(_kind(path) == "pictures" for path in files) - len(pictures)
    others += Counter({"pictures in subfolders (add --recursive)": deeper})
    left_out = printable(", ".join(f"{kind}: {number}" for kind, number in sorted(others.items())))
    if not pictures:
        there = f" ({left_out})" if left_out else ""
        formats = ", ".join(sorted(PICTURE_SUFFIXES))
        raise PanopticBlendError(f"{folder}: no pictures in this folder{there}; give one with {formats} files")
    return pictures, f"{printable(str(folder))}: left out: {left_out}" if left_out else ""


def _listing(folder: Path, recursive: bool) -> Listing:
    try:
        return list_files(folder, recursive=True)
    except PanopticBlendError:  # a subfolder that may not be read matters only if it is to be entered
        return list_files(folder, recursive=recursive)


def _kind(path: PurePath) -> str:
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "pictures"
    if suffix in VIDEO_SUFFIXES:
        return "videos (give each with --video)"
    return f"{suffix} files" if suffix else "files without an ending"


def _distinguished(names: Mapping[Location, str]) -> dict[Location, str]:
    """The same names, with more folders of their paths where two are equal."""
    groups: defaultdict[str, list[Location]] = defaultdict(list)
    for path, name in names.items():
        groups[name.casefold()].append(path)
    longer: dict[Location, str] = {}
    for group in groups.values():
        if len(group) > 1:
            paths = [Path(location.path) if isinstance(location, Address) else location for location in group]
            longer.update(zip(group, distinct_names(paths), strict=True))
    return {**names, **longer}


def _with_results(names: Mapping[Location, str]) -> list[FoundPicture]:
    """Name the results as the pictures, without the suffix where it tells no two pictures apart."""
    stems = {path: str(PurePosixPath(name).with_suffix("")) for path, name in names.items()}
    count, used = Counter(stem.casefold() for stem in stems.values()), set[str]()
    found = []
    for path, name in names.items():
        result = stems[path] if count[stems[path].casefold()] == 1 else name
        while result.casefold() in used:  # such as ``a.png.jpg`` beside ``a.png`` and ``a.jpg``
            result += "_"
        used.add(result.casefold())
        found.append(FoundPicture(path, name, result))
    return found
