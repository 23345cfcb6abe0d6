"""Draw explanations of pictures into a folder for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from panoptic_blend.failures import doing
from panoptic_blend.files import printable, require_no_overwrite
from panoptic_blend.formats.addresses import read_picture_at
from panoptic_blend.formats.images import write_picture
from panoptic_blend.inference.explanation import explain
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.prediction.find_pictures import FoundPicture
from panoptic_blend.prediction.sharing import Alone, Shard
from panoptic_blend.structures import PanopticBlendError, Progress


def explain_pictures(
    predictor: Predictor,
    pictures: Sequence[FoundPicture],
    output: Path,
    numbers: Sequence[int],
    progress: Progress,
    team: Alone,
) -> list[str]:
    """Write the drawings of each picture to a folder of its name in ``output``; return a line about each picture.

    Drawings of an earlier run are replaced.

    Args:
        numbers: see `explain`.
        progress: called with the number of pictures done and the total number.
        team: the processes that share the pictures.

    Raises:
        PanopticBlendError: a picture cannot be read or has too few instances; the pictures before it are finished.
    """

    def work(shard: Shard, show: Progress) -> list[str]:
        lines = []
        own = shard.range_of(len(pictures))
        for done, picture in enumerate(pictures[own.start : own.stop], start=1):
            with doing(f"explaining {picture.path}", lower="test.short_side or test.long_side"):
                lines.append(_explain(predictor, picture, output / picture.result, numbers))
            show(done, len(own))
        return lines

    return [line for lines in team.share(len(pictures), work, progress) for line in lines]


def _explain(predictor: Predictor, picture: FoundPicture, folder: Path, numbers: Sequence[int]) -> str:
    photo = read_picture_at(picture.path)
    try:
        found = explain(predictor, photo, numbers)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{picture.path}: {error}") from None
    drawings = {folder / name: drawing for name, drawing in found.figures().items()}
    old = [folder / "bases.png", folder / "attentions.png", *folder.glob("detection_*.png")]
    require_no_overwrite([*drawings, *old], [picture.path] if isinstance(picture.path, Path) else [])
    for path in old:  # of another model or other instances, of which this one may have none
        path.unlink(missing_ok=True)
    for path, drawing in drawings.items():
        write_picture(path, drawing)
    explained = ", ".join(map(str, found.detections)) or "none"
    facts = [f"{len(found.titles)} instances, explained: {explained}", *found.remarks]
    return printable(f"{picture.name}: {'; '.join(facts)}")
