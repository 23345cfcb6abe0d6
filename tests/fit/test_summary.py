"""The summary of a run on generated data: its page, its three pictures and its report, and a second one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import numpy as np
import torch
from instance_files import write_instances
from torch import Tensor, nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.instances import CocoInstances
from panoptic_blend.fit.report_text import Known
from panoptic_blend.fit.summary import evaluate_best, write_summary
from panoptic_blend.formats.images import read_picture
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.structures import Output


class Stuff(nn.Module):
    """Sees one class of stuff in every picture, and nothing if that is 0."""

    def __init__(self, semantic_class: int = 1) -> None:
        super().__init__()
        self.semantic_class = semantic_class
        self.register_buffer("pixel_mean", torch.zeros(3))

    def predict(self, images: list[Tensor], output_sizes: list[tuple[int, int]]) -> list[Output]:
        [size] = output_sizes
        semantic, none = torch.full(size, self.semantic_class), torch.zeros(0)
        panoptic = paint([], none, none.long(), semantic, confidence=0.5, overlap=0.5, stuff_area=1)
        return [Output(torch.zeros(0, 4), none, none.long(), [], semantic, panoptic, None, None)]


def test_one_call_leaves_page_pictures_and_report(generated: Path, tmp_path: Path) -> None:
    config = load_config("demo/shapes_r18", [f"data.root={generated}", "data.workers=0"])
    dataset = CocoPanoptic(generated, "val2017")
    predictor = Predictor(cast(PanopticBlend, Stuff()), config, dataset.categories)
    seen = list[str]()
    judged = evaluate_best(predictor, tmp_path, lambda sample, _: seen.append(sample.file_name))
    assert seen == list(dataset.images.file_names)
    lines = write_summary(tmp_path, judged, Known())
    assert lines[0].startswith("PQ ") and " on 3 validation pictures: things 0.0 " in lines[0]
    page = (tmp_path / "report.md").read_text()
    assert "too few pictures" in page
    for name in ("best", "typical", "worst"):
        assert f"(report/{name}.png)" in page
        picture = read_picture(tmp_path / "report" / f"{name}.png")
        assert picture.shape[1] > 1000 and np.ptp(picture) > 0
    assert "(report/report.html)" in page and (tmp_path / "report" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "evaluation" / "panoptic_val2017.json").exists()
    assert write_summary(tmp_path, judged, Known()) == lines


def test_instances_alone_have_intervals_causes_and_a_report(generated: Path, tmp_path: Path) -> None:
    root, output = tmp_path / "data", tmp_path / "run"
    shutil.copytree(generated, root)
    write_instances(root, "val2017")
    options = [f"data.root={root}", "data.things=instances", "data.workers=0", "model.semantic.enabled=false"]
    config = load_config("demo/shapes_r18", options)
    predictor = Predictor(cast(PanopticBlend, Stuff(0)), config, CocoInstances(root, "val2017").categories)
    judged = evaluate_best(predictor, output)
    quality, limit, label, *_, files = write_summary(output, judged, Known())
    assert quality.startswith("AP of masks 0.0 (0.0 to 100.0), of boxes 0.0 (0.0 to 100.0) on 3 validation pictures (")
    assert limit == "what limits it: missed things cost 100.0 points"
    assert label.startswith("what to label next: more pictures with the weakest classes: ")
    assert files.endswith(f"in detail {output / 'report' / 'report.html'}")
    page = (output / "report.md").read_text()
    assert "AP (average precision) says" in page and "* missed things cost 100.0 points of AP50\n" in page
    assert "PQ" not in page and "too few pictures |" in page
    assert (output / "report" / "report.html").stat().st_size > 10_000
