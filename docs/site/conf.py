"""Sphinx's settings; ``docs/site/build.py`` lays out what it reads."""

from __future__ import annotations

from zmq_monocoque import monocoque_version

project = "zmq_monocoque"
author = "zmq_monocoque developers"
release = version = monocoque_version()
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
html_theme = "furo"
html_title = f"zmq_monocoque {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
# The search finds every name, and the list of modules is in the navigation.
html_use_index = False
html_domain_indices = False
html_show_sphinx = False
# Colours that keep to WCAG's contrast of 4.5 on both backgrounds.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
# A block that names no language is a picture, or what a program prints.
highlight_language = "none"

# Anchors as on GitHub, so that a link serves both.
myst_heading_anchors = 4

# In docstrings a name between single backticks is a name of ours.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "alphabetical"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 72

# `bytes` in a signature might be Frame.bytes: nothing else is meant by a link that leads nowhere.
suppress_warnings = ["ref.python"]
