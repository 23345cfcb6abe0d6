"""Draw what a mask is blended from: the bases of an image, and the attentions of its best detections.

python examples/draw_bases.py CHECKPOINT IMAGE
python examples/draw_bases.py                      an untrained model on a generated image: shows the form only
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from panoptic_blend import Predictor, build_model, load, load_config
from panoptic_blend.drawing.figures import draw_attentions, draw_bases
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import Picture, read_picture, write_picture
from panoptic_blend.prediction.protocol import PicturePredictor
from panoptic_blend.shapes.dataset import CATEGORIES, generate


def untrained() -> Predictor:
    """The demo's model with random weights, which is sure of nothing, so that every score counts."""
    torch.manual_seed(0)
    categories = Categories(CATEGORIES)
    things, stuff = len(categories.thing_ids), len(categories.stuff_ids)
    changes = [f"model.num_things={things}", f"model.num_stuff={stuff}", "model.fcos.score_threshold=0"]
    config = load_config("demo/shapes_r18", changes)
    return Predictor(build_model(config), config, categories)


def draw_both(predictor: PicturePredictor, photo: Picture, number: int, folder: Path) -> None:
    """Write the bases, and a row for each of the ``number`` best detections (BlendMask, figures 1 and 3)."""
    output = predictor.output(photo).arrays()
    if output.bases is None or output.attentions is None:
        raise SystemExit("this model blends no bases; use one with the instance branch of BlendMask")
    best = (-output.scores).argsort()[:number]
    names = [predictor.categories.by_id[predictor.categories.thing_ids[label]].name for label in output.labels[best]]
    boxes, attentions, masks = (x[best] for x in (output.boxes, output.attentions, output.masks))
    bases = output.bases
    write_picture(folder / "bases.png", draw_bases(photo, bases))
    write_picture(folder / "attentions.png", draw_attentions(photo, boxes, attentions, masks, bases, names))
    print(f"{len(bases)} bases and {len(names)} detections: see {folder}/bases.png and {folder}/attentions.png")


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="CHECKPOINT IMAGE")
    parser.add_argument("--detections", type=int, default=5, help="how many of the best to draw")
    parser.add_argument("--output", type=Path, default=Path("bases"), help="folder for the figures")
    arguments = parser.parse_args()
    if len(arguments.files) not in (0, 2):
        parser.error("give a checkpoint and an image, or neither")
    if arguments.files:
        predictor, photo = load(arguments.files[0]), read_picture(arguments.files[1])
    else:
        predictor, photo = untrained(), generate(seed=0, index=0).image
    draw_both(predictor, photo, arguments.detections, arguments.output)


if __name__ == "__main__":
    main()
