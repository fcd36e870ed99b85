"""The documentation site: `make docs`."""

import os
import shutil
from pathlib import Path

import e3hyena
from e3hyena.cli import COMMANDS
from e3hyena.cli.command import build_parser

HERE = Path(__file__).parent
ROOT = HERE.parent

# The notebooks live beside docs/; Sphinx reads copies, with the outputs that are stored in them.
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(ROOT / "notebooks", HERE / "notebooks")
for page in ("CHANGELOG.md", "CONTRIBUTING.md"):
    if (ROOT / page).exists():
        shutil.copy(ROOT / page, HERE / page.lower())

# The reference of the command line is what every command says of itself.
os.environ["COLUMNS"] = "92"
everything, commands = build_parser(["--print_completion"], COMMANDS, "e3hyena", "")
lines = ["# Command line", "", "What `e3hyena COMMAND --help` prints.", ""]
for path, (command, parser) in commands.items():
    parser.prog = " ".join(["e3hyena", *path])
    lines += [f"## {parser.prog}", "", command.help, "", "```text", parser.format_help(), "```", ""]
(HERE / "command-line.md").write_text("\n".join(lines), encoding="utf-8")

project = "e3hyena"
author = "The e3hyena developers"
copyright = "2026, the e3hyena developers, MIT licence"
version = release = e3hyena.__version__
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
extensions += ["sphinx.ext.mathjax", "sphinx-mathjax-offline"]  # no other server is asked
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
