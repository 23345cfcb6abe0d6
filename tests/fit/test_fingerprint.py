"""Fingerprints of generated data sets, against their annotation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.instances import CocoInstances
from panoptic_blend.data.protocol import Sample
from panoptic_blend.fit import measured_images
from panoptic_blend.fit.fingerprint import Fingerprint, Spread, is_sided, take_fingerprint
from panoptic_blend.formats.images import write_picture


def test_the_fingerprint_agrees_with_the_annotation(generated: Path, tmp_path: Path) -> None:
    training, validation = CocoPanoptic(generated, "train2017"), CocoPanoptic(generated, "val2017")
    found = take_fingerprint(training, validation)
    truths = [training.truth(i) for i in range(7)]
    segments = [s for truth in truths for s in truth.segments if not s.is_crowd]
    things = [s for s in segments if s.is_thing]
    assert (found.images, found.validation_images, found.measured) == (7, 3, 7)
    assert found.things_per_image.max == max(training.instance_counts())
    assert found.things_per_image.mean == pytest.approx(len(things) / 7)
    assert found.thing_size == Spread.of([s.area**0.5 for s in things])
    assert found.stuff_area == Spread.of([s.area for s in segments if not s.is_thing])
    assert found.thing_pixels is not None and found.stuff_pixels is not None and found.void_pixels is not None
    assert found.thing_pixels + found.stuff_pixels + found.void_pixels == pytest.approx(1)
    total = sum(truth.segment_ids.size for truth in truths)
    assert found.void_pixels == sum((truth.segment_ids == 0).sum() for truth in truths) / total > 0
    for facts in found.classes:
        own = [[s for s in truth.segments if s.category == facts.id and not s.is_crowd] for truth in truths]
        assert facts.images == sum(map(bool, own))
        assert facts.segments == sum(map(len, own))
    assert sum(facts.pixels or 0 for facts in found.classes) == pytest.approx(1)
    found.write(tmp_path / "fingerprint.json")
    assert Fingerprint.read(tmp_path / "fingerprint.json") == found


def test_instances_alone_have_no_stuff_and_no_void(tmp_path: Path) -> None:
    write_instances(tmp_path, "train2017", 2)
    write_instances(tmp_path, "val2017", 1)
    found = take_fingerprint(CocoInstances(tmp_path, "train2017"), CocoInstances(tmp_path, "val2017"))
    assert (found.thing_pixels, found.stuff_pixels, found.void_pixels, found.stuff_area) == (None,) * 4
    assert found.thing_size == Spread.of([10] * 6)
    assert (found.touching, found.overlapping, found.thin) == (2 / 3, 2 / 3, 0)
    cup, plate = found.classes
    assert (cup.images, cup.segments, cup.validation_images, cup.pixels) == (2, 6, 1, None)
    assert (plate.images, plate.segments, plate.size) == (0, 0, None)
    assert found.near_duplicates.within_pairs == (("1.png", "0.png"),)
    assert found.near_duplicates.across_pairs == (("0.png", "0.png"),)
    assert found.gray == 1


def write_instances(root: Path, split: str, number: int) -> None:
    """Equal gray pictures with three squares of 10 pixels, of which two overlap, a crowd, and a class without any."""
    images = [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 60} for i in range(number)]
    corners = [(5, 5, 0), (10, 10, 0), (40, 20, 0), (0, 0, 1)]
    annotations: list[dict[str, object]] = []
    for image in images:
        write_picture(
            root / split / str(image["file_name"]), np.arange(40 * 60, dtype=np.uint8).reshape(40, 60, 1)[:, :, [0] * 3]
        )
        for x, y, crowd in corners:
            square = [x, y, x + 10, y, x + 10, y + 10, x, y + 10]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image["id"], "category_id": 1, "iscrowd": crowd}
            )
            annotations[-1] |= {"segmentation": [square], "bbox": [x, y, 10, 10], "area": 100}
    categories = [{"id": 1, "name": "cup"}, {"id": 2, "name": "plate"}]
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def test_a_data_set_of_ones_own_is_measured_without_its_files(generated: Path) -> None:
    class Own:
        """A `PanopticDataset` that knows nothing without reading an image."""

        def __init__(self, whole: CocoPanoptic) -> None:
            self.name, self.annotation, self.version = whole.name, whole.annotation, whole.version
            self.categories, self.images = whole.categories, whole.images
            self._whole = whole

        def __len__(self) -> int:
            return len(self._whole)

        def __getitem__(self, index: int) -> Sample:
            return self._whole[index]

    splits = CocoPanoptic(generated, "train2017"), CocoPanoptic(generated, "val2017")
    assert take_fingerprint(*map(Own, splits)) == take_fingerprint(*splits)


def test_more_images_with_rare_classes_are_measured(monkeypatch: pytest.MonkeyPatch, generated: Path) -> None:
    monkeypatch.setattr(measured_images, "MOST_MEASURED", 1)
    monkeypatch.setattr(measured_images, "LEAST_OF_A_CLASS", 2)
    dataset = CocoPanoptic(generated, "train2017")
    measured = measured_images.measure_images(dataset)
    counts = measured_images.count_classes(dataset)
    found = [sum(image.pixels[category.id] > 0 for image in measured) for category in dataset.categories]
    assert all(number >= min(2, there) for number, there in zip(found, (counts > 0).sum(axis=0).tolist(), strict=True))
    assert len(measured) < 7


def test_a_broken_fingerprint_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "f.json").write_text(json.dumps({"images": "many"}))
    assert "images" in refused(Fingerprint.read, tmp_path / "f.json")


@pytest.mark.parametrize(
    ("name", "sided"),
    [
        ("left hand", True),
        ("hand_right", True),
        ("digit 3", True),
        ("B", True),
        ("text", True),
        ("car", False),
        ("bright light", False),
        ("leftover", False),
    ],
)
def test_names_that_forbid_flips(name: str, sided: bool) -> None:
    assert is_sided(name) == sided
