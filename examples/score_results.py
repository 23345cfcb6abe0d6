"""Score somebody else's panoptic results. Needs neither a model nor torch.

python examples/score_results.py                          two tiny maps in memory, then two generated files
python examples/score_results.py TRUTH.json RESULTS.json  COCO panoptic JSON with its PNGs beside it
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from panoptic_blend import Category, PanopticMap, PanopticQuality, evaluate_files
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.metrics.conversion import from_detectron2, from_hugging_face
from panoptic_blend.shapes.dataset import CATEGORIES, generate, write_shapes

PERSON, SKY = Category(1, "person", is_thing=True), Category(187, "sky", is_thing=False)


def score_in_memory() -> float:
    """PQ of one image in detectron2's form and one in Hugging Face's, as a fraction."""
    categories = {PERSON.id: PERSON, SKY.id: SKY}
    truth = np.array([[1, 1, 2, 2], [1, 1, 2, 2]]), [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 187}]

    # detectron2 counts things and stuff from 0, each by itself; here one column of the sky is taken for the person
    ids = np.array([[1, 1, 1, 2], [1, 1, 1, 2]])
    records = [{"id": 1, "isthing": True, "category_id": 0}, {"id": 2, "isthing": False, "category_id": 0}]
    detectron2 = from_detectron2((ids, records), categories, thing_ids=[PERSON.id], stuff_ids=[SKY.id])

    # Hugging Face counts all classes from 0; here everything is right
    result = {"segmentation": truth[0], "segments_info": [{"id": 1, "label_id": 0}, {"id": 2, "label_id": 1}]}
    hugging_face = from_hugging_face(result, categories, category_ids=[PERSON.id, SKY.id])

    quality = PanopticQuality([PERSON, SKY])
    quality.update(truth=truth, prediction=detectron2)
    quality.update(truth=truth, prediction=hugging_face)
    return quality.compute()["All"]["pq"]


def write_example(folder: Path) -> tuple[Path, Path]:
    """A truth of three generated images, and results that lack the first segment of each."""
    write_shapes(folder, train=3, val=0)
    results = folder / "results" / "panoptic_train2017.json"
    with PanopticWriter(results, categories=CATEGORIES) as writer:
        for index in range(3):
            truth = generate(seed=0, index=index).panoptic
            first, *others = truth.segments
            ids = np.where(truth.segment_ids == first.id, 0, truth.segment_ids)
            kept = PanopticMap.measured(ids, [replace(segment, score=0.9) for segment in others])
            writer.add(index + 1, f"{index + 1:012d}.jpg", kept)
    return folder / "annotations" / "panoptic_train2017.json", results


def main() -> None:
    """Read the arguments, score, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="TRUTH.json RESULTS.json")
    files = parser.parse_args().files
    if len(files) not in (0, 2):
        parser.error("give both files, or none")
    if not files:
        print(f"in memory: PQ {100 * score_in_memory():.1f}")
        files = write_example(Path("scored"))
    report = evaluate_files(*files)
    for group in ("All", "Things", "Stuff"):
        print(f"{group:6} " + " ".join(f"{key.upper()} {100 * report[group][key]:5.1f}" for key in ("pq", "sq", "rq")))


if __name__ == "__main__":
    main()
