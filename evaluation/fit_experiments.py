"""The experiments of `evaluation.fit_quality`: which models are trained on which data, and what they are judged on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluation.coco_supercategories import derive
from evaluation.efficientnet_lite import transfer
from evaluation.fit_variants import TRAIN, ByConfig, ByFit, ByPeer, Tuned, Variant, slug
from evaluation.generated_kinds import KINDS, write_kind
from evaluation.mask_rcnn_peer import Peer
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.fit.plan import YAML, flat
from panoptic_blend.fit.rules import late_steps
from panoptic_blend.fit.run import fit
from panoptic_blend.fit.wanted import Wanted
from panoptic_blend.models.backbones.protocol import STAGES
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import PanopticBlendError

DEMO, VAL = "demo/shapes_r18", "val2017"
INSTANCES = "instances2017"
"""Photographs that have instances only, so that PQ says nothing on them."""
REFERENCES = {
    "shapes": "demo",
    "few": "demo",
    "ablation": "plan",
    "long_ablation": "plan",
    "photos": "fit",
    "peer": "fit",
    "kinds": "demo",
}
"""The variant from which the others are subtracted."""
NEUTRAL: Mapping[str, Any] = {
    "model.fcos.assigner": "fcos",
    "model.fcos.quality": "centerness",
    "model.blender.rescoring": "none",
    "train.ema": None,
    "train.patience": None,
    "train.backbone_lr": 1.0,
    "data.jitter": None,
    "data.color": 0.0,
    "data.degrade": 0.0,
    "data.copy_paste": 0.0,
    "data.repeat_threshold": 0.0,
}
"""The ingredients of ``fit`` that an option leaves out, with its value then."""
RATES = 1.0, 2.0, 4.0, 8.0
"""Factors of the peer's learning rate that are tried."""


@dataclass(frozen=True)
class Given:
    """The arguments of an experiment. ``minutes`` is the time of a run, None for the time of the demo's training."""

    output: Path
    minutes: float | None = None
    data: Path | None = None
    others: Path | None = None
    pretrained: Path | None = None
    pictures: tuple[int, int] = (2000, 200)
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A variant to train on ``root`` in ``folder``, for a seed, and the splits to judge it on by their names."""

    name: str
    variant: Variant
    root: Path
    folder: Path
    splits: Mapping[str, tuple[Path, str]]


def shapes(given: Given, seed: int) -> Iterator[Task]:
    yield from _against_demo(given, seed, "shapes", given.pictures[0])


def few(given: Given, seed: int) -> Iterator[Task]:
    yield from _against_demo(given, seed, "few", min(100, given.pictures[0]))


def _against_demo(given: Given, seed: int, name: str, train: int) -> Iterator[Task]:
    root = _shapes_root(given, name, train)
    folder, splits = given.output / name, {VAL: (root, VAL)}
    demo = folder / "demo" / str(seed)
    yield Task("demo", ByConfig(DEMO, given.overrides, given.minutes), root, demo, splits)
    wanted = Wanted(minutes=given.minutes or 0, weights="none", overrides=given.overrides)
    by_fit = ByFit(wanted, as_long_as=None if given.minutes else demo)
    yield Task("fit", by_fit, root, folder / "fit" / str(seed), splits)


def ablation(given: Given, seed: int) -> Iterator[Task]:
    yield from _ablation(given, seed, "ablation", 4.0)


def long_ablation(given: Given, seed: int) -> Iterator[Task]:
    yield from _ablation(given, seed, "long_ablation", 10.0)


def _ablation(given: Given, seed: int, experiment: str, minutes: float) -> Iterator[Task]:
    """The plan is made once, for all seeds, so that all variants are changes of the same config.

    They have the thresholds of training, the paper's; ``tuned fusion`` is the model of the plan, tuned.
    """
    root, folder = _shapes_root(given, "shapes", given.pictures[0]), given.output / experiment
    if not (folder / YAML).exists():
        wanted = Wanted(minutes=given.minutes or minutes, weights="none", overrides=given.overrides)
        fit(root, folder, wanted, resume=True, dry_run=True)
    plan = str(folder / YAML)
    for name, (overrides, changes_speed) in {"plan": ((), False), **left_out(load_config(plan))}.items():
        variant = ByConfig(plan, overrides, as_long_as_base=changes_speed)
        yield Task(name, variant, root, folder / slug(name) / str(seed), {VAL: (root, VAL)})
    tuned = Tuned(ByConfig(plan), folder / "plan" / str(seed))
    yield Task("tuned fusion", tuned, root, folder / "tuned_fusion" / str(seed), {VAL: (root, VAL)})


def left_out(config: Config) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Overrides that leave out each ingredient of a plan once, and whether a step takes another time then."""
    options = flat(config.model_dump(mode="json"))
    found: dict[str, tuple[tuple[str, ...], bool]] = {}
    for name, neutral in NEUTRAL.items():
        if name in options and options[name] != neutral:
            found[f"without {name}"] = ((f"{name}={'null' if neutral is None else neutral}",), False)
    if config.train.schedule == "cosine":
        steps = late_steps(config.train.iterations)
        found["steps for cosine"] = (("train.schedule=steps", f"train.steps={steps}"), False)
    else:
        found["cosine for steps"] = (("train.schedule=cosine", "train.steps=[]"), False)
    for word, factor in (("larger", 1.25), ("smaller", 0.8)):
        side, long_side = (round(factor * x / 32) * 32 for x in (config.test.short_side, config.test.long_side))
        sizes = [f"data.short_sides=[{side}]", f"data.long_side={long_side}"]
        sizes += [f"test.short_side={side}", f"test.long_side={long_side}"]
        found[f"{word} input"] = (tuple(sizes), True)
    other = "bf16-mixed" if config.train.precision == "32-true" else "32-true"
    found[other] = ((f"train.precision={other}",), True)
    return found


