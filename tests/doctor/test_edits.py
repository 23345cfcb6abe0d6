"""Things, stuff and crowds that --fix sets on request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_set import CROWD, content_of, edit, found, json_of, write_small_set

from panoptic_blend.doctor.checkup import check
from panoptic_blend.doctor.description import lines
from panoptic_blend.doctor.edits import Edits

Refused = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_small_set(tmp_path / "set")
    return tmp_path / "set"


def fixed(root: Path, edits: Edits) -> Any:
    """Repair with edits, put the result in the place of the JSON, and return it."""
    out = root.parent / "fixed.json"
    check(root, fix=out, workers=1, edits=edits)
    out.replace(json_of(root))
    return content_of(root)


def things(content: Any) -> list[str]:
    return [category["name"] for category in content["categories"] if category["isthing"] == 1]


@pytest.mark.parametrize("edits", [Edits(things=["cat", "dog"]), Edits(stuff=["grass", "sky"])])
def test_an_export_without_things_gets_them(root: Path, edits: Edits) -> None:
    edit(lambda content: [category.update(isthing=0) for category in content["categories"]])(root)
    assert "--things NAMES" in check(root, workers=1).splits[0].problems[0].kind.remedy
    assert things(fixed(root, edits)) == ["cat", "dog"]
    assert found(root) == {}


def test_names_are_compared_with_the_categories(root: Path, refused: Refused) -> None:
    for edits, message in (
        (Edits(things=["cats"]), "--things: no category is called cats; did you mean cat?"),
        (Edits(things=["cat"], stuff=["sky", "grass"]), "dog is in neither of --things and --stuff"),
        (Edits(things=["cat", "dog", "sky"], stuff=["sky", "grass"]), "sky is in both of --things and --stuff"),
    ):
        assert message in refused(lambda edits=edits: fixed(root, edits))
    assert "add --fix OUT.json" in refused(lambda: check(root, edits=Edits(things=["cat"])))


def test_crowds_of_things_become_instances(root: Path) -> None:
    def only_crowds(content: Any) -> None:
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment["iscrowd"] = int(segment["category_id"] in (3, 4))

    edit(only_crowds)(root)
    assert not any(line.startswith("to repair: ") for line in lines(check(root, workers=1)))  # it would change nothing
    assert found(root) == {"no-instances": ("category 3 ('cat'): 2 crowds", "category 4 ('dog'): 4 crowds")}
    content = fixed(root, Edits(crowds_as_instances=True))
    flags = [segment["iscrowd"] for a in content["annotations"] for segment in a["segments_info"]]
    assert flags == [0] * 10 and json.dumps(CROWD) in json.dumps(content)
    assert found(root) == {}
