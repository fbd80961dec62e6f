"""The site: `make site` builds it from the notebooks with their outputs, the pages, and the docstrings of common/."""

import json
import shutil
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tools.notebooks import repository, site  # noqa: E402, I001
about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project, author, version = "Small CNNs under a budget", about["authors"][0]["name"], about["version"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "docs/*.md", "S*/README.md", "S*/*.ipynb"]

html_theme, html_title = "sphinx_book_theme", project
html_static_path, html_css_files = ["node_modules/mathjax/es5", "site.css"], ["site.css"]
html_extra_path = ["../runs/extra"]  # demo/, which `python -m tools demo` makes
mathjax_path = "tex-chtml.js"  # from here, not from a foreign host
html_theme_options = {
    "repository_url": about["urls"]["repository"], "repository_branch": "main", "use_repository_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"}, "show_toc_level": 2, "navbar_persistent": [],
}
html_context = {"default_mode": "auto"}

nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # its default, commonmark, has no tables
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 3
default_role = "code"  # what stands in `backticks` in docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "description"

MODULES = """
    layers models.s7 models.s8 models.s9 data augmentation recipes optim training experiment anatomy
    receptive_field results targets claims exercises your_turn pretrained tables plots grad_cam timing precision
""".split()  # of common, in this order on docs/api

CONTENTS = f"""
```{{toctree}}
:hidden:
Draw a digit <https://{site(repository())}/demo/>
```
```{{toctree}}
:hidden:
:caption: Session 7, MNIST
:glob:
S7_mnist/README
S7_mnist/*
```
```{{toctree}}
:hidden:
:caption: Session 8, three norms
:glob:
S8_norms/README
S8_norms/*
```
```{{toctree}}
:hidden:
:caption: Session 9, without max-pooling
:glob:
S9_advanced_conv/README
S9_advanced_conv/*
```
```{{toctree}}
:hidden:
:caption: More
docs/running
docs/reliability
CONTRIBUTING
docs/api
```
"""


def prepare(app, name, source) -> None:
    """Give the front page the site's table of contents, which GitHub would show as code, and docs/api its modules; fold
    the set-up cells.
    """
    if name == root_doc:
        source[0] += CONTENTS
    elif name == "docs/api":
        titles = (f"``common.{module}``" for module in MODULES)
        source[0] += "\n```{eval-rst}\n" + "\n".join(
            f"{title}\n{'-' * len(title)}\n\n.. automodule:: {title.strip('`')}\n   :members:\n" for title in titles)
        source[0] += "```\n"
    elif "nbformat" in source[0]:
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            if "setup" in cell["metadata"].get("tags", []):
                cell["metadata"]["tags"].append("hide-input")
        source[0] = json.dumps(notebook)


def make_index(app, error) -> None:
    """Let the site open at its front page."""
    if not error:
        shutil.copy(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app) -> None:
    app.connect("source-read", prepare)
    app.connect("build-finished", make_index)
