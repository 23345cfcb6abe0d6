"""The page on which to try a model."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.config.model_options import Fusion
from panoptic_blend.formats.categories import Categories
from panoptic_blend.pages.classes import class_records
from panoptic_blend.pages.template import Template

PAGE = Template(
    Path(__file__).parent / "template",
    page="serve",
    styles=("base", "viewer", "serve"),
    scripts=(
        *("elements", "class_labels", "maps", "frames", "keys_dialog"),
        *("pictures", "camera", "incoming", "controls", "stage", "serve"),
    ),
)


def page(model: str, categories: Categories, settings: Fusion) -> str:
    """The HTML of the page for a model of this name, with its categories and its settings of the fusion."""
    content = {"model": model, "classes": class_records(categories), "settings": settings.model_dump()}
    return PAGE.filled(content)
