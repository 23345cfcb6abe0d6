"""What a release is made of agrees: versions, and workflows that can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import panoptic_blend

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github").rglob("*.yml"))


def test_changelog_and_citation_name_the_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert headings[0] == citation["version"] == panoptic_blend.__version__


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_workflows_and_issue_forms_are_yaml(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for job in content.get("jobs", {}).values():
        assert job["runs-on"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.search(r"@(release/)?v\d+$", step.get("uses", "@v0")), f"{step['uses']}: pin a major version"
    for field in content.get("body", []):
        assert field["attributes"]["label"]
