"""How Sphinx builds the documentation: ``python -m nox -s docs``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ahtransport
import ahtransport.abc
from ahtransport._config import reference_markdown, section_markdown

HERE = Path(__file__).parent

project = "ahtransport"
author = "The ahtransport authors"
copyright = "the ahtransport authors"
release = version = ahtransport.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"
html_title = f"ahtransport {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# msgspec works out the signatures of its structs when asked, and then needs what is imported for type checkers only.
vars(ahtransport.abc)["Sequence"] = Sequence

# The reference of the configuration is written by the code that reads it, so the two can't differ.
_generated = HERE / "_generated"
_generated.mkdir(exist_ok=True)
(_generated / "configuration.md").write_text(reference_markdown(), encoding="utf-8")
(_generated / "client-options.md").write_text(section_markdown("servers.websocket.client"), encoding="utf-8")
