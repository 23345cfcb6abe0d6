"""``predict`` and ``evaluate`` on folders, and the memory of many predictions."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import patch

import numpy as np

from evaluation.gpu.bench import Bench, Finding
from evaluation.gpu.workload import R50, finding_model, placed
from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.inference.evaluation import evaluate
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.machine import cores
from panoptic_blend.prediction.find_pictures import find_pictures
from panoptic_blend.prediction.pictures import predict_pictures

_PICTURES_A_SECOND = 60.0
_MOST_WORKERS = 8
_GROWTH_MB = {"allocated": 5.0, "reserved": 400.0, "resident": 200.0}
"""How much memory may grow from the 50th to the 200th prediction; the reserved one keeps blocks of several sizes."""


def predict_folder(bench: Bench) -> Finding:
    """``predict`` on a folder in bf16, files included: one step after the other, and overlapped."""
    predictor = _predictor(bench)
    pictures, _ = find_pictures([bench.coco / ("val2017" if bench.is_tiny else "train2017")])
    rates: dict[str, list[float]] = {"in turn": [], "overlapped": []}
    for number, (way, depth) in enumerate([("overlapped", 3), ("in turn", 0), ("overlapped", 3)]):
        with patch.object(Predictor, "queue_depth", depth):
            start = time.perf_counter()
            count = predict_pictures(
                predictor, pictures, bench.folder / f"predicted_{number}", lambda done, total: None
            )
        rates[way].append(round(count / (time.perf_counter() - start), 2))
    is_met = not bench.has_targets or max(rates["overlapped"]) >= _PICTURES_A_SECOND
    found = {"pictures": len(pictures), "pictures_s": rates}
    return Finding(found, is_met, f"{_PICTURES_A_SECOND:.0f} pictures a second")


def evaluate_folder(bench: Bench) -> Finding:
    """``evaluate`` on a validation split in bf16, metrics and PNGs included."""
    predictor, dataset = _predictor(bench), CocoPanoptic(bench.coco, "val2017")
    config = predictor.config.changed([f"data.workers={bench.times(min(_MOST_WORKERS, cores()))}"])
    results = bench.folder / "evaluated" / "panoptic_val2017.json"
    start = time.perf_counter()
    found = evaluate(predictor.model, dataset, config, results, "bf16-mixed")
    rate = len(dataset) / (time.perf_counter() - start)
    assert found.panoptic is not None
    is_right = bool(np.isfinite(found.panoptic["All"]["pq"]))
    return Finding({"pictures": len(dataset), "pictures_s": round(rate, 2)}, is_right)


def memory_is_flat(bench: Bench) -> Finding:
    """Memory does not grow from the 50th to the 200th prediction of pictures of many sizes."""
    predictor, number = _predictor(bench), bench.times(200, 4)
    rng = np.random.default_rng(0)
    low, high = bench.size((300, 900), (60, 130))
    pictures = [rng.integers(0, 256, (*rng.integers(low, high, 2), 3), dtype=np.uint8) for _ in range(25)]
    seen: dict[int, dict[str, float]] = {}
    for done in range(1, number + 1):
        predictor.predict(pictures[done % len(pictures)])
        if done in (number // 4, number // 2, number):
            seen[done] = bench.memory()
    first, last = seen[number // 4], seen[number]
    is_flat = all(last[name] - first[name] <= most for name, most in _GROWTH_MB.items())
    return Finding({"mb_after": seen}, bench.is_tiny or is_flat, f"growth of at most {_GROWTH_MB} MB")


def _predictor(bench: Bench) -> Predictor:
    tiny = ["test.short_side=96", "test.long_side=160"] if bench.is_tiny else []
    precision: Precision = "bf16-mixed"
    model: Any = placed(finding_model(R50), bench.device, precision)
    return Predictor(model, load_config(R50, tiny), coco_categories(), precision)
