"""Links between the README, the guides and the code lead somewhere."""

from __future__ import annotations

import pytest
from documented import PAGES, ROOT, anchors, links


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_and_anchors_exist(page: str) -> None:
    for link in links(page):
        if link.text.startswith(("http:", "https:")):
            continue
        file, _, anchor = link.text.partition("#")
        target = ((ROOT / page).parent / file if file else ROOT / page).resolve()
        assert target.exists(), f"{page}:{link.line}: {link.text} leads to no file"
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), f"{page}:{link.line}: no heading #{anchor}"


def test_every_guide_is_linked_from_the_readme_or_the_index() -> None:
    linked = {link.text.partition("#")[0] for link in links("README.md")}
    assert set(PAGES) - linked <= {"README.md", "docs/index.md"}
