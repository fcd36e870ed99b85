"""The documentation site: `make docs`."""

import shutil
from pathlib import Path

import e3hyena

HERE = Path(__file__).parent
ROOT = HERE.parent

# The notebooks live beside docs/; Sphinx reads copies, with the outputs that are stored in them.
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(ROOT / "notebooks", HERE / "notebooks")
for page in ("CHANGELOG.md", "CONTRIBUTING.md"):
    if (ROOT / page).exists():
        shutil.copy(ROOT / page, HERE / page.lower())

project = "e3hyena"
author = "The e3hyena developers"
version = release = e3hyena.__version__
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = [
    "_build",
    "benchmarks",
    "examples",
    "figures",
    "results",
    "notebooks/.ipynb_checkpoints",
]

html_theme = "furo"
html_title = f"e3hyena {version}"
html_show_sourcelink = False

nb_execution_mode = "off"  # the slow tests run them
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository, such as ../LICENSE

autodoc_typehints = "none"  # the docstrings tell types
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
