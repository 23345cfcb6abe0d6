"""Push a run to the Hugging Face Hub: its weights as safetensors, its config, a model card and pictures.

Paths, names of machines and of users stay here: what is pushed is written anew, from the parts that are named below.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from panoptic_blend.checkpoints.io import Checkpoint, is_checkpoint, read_checkpoint, read_figure, save_checkpoint
from panoptic_blend.checkpoints.reading import Figure
from panoptic_blend.config.experiment import Config
from panoptic_blend.download.hub import FILE, hub_errors
from panoptic_blend.download.weights_cache import is_offline
from panoptic_blend.extras import require_extra
from panoptic_blend.formats.images import read_picture, write_picture
from panoptic_blend.publishing.card import A_FILE, UNKNOWN, Card, initial_weights, restricted
from panoptic_blend.publishing.figures import RunFigures, figures_of
from panoptic_blend.structures import PanopticBlendError, Progress
from panoptic_blend.training.initialization import BEST, LAST

_CURVES = "curves.png"
_COLUMNS: dict[Figure, str] = {"pq": "PQ", "ap": "AP_Th"}
"""The figures in the header of a checkpoint, with their names in a log."""


@dataclass(frozen=True)
class Publication:
    """A repository on the Hub, and what its author says about the model.

    Raises:
        PanopticBlendError: the name is not ``owner/name``, or the license not an identifier of the Hub's.
    """

    repo: str
    is_private: bool = False
    license: str | None = None
    """An identifier of the Hub's, such as ``apache-2.0``."""
    data: str | None = None
    """The name of the data set that the figures are on."""
    pictures: Sequence[Path] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.repo):
            raise PanopticBlendError(f"{self.repo}: not the name of a repository; write owner/name")
        if self.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license):
            raise PanopticBlendError(f"--license {self.license}: no license of the Hub's; write it as in apache-2.0")


def push(run: Path, publication: Publication, progress: Progress | None = None) -> str:
    """Push the best weights of a run, or a checkpoint, and return the address of the repository.

    Args:
        run: the folder of a run, or a checkpoint of this library.
        progress: called with the number of images scored and the total number, for the intervals.

    Raises:
        PanopticBlendError: there is no checkpoint, its initial weights demand that a license is stated, a private
            repository is asked for and it is public, or the Hub refuses.
    """
    require_extra("hub")
    if is_offline():
        raise PanopticBlendError("push needs the Hub; run it without --offline")
    path = _checkpoint_of(run)
    known = read_checkpoint(path)
    if publication.license is None and (source := restricted(known.config)):
        raise PanopticBlendError(
            f"{path}: comes from {source.name}, {source.license}; state a --license that these terms allow"
        )
    figures = figures_of(run, known.config, path.name == BEST, progress) if run.is_dir() else _stated(path)
    with TemporaryDirectory() as folder:
        _fill(Path(folder), run, path, known, figures, publication)
        return _upload(Path(folder), publication)


def public_config(config: Config) -> Config:
    """A config without the paths of this machine."""
    changes, weights = ["data.root=null"], initial_weights(config)
    if weights == A_FILE:
        changes += ["train.weights=null", "train.partial=false"]
    elif weights:
        changes.append(f"train.weights={weights}")
    if isinstance(config.model.backbone.pretrained, str):
        changes.append("model.backbone.pretrained=true")
    return config.changed(changes)


def _checkpoint_of(run: Path) -> Path:
    """The checkpoint to push; nothing else is ever pushed as weights."""
    found = [run / name for name in (BEST, LAST) if (run / name).is_file()] if run.is_dir() else [run]
    if not found:
        raise PanopticBlendError(f"{run}: has neither {BEST} nor {LAST}; give the folder of a run")
    if not is_checkpoint(found[0]):
        raise PanopticBlendError(
            f"{found[0]}: only safetensors of this library are pushed; make some with `panoptic-blend weights import`"
        )
    return found[0]


def _stated(path: Path) -> RunFigures:
    """The figures in the header of a checkpoint."""
    columns = {_COLUMNS[name]: figure for name, figure in _header_of(path).items()}
    return RunFigures(columns, why_no_intervals="only the checkpoint was at hand")


def _header_of(path: Path) -> dict[Figure, float]:
    return {name: figure for name in _COLUMNS if (figure := read_figure(path, name)) >= 0}


def _fill(
    folder: Path, run: Path, path: Path, known: Checkpoint, figures: RunFigures, publication: Publication
) -> None:
    config = public_config(known.config)
    save_checkpoint(folder / FILE, known.state, config, known.categories, _header_of(path))
    options = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (folder / "config.yaml").write_text(options, encoding="utf-8")
    pictures = []
    if (run / _CURVES).is_file():
        shutil.copyfile(run / _CURVES, folder / _CURVES)
        pictures.append(_CURVES)
    for number, picture in enumerate(publication.pictures, start=1):
        pictures.append(f"picture_{number}.jpg")  # its own name may say who or where
        write_picture(folder / pictures[-1], read_picture(picture))  # without the notes of a camera
    card = Card(
        repo=publication.repo,
        config=config,
        categories=known.categories,
        figures=figures,
        license=publication.license or UNKNOWN,
        data=publication.data,
        initial=initial_weights(known.config),
        pictures=pictures,
    )
    (folder / "README.md").write_text(card.text(), encoding="utf-8")


def _upload(folder: Path, publication: Publication) -> str:
    from huggingface_hub import HfApi

    api, repo = HfApi(), publication.repo
    with hub_errors(f"hf://{repo}"):
        address = str(api.create_repo(repo, private=publication.is_private or None, exist_ok=True))
        if publication.is_private and not api.repo_info(repo).private:
            raise PanopticBlendError(f"hf://{repo}: exists and is public; choose another name, or leave out --private")
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Model of panoptic_blend")
    return address
