"""The documentation's builder: pages are Markdown; references are made from the code before each build."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import generate  # noqa: E402
from docutils import nodes  # noqa: E402
from docutils.utils.math import latex2mathml  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from sphinx.writers.html5 import HTML5Translator  # noqa: E402

import dime  # noqa: E402

project = "DIME"
author = "The DIME authors"
version = release = dime.__version__
extensions = ["myst_parser"]
html_math_renderer = "mathml"  # by the browser itself, without a script from elsewhere
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"DIME {release}"
html_show_copyright = False
nitpicky = True


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(latex2mathml.tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f"<div class='math'>{latex2mathml.tex2mathml(node.astext(), as_block=True)}</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Makes the generated pages, and renders formulas as MathML."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    generate.write(HERE / "generated")
