"""Charts drawn by `docs/figures` before each build, set into pages in the colors of the theme."""

import re
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.application import Sphinx

HERE = Path(__file__).parents[1]
TUTORIALS = ("first_graph", "compare_samplers", "pykeen_pipeline", "missing_facts", "own_sampler")


class Chart(Directive):
    """`{chart} name`: the chart of this name, its alternative text, and a caption."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required, "class": directives.class_option}
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The figure."""
        name = self.arguments[0]
        path = HERE / "_generated" / "charts" / f"{name}.svg"
        if not path.exists():
            raise self.error(f"no chart is named {name!r}; docs/figures draws {path.name}")
        if not self.options.get("alt"):
            raise self.error(f"the chart {name!r} needs an alternative text, :alt:")
        self.state.document.settings.record_dependencies.add(str(path))
        svg = labelled(path.read_text(encoding="utf-8"), self.options["alt"])
        classes = " ".join(["chart", *self.options.get("class", [])])
        figure = nodes.container(classes=["chart-box"])
        figure += nodes.raw("", f'<div class="{classes}">{svg}</div>', format="html")
        if self.content:
            caption = nodes.container(classes=["chart-caption"])
            self.state.nested_parse(self.content, self.content_offset, caption)
            figure += caption
        return [figure]


def labelled(svg: str, alt: str) -> str:
    """An SVG element with its text for those who do not see it."""
    words = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    element = svg[svg.index("<svg") :]
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{words}" ', element, count=1)


class TutorialOrder:
    """Tutorials from the first to the last."""

    def __init__(self, folder: str):
        del folder

    def __call__(self, name: str) -> int:
        """The place of a file."""
        return TUTORIALS.index(Path(name).stem)


def draw(app: Sphinx) -> None:
    """Draw all charts whose script or data are newer."""
    import figures

    figures.draw_all(HERE / "_generated" / "charts")


def setup(app: Sphinx) -> dict:
    """Register the directive, and draw before anything is read."""
    import sys

    sys.path.insert(0, str(HERE))
    app.add_directive("chart", Chart)
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
