"""Sphinx: the guides as they lie in the repository, and an API reference made from the docstrings.

The source folder is the root of the repository, so that the links between README, guides and code are right both here
and where a repository is read on the web. Nothing is fetched while this builds: there are no inventories of others.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment

import panoptic_blend

project = "panoptic_blend"
author = copyright = "the authors of panoptic_blend"
version = release = panoptic_blend.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "evaluation/README.md"]
exclude_patterns = [".*", "build", "datasets", "runs", "tests", "panoptic_blend", "docs/_templates"]
templates_path = [str(Path(__file__).parent / "_templates")]

nitpicky = True
default_role = "py:obj"
nitpick_ignore_regex = [  # types in signatures: mypy checks them, and many are other packages'
    ("py:class", ".*"),
    ("py:obj", r"typing\..*|.*\.(T|Values)"),
]

myst_heading_anchors = 3

autosummary_context = {"exports": panoptic_blend._MODULE_OF}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {
    "members": True,
    "special-members": "__call__, __getitem__, __len__",
    "exclude-members": "model_config",
    "show-inheritance": True,
}
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"panoptic_blend {version}"
html_copy_source = False
html_extra_path = ["_root"]  # the first page of the folder leads to docs/index.html
html_theme_options = {"navigation_with_keys": True}


def nearest(name: str, module: str, known: list[str]) -> str | None:
    """The full name, of those that end in ``name``, that is closest to ``module``; None where two are as close."""
    here = module.split(".")

    def closeness(full: str) -> tuple[int, int]:
        parts = full.split(".")
        return sum(a == b for a, b in zip(parts, here, strict=False)), -len(parts)

    found = sorted((full for full in known if full.endswith(f".{name}")), key=closeness, reverse=True)
    if not found or (len(found) > 1 and closeness(found[0]) == closeness(found[1])):
        return None
    return found[0]


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> nodes.Node | None:
    """Link a name to its definition in another module, which docstrings need not spell out."""
    domain = env.domains["py"]
    if node.get("refdomain") != "py" or not isinstance(domain, PythonDomain):
        return None
    full = nearest(node["reftarget"], node.get("py:module") or "panoptic_blend", list(domain.objects))
    if full is None:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, content)


def keep_sentences(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Begin docstrings of attributes by an empty comment: Napoleon takes their first line, to a colon, for a type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def drop_bare_bases(_app: Sphinx, page: nodes.document) -> None:
    """Do not say of a class that it inherits from ``object``."""
    for paragraph in list(page.findall(nodes.paragraph)):
        if paragraph.astext() == "Bases: object":
            paragraph.parent.remove(paragraph)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", keep_sentences, priority=400)
    app.connect("doctree-read", drop_bare_bases)
    app.connect("missing-reference", resolve)
