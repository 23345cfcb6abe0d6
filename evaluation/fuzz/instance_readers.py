"""A small valid truth and results of instances, and the function that scores them."""

from __future__ import annotations

import json
from pathlib import Path

from evaluation.fuzz.convert_readers import write_instances
from evaluation.fuzz.runner import Reader
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.instance_details import instance_summary, write_instance_details
from panoptic_blend.scoring.instance_files import InstanceFiles
from panoptic_blend.scoring.instance_findings import compute_instance_findings


def write_scored(folder: Path) -> None:
    """Write a truth and results for it: polygons and run lengths of both kinds."""
    write_instances(folder)
    annotations = json.loads((folder / "instances.json").read_text())["annotations"]
    results = [
        {
            "image_id": 1,
            "category_id": 5,
            "score": 0.5,
            "bbox": [1, 1, 5, 5],
            "segmentation": annotation["segmentation"],
        }
        for annotation in annotations
    ]
    (folder / "results.json").write_text(json.dumps(results))


def read_scored(folder: Path) -> None:
    """What ``ap --details --compare`` does."""
    resampling = Resampling(5)
    files = InstanceFiles(folder / "instances.json", [folder / "results.json"] * 2)
    findings = compute_instance_findings(files, resampling, causes=True)
    write_instance_details(folder / "out", files, findings, resampling)
    json.dumps(instance_summary(findings, resampling))


READERS = (Reader("ap", write_scored, read_scored),)