def photos(given: Given, seed: int) -> Iterator[Task]:
    """``fit``, and ``fit`` with more pictures that have instances only, against what the demo's config makes of them.

    The enlarged training split has the pictures of ``instances2017``, so that the model is not judged on these.
    """
    roots, minutes = _photo_roots(given), given.minutes or 20.0
    folder, splits = given.output / "photos", _photo_splits(roots["all"])
    yield _photo_fit(given, seed, "fit", roots["photos"], minutes, splits)
    if "more" in roots:
        apart = {name: split for name, split in splits.items() if name != INSTANCES}
        yield _photo_fit(given, seed, "fit, more pictures", roots["more"], minutes, apart)
    sizes = ("data.short_sides=[208]", "data.long_side=347", "test.short_side=208", "test.long_side=347")
    variants = {
        "demo's R-18 from scratch": sizes,
        "plain transfer": (*sizes, *transfer(Peer.backbone, given.pretrained)),
    }
    for name, overrides in variants.items():
        variant = ByConfig(DEMO, (*overrides, *given.overrides), minutes)
        yield Task(name, variant, roots["photos"], folder / slug(name) / str(seed), splits)


def peer(given: Given, seed: int) -> Iterator[Task]:
    """``fit``, whose run is that of ``photos``, and the peer with each of ``RATES``.

    The input size, the batch and the channels of the FPN are those that ``fit`` chose, so that the peer takes as many
    steps from pictures as large; at a rate of 1 there is also one whose whole backbone is frozen, as that of ``fit``.
    """
    roots, minutes = _photo_roots(given), given.minutes or 20.0
    root, splits = roots["photos"], _photo_splits(roots["all"])
    own = _photo_fit(given, seed, "fit", root, minutes, splits)
    yield own
    config = load_config(own.folder / YAML)
    plain = Peer(
        given.pretrained,
        channels=config.model.fpn.channels,
        short_side=config.test.short_side,
        long_side=config.test.long_side,
        batch_size=config.train.batch_size,
    )
    peers = {f"Mask R-CNN, rate {rate:g}": replace(plain, rate=rate) for rate in RATES}
    peers["Mask R-CNN, frozen backbone"] = replace(plain, frozen_stages=len(STAGES) + 1)
    for name, settings in peers.items():
        yield Task(name, ByPeer(settings, minutes), root, given.output / "peer" / slug(name) / str(seed), splits)


def kinds(given: Given, seed: int) -> Iterator[Task]:
    train, val = min(500, given.pictures[0]), min(100, given.pictures[1])
    minutes = given.minutes or 3.0
    for name, kind in KINDS.items():
        folder = given.output / "kinds" / slug(name)
        write_kind(folder / "data", kind, train, val)
        splits = {name: (folder / "data", VAL)}
        demo = ByConfig(DEMO, given.overrides, minutes)
        yield Task("demo", demo, folder / "data", folder / "demo" / str(seed), splits)
        wanted = Wanted(minutes=minutes, weights="none", overrides=given.overrides)
        yield Task("fit", ByFit(wanted), folder / "data", folder / "fit" / str(seed), splits)


EXPERIMENTS: Mapping[str, Callable[[Given, int], Iterator[Task]]] = {
    "shapes": shapes,
    "few": few,
    "ablation": ablation,
    "long_ablation": long_ablation,
    "photos": photos,
    "peer": peer,
    "kinds": kinds,
}


def _shapes_root(given: Given, name: str, train: int) -> Path:
    root = given.output / name / "data"
    if not (root / "annotations" / f"panoptic_{VAL}.json").exists():
        write_shapes(root, train, given.pictures[1])
    return root


def _photo_roots(given: Given) -> dict[str, Path]:
    """The derived data set with ``all`` splits, and those to train on, with one training split: with ``more`` if any.

    The data set as a whole has pictures in several splits, which ``fit`` refuses rightly.
    """
    if given.data is None or given.pretrained is None:
        raise PanopticBlendError("photos and peer need photographs and weights; add --data DIR and --pretrained FILE")
    folder = given.output / "photos"
    for line in derive(given.data, folder / "data", given.others):
        print(line)
    sources = {"photos": TRAIN, "more": "more2017"}
    roots = {name: _view(folder, name, split) for name, split in sources.items() if (folder / "data" / split).is_dir()}
    return {"all": folder / "data", **roots}


def _view(folder: Path, name: str, training: str) -> Path:
    """A data set of links, with one split for training and one for validation."""
    source, root = folder / "data", folder / f"{name}_data"
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, own in ((TRAIN, training), (VAL, VAL)):
        links = {root / split: source / own}
        for ending in ("", ".json"):
            path = source / "annotations" / f"panoptic_{own}{ending}"
            links[root / "annotations" / f"panoptic_{split}{ending}"] = path
        for link, path in links.items():
            if not link.is_symlink():
                link.symlink_to(path.resolve())
    return root


def _photo_splits(root: Path) -> dict[str, tuple[Path, str]]:
    """The splits on which no model was trained, of those that there are."""
    return {split: (root, split) for split in (VAL, "others2017", INSTANCES) if (root / split).is_dir()}


def _photo_fit(
    given: Given, seed: int, name: str, root: Path, minutes: float, splits: Mapping[str, tuple[Path, str]]
) -> Task:
    wanted = Wanted(minutes=minutes, weights=str(given.pretrained), backbone=Peer.backbone, overrides=given.overrides)
    return Task(name, ByFit(wanted), root, given.output / "photos" / slug(name) / str(seed), splits)
