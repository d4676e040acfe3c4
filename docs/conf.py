"""Settings of the documentation site: `make docs`."""

import os
import sys
import warnings
from pathlib import Path

import matplotlib

import rfad_sklearn

matplotlib.use("agg")
sys.path.insert(0, str(Path(__file__).parent))
# Examples are read by people: what a library deprecates is not their business.
warnings.filterwarnings("ignore", category=DeprecationWarning)
os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")

project = "rfad_sklearn"
copyright = "The rfad_sklearn developers"
author = project
release = version = rfad_sklearn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = [
    "_build",
    "auto_examples/*.ipynb",
    "auto_examples/*.py",
    "auto_examples/*.json",
    "sg_execution_times.rst",
]
suppress_warnings = ["config.cache"]
default_role = "code"

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    "ignore_pattern": "demo",
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "abort_on_example_error": True,
    "capture_repr": (),
}

html_theme = "furo"
html_title = f"rfad_sklearn {version}"
templates_path = ["_templates"]
html_static_path = []
html_show_sourcelink = False
