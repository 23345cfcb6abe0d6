"""Every module of the library has a test file of its name, or the table here says which file covers it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LIBRARY = TESTS.parent / "panoptic_blend"
COVERED_BY = {
    "checkpoints/description": "checkpoints/test_weights_cli.py",
    "checkpoints/detectron2": "checkpoints/test_official.py",
    "checkpoints/digest": "inference/test_pictures.py",
    "checkpoints/fitting": "checkpoints/test_partial.py",
    "checkpoints/mmdetection": "checkpoints/test_official.py",
    "checkpoints/opcodes": "checkpoints/test_pickles.py",
    "checkpoints/renaming": "checkpoints/test_official.py",
    "checkpoints/torchvision_models": "checkpoints/test_torchvision_detectors.py",
    "cli/convert": "docs/test_documented_commands.py",
    "cli/data": "download/test_coco.py",
    "cli/drawing": "cli/test_cli.py",
    "cli/data_sets": "docs/test_documented_commands.py",
    "cli/explaining": "cli/test_cli.py",
    "cli/exporting": "test_without_torch.py",
    "cli/fitting": "docs/test_documented_commands.py",
    "cli/inference": "cli/test_cli.py",
    "cli/instances": "scoring/test_ap.py",
    "cli/interchange": "interchange/test_round_trips.py",
    "cli/labelling": "docs/test_documented_commands.py",
    "cli/main": "cli/test_cli.py",
    "cli/models": "inference/test_team.py",
    "cli/options": "cli/test_cli.py",
    "cli/prediction": "inference/test_pictures.py",
    "cli/running": "cli/test_cli.py",
    "cli/reporting": "report/test_instance_report.py",
    "cli/score_output": "scoring/test_scoring_details.py",
    "cli/serving": "serve/test_running.py",
    "cli/scoring": "cli/test_cli.py",
    "cli/self_testing": "scoring/test_self_test.py",
    "cli/sharding": "scoring/test_shards.py",
    "cli/training": "docs/test_documented_commands.py",
    "cli/weights": "checkpoints/test_weights_cli.py",
    "compat/fiftyone_samples": "compat/test_maps.py",
    "config/experiment": "config/test_config.py",
    "config/linear_rule": "config/test_config.py",
    "config/model_options": "config/test_config.py",
    "config/precisions": "config/test_config.py",
    "config/option_types": "config/test_config.py",
    "config/options": "config/test_config.py",
    "config/yaml_files": "config/test_config.py",
    "config/yaml_text": "config/test_config.py",
    "convert/class_maps": "convert/test_id_masks.py",
    "convert/ade20k": "convert/test_tool_masks.py",
    "convert/supervisely": "convert/test_tool_masks.py",
    "convert/vistas": "convert/test_tool_masks.py",
    "convert/voc": "convert/test_tool_masks.py",
    "convert/coco_annotations": "convert/test_coco_instances.py",
    "convert/coco_masks": "convert/test_coco_instances.py",
    "convert/instance_writing": "fit/test_intake.py",
    "convert/labelme_shapes": "convert/test_labelme.py",
    "convert/notes": "convert/test_coco_instances.py",
    "convert/orientation": "convert/test_coco_instances.py",
    "convert/outlines": "convert/test_yolo.py",
    "convert/picture_folder": "convert/test_coco_instances.py",
    "convert/records": "convert/test_coco_instances.py",
    "convert/stuff_maps": "convert/test_coco_instances.py",
    "convert/summary": "convert/test_coco_instances.py",
    "convert/writing": "convert/test_convert_writing.py",
    "data/instances": "data/test_splits.py",
    "data/targets": "data/test_transforms.py",
    "data/training_samples": "data/test_copy_paste.py",
    "deploy/engines": "deploy/test_deployed_predictor.py",
    "deploy/predictor": "deploy/test_deployed_predictor.py",
    "doctor/description": "doctor/test_doctor_description.py",
    "doctor/evidence": "doctor/test_checkup.py",
    "doctor/instances": "doctor/test_checkup.py",
    "doctor/kinds": "doctor/test_checkup.py",
    "doctor/layout": "doctor/test_checkup.py",
    "doctor/pixels": "doctor/test_checkup.py",
    "doctor/records": "doctor/test_checkup.py",
    "doctor/structure": "doctor/test_checkup.py",
    "download/coco_parts": "download/test_coco.py",
    "download/remote_file": "download/test_transfer.py",
    "download/weights_table": "download/test_known_weights.py",
    "download/web": "download/test_transfer.py",
    "drawing/figures": "drawing/test_drawing.py",
    "drawing/overlay": "drawing/test_drawing.py",
    "drawing/results": "drawing/test_drawing_results.py",
    "export/graphs": "export/test_writing.py",
    "extras": "test_without_torch.py",
    "fit/checking": "fit/test_intake.py",
    "fit/conversion": "fit/test_intake.py",
    "fit/kept": "fit/test_division.py",
    "fit/run": "fit/test_fit_run.py",
    "fit/wanted": "fit/test_planning.py",
    "fit/label_doubts": "fit/test_label_errors.py",
    "fit/label_reliability": "fit/test_label_errors.py",
    "fit/measured_images": "fit/test_fingerprint.py",
    "fit/ranking": "fit/test_labelling.py",
    "fit/sources": "fit/test_intake.py",
    "fit/stuff_hints": "fit/test_intake.py",
    "formats/coco_images": "formats/test_coco_panoptic.py",
    "formats/coco_instances": "formats/test_read_coco_instances.py",
    "formats/instance_columns": "formats/test_read_coco_instances.py",
    "formats/addresses": "inference/test_find_pictures.py",
    "formats/coco_layout": "data/test_dataset.py",
    "formats/coco_shapes": "convert/test_coco_instances.py",
    "formats/json_files": "test_files.py",
    "formats/json_fields": "formats/test_coco_panoptic.py",
    "formats/png_rows": "formats/test_png.py",
    "formats/result_columns": "formats/test_instance_results.py",
    "formats/xml_files": "convert/test_cvat.py",
    "inference/explained_pictures": "cli/test_cli.py",
    "inference/forward": "inference/test_evaluation.py",
    "prediction/picture_jobs": "inference/test_pictures.py",
    "prediction/journal": "inference/test_pictures.py",
    "instances": "metrics/test_average_precision.py",
    "interchange/exporting": "interchange/test_source.py",
    "interchange/statistics": "interchange/test_data_sets.py",
    "interchange/label_writer": "interchange/test_round_trips.py",
    "metrics/assignment": "metrics/test_thresholds.py",
    "metrics/calibration": "metrics/test_score_calibration.py",
    "metrics/class_means": "metrics/test_pq_dagger.py",
    "metrics/confusion": "metrics/test_details.py",
    "metrics/covering": "metrics/test_pq_dagger.py",
    "metrics/error_budget": "metrics/test_causes.py",
    "metrics/instance_budget": "metrics/test_instance_errors.py",
    "metrics/instance_columns": "metrics/test_precision_recall.py",
    "metrics/instance_conversion": "metrics/test_average_precision.py",
    "metrics/instance_report": "metrics/test_average_precision.py",
    "metrics/map_arrays": "metrics/test_conversion.py",
    "metrics/map_iou": "metrics/test_pq_dagger.py",
    "metrics/map_records": "metrics/test_conversion.py",
    "metrics/overlaps": "metrics/test_panoptic_quality.py",
    "models/backbones/freezing": "models/test_resnet.py",
    "models/backbones/protocol": "models/test_backbone_protocol.py",
    "models/blendmask": "models/test_panoptic_blend.py",
    "models/dataflow": "models/test_folding.py",
    "models/instance_branch": "models/test_raw.py",
    "models/proposals": "models/test_mask_rcnn.py",
    "models/sync_norm": "runtime/test_processes.py",
    "postprocessing/calibration": "postprocessing/test_outputs.py",
    "postprocessing/interpolation": "postprocessing/test_semantic_classes.py",
    "prediction/protocol": "inference/test_pictures.py",
    "prediction/sharing": "inference/test_team.py",
    "publishing/card": "publishing/test_push.py",
    "publishing/figures": "publishing/test_push.py",
    "pages/classes": "report/test_report.py",
    "pages/pictures": "report/test_report.py",
    "pages/template": "report/test_report.py",
    "report/command": "report/test_report.py",
    "report/figures": "report/test_report.py",
    "report/instance_figures": "report/test_instance_report.py",
    "report/instance_sets": "report/test_instance_report.py",
    "report/instance_truth": "report/test_instance_report.py",
    "report/instances": "report/test_instance_report.py",
    "runtime/interruption": "training/test_survival.py",
    "scoring/ap_tables": "scoring/test_ap.py",
    "scoring/csv_tables": "scoring/test_scoring_details.py",
    "runtime/team": "inference/test_team.py",
    "scoring/calibrated": "metrics/test_score_calibration.py",
    "scoring/detail_tables": "scoring/test_scoring_details.py",
    "scoring/details": "scoring/test_scoring_details.py",
    "scoring/instance_details": "scoring/test_ap.py",
    "scoring/instance_files": "scoring/test_ap.py",
    "scoring/instance_findings": "scoring/test_ap.py",
    "scoring/instance_rows": "scoring/test_ap.py",
    "scoring/instance_tables": "inference/test_evaluation.py",
    "scoring/part_arrays": "scoring/test_shards.py",
    "scoring/run": "scoring/test_scoring_details.py",
    "scoring/sections": "scoring/test_further.py",
    "scoring/self_test_table": "scoring/test_self_test.py",
    "structures": "formats/test_coco_panoptic.py",
    "serve/bounded_queue": "serve/test_application.py",
    "serve/downloads": "serve/test_application.py",
    "serve/guard": "serve/test_application.py",
    "serve/incoming": "serve/test_application.py",
    "serve/limits": "serve/test_application.py",
    "serve/page": "serve/test_serve_page.py",
    "serve/replies": "serve/test_application.py",
    "sweep/apply": "sweep/test_sweep_cli.py",
    "sweep/description": "sweep/test_sweep_cli.py",
    "training/curves": "training/test_loop.py",
    "training/log": "training/test_loop.py",
    "training/provenance": "training/test_loop.py",
    "training/run": "training/test_loop.py",
}
"""Modules that a test reaches through another module or a command, and the file with that test."""


def named(module: str) -> list[Path]:
    return list(TESTS.rglob(f"test_{Path(module).name}.py"))


def modules() -> list[str]:
    paths = sorted(path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py")
    return [path.relative_to(LIBRARY).with_suffix("").as_posix() for path in paths]


@pytest.mark.parametrize("module", modules())
def test_a_module_has_a_test(module: str) -> None:
    if module in COVERED_BY:
        assert (TESTS / COVERED_BY[module]).is_file()
        return
    assert named(module), f"{module}: no test_{Path(module).name}.py; write one, or name the file that covers it above"


def test_the_table_names_no_module_twice_and_none_that_is_gone() -> None:
    [table] = [
        node
        for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    ]
    assert isinstance(table.value, ast.Dict)
    keys = [key.value for key in table.value.keys if isinstance(key, ast.Constant)]
    assert len(keys) == len(set(keys))
    assert set(keys) <= set(modules())
