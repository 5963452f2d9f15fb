"""Sphinx configuration; the command and the interface reference are written from the code."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent

project = "sigbit"
author = "The sigbit authors"
copyright = "The sigbit authors, Apache-2.0"
version = release = version_of("sigbit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "results/templates/**"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = True

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"sigbit {release}"
html_show_copyright = False
pygments_style = "friendly"


def setup(app):
    """Write the reference pages before Sphinx looks for sources."""
    sys.path.insert(0, str(HERE))
    import reference_pages

    app.connect("config-inited", lambda *_: reference_pages.write(HERE / "reference"))
