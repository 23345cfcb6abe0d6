"""The summary of a run on generated data: its page, its three pictures and its report, and a second one."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.fit.report_text import Known
from panoptic_blend.fit.summary import evaluate_best, write_summary
from panoptic_blend.formats.images import read_picture
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.structures import Output


class Stuff(nn.Module):
    """Sees one class of stuff in every picture."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pixel_mean", torch.zeros(3))

    def predict(self, images: list[Tensor], output_sizes: list[tuple[int, int]]) -> list[Output]:
        [size] = output_sizes
        semantic, none = torch.ones(size, dtype=torch.int64), torch.zeros(0)
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
