"""Formulas as MathML, which browsers show without a script or a network."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx


def mathml(node: nodes.Element, block: bool) -> str:
    """A formula, with a thin space after the name of a function."""
    made = tex2mathml(node.astext(), as_block=block)
    return made.replace("<mo>&ApplyFunction;</mo>", '<mspace width="0.17em"></mspace>')


def inline(writer: object, node: nodes.math) -> None:
    """A formula in a line."""
    writer.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def block(writer: object, node: nodes.math_block) -> None:
    """A formula on lines of its own."""
    writer.body.append(f'<div class="math-block">{mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
