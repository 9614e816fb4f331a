"""Sphinx builds the site from this folder: `make docs`."""

import sys
import warnings
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "sparring"
author = "The sparring developers"
copyright = "The sparring developers, Apache-2.0"  # what Sphinx calls it
release = installed_version("sparring")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx_llms_txt",
    "charts",
    "mathml",
    "parts",
    "settings",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_generated", "tutorials", "gallery/sg_execution_times.rst"]
exclude_patterns += ["sg_execution_times.rst", "gallery/*.py", "gallery/*.ipynb"]

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

default_role = "py:obj"  # single backquotes in docstrings
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autosummary_generate = True
autosummary_ignore_module_all = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "pydata_sphinx_theme"
html_title = "sparring"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = True  # llms-full.txt is made of the sources
html_theme_options = {
    "logo": {"text": "sparring"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "choose": []}
copybutton_exclude = ".linenos, .gp, .go"

llms_txt_summary = (
    "sparring is a PyTorch library for negative sampling in knowledge graph completion: samplers, "
    "losses and models with exact densities, a negative sampling generator, exact filtered "
    "evaluation, an audit of false negatives, and adapters for PyKEEN, PyG, TorchKGE and LibKGE."
)
llms_txt_exclude = ["genindex", "search", "reference/api/*"]

# tutorials train for a few epochs only, and say so
warnings.filterwarnings("ignore", message="the best epoch is the last")

# the tutorial about PyKEEN is shown without output where PyKEEN is not installed
not_run = "" if find_spec("pykeen") else r"(?!.*pykeen)"
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "gallery",
    "filename_pattern": rf"^{not_run}.*\.py$",
    "within_subsection_order": "charts.TutorialOrder",
    "image_scrapers": ("matplotlib",),
    "reset_modules": (),
    "abort_on_example_error": True,
    "min_reported_time": 10**6,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "thumbnail_size": (320, 200),
    "default_thumb_file": str(HERE / "_static" / "thumbnail.png"),
}
suppress_warnings = ["config.cache"]
