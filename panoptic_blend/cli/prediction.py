"""``panoptic-blend predict``: run a trained model on pictures or on a video."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeGuard

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.models import running
from panoptic_blend.cli.running import stoppable
from panoptic_blend.failures import doing
from panoptic_blend.formats.addresses import Location, location_of
from panoptic_blend.formats.images import PICTURE_SUFFIXES
from panoptic_blend.formats.instance_results import FILE_NAME
from panoptic_blend.formats.videos import VIDEO_SUFFIXES
from panoptic_blend.structures import PanopticBlendError

if TYPE_CHECKING:
    from panoptic_blend.prediction.find_pictures import FoundPicture


def predict(
    model: options.Model,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders of pictures, their addresses, and changes to the config: key=value ..."),
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE", help="A text file with a path or address in each line."),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(help="A video instead of pictures (as is a single input with a video's suffix); drawn as an MP4."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Use only every N-th frame of the video.", metavar="N")] = 1,
    recursive: Annotated[bool, typer.Option("--recursive", help="Take the pictures of subfolders too.")] = False,
    weights: options.Weights = None,
    config: options.Config = None,
    output: options.Output = Path("predictions"),
    overrides: Annotated[list[str] | None, typer.Option("--set", hidden=True)] = None,
    device: options.Device = "auto",
    devices: options.Devices = 1,
    nodes: options.Nodes = 1,
    precision: options.NetworkPrecision = "32-true",
    overwrite: options.Overwrite = False,
) -> None:
    """Predict panoptic maps of pictures or of the frames of a video; write them as COCO JSON and PNG, and draw them.

    The instances of pictures, which may overlap, are written as COCO results too.

    After an interruption, run the same command again to continue.
    """
    named, changes = pictures_and_overrides(inputs or ())
    if video is None and len(named) == 1 and _is_video(named[0]):
        video, named = named[0], []
    if bool(named or listed) == bool(video):
        raise PanopticBlendError("nothing to predict, or both pictures and a video; give pictures or --video FILE")
    if one := next(filter(_is_video, named), None):
        raise PanopticBlendError(f"{one}: is a video; predict each video by itself, in a folder of its own")
    from panoptic_blend.prediction.pictures import predict_pictures
    from panoptic_blend.prediction.video import drawn_video, predict_video

    many = bool(video or listed or len(named) > 1 or any(isinstance(path, Path) and path.is_dir() for path in named))
    drawn = drawn_video(video, output) if video else output / "pictures"
    stopped = "interrupted; run the same command again to continue"
    changed = [*(overrides or ()), *changes]
    with (
        doing("predict", folder=output),
        stoppable(stopped),
        running(model, weights, config, changed, device, devices, nodes, precision, many) as on,
        on.locked(output),
    ):
        if video:
            if on.team.shard.count > 1:
                raise PanopticBlendError(f"{video}: one device predicts a video; leave out --devices and --nodes")
            with on.progress("predicting", "images") as show:
                count = predict_video(on.predictor, video, output, show, every, overwrite)
        else:
            found = on.team.from_first(lambda: _found(named, recursive, output, listed))
            with on.progress("predicting", "images") as show:
                count = predict_pictures(on.predictor, found, output, show, overwrite, on.team)
    if on.team.is_first:
        instances = "" if video else f"instances: {output}/{FILE_NAME}; "
        print(f"{count} panoptic maps: {output}/panoptic.json; {instances}drawings: {drawn}")


def _found(named: list[Location], recursive: bool, output: Path, listed: Path | None) -> list[FoundPicture]:
    from panoptic_blend.prediction.find_pictures import find_pictures
    from panoptic_blend.prediction.picture_jobs import INSTANCES

    written = [output / name for name in ("panoptic", "pictures", INSTANCES)]
    pictures, remarks = find_pictures(named, recursive, written, listed)
    for remark in remarks:
        print(remark, flush=True)
    return pictures


def _is_video(path: Location) -> TypeGuard[Path]:
    return isinstance(path, Path) and path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def pictures_and_overrides(inputs: Iterable[str]) -> tuple[list[Location], list[str]]:
    """Separate pictures from changes to the config, which contain a ``=`` and name no file, folder or address."""
    pictures, overrides = list[Location](), []
    for item in inputs:
        path = location_of(item)
        if isinstance(path, Path) and "=" in item and not path.exists() and path.suffix.lower() not in _SUFFIXES:
            overrides.append(item)
        else:
            pictures.append(path)
    return pictures, overrides


_SUFFIXES = PICTURE_SUFFIXES | VIDEO_SUFFIXES
