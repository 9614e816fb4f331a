"""Options of experiments and of the command line, as tables and sections of a page."""

import dataclasses
import re

import typer
from docutils import nodes
from parts import arguments, cell, options_table
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.cli import get_docs_for_click

from sparring.experiments.cli import app as command_line
from sparring.experiments.config import PARTS, PLAIN, General
from sparring.option_types import in_words
from sparring.registry import Registry


def section_table(kind: type) -> str:
    """The entries of a table of an experiment that is no part, such as `[train]`."""
    meaning = arguments(kind, "Attributes")
    rows = ["| entry | type | default | |", "|---|---|---|---|"]
    for field in dataclasses.fields(kind):
        if not field.name.startswith("_"):
            default = "" if field.default is dataclasses.MISSING else f"`{toml(field.default)}`"
            words = cell(meaning.get(field.name, ""))
            kind_of = cell(f"`{in_words(field.type)}`")
            rows.append(f"| `{field.name}` | {kind_of} | {default} | {words} |")
    return "\n".join(rows)


def toml(value: object) -> str:
    """A default as it is written in a file."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


class Settings(SphinxDirective):
    """`{settings} corruption`: the options of a table of an experiment; `general` for the top."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Tables."""
        name = self.arguments[0]
        plain = {"general": General, **PLAIN}
        if name in plain:
            return parsed(self, section_table(plain[name]))
        registry, _ = PARTS[name]
        return parsed(self, "\n\n".join(part_settings(registry, one) for one in sorted(registry)))


def part_settings(registry: Registry, name: str) -> str:
    """What a small part is, and its options."""
    maker = registry[name]
    summary = (maker.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
    return f"**`{name}`**: {re.sub(' +', ' ', summary)}\n\n{options_table(maker)}"


class CommandLine(SphinxDirective):
    """`{command-line}`: every command with its arguments and options."""

    def run(self) -> list[nodes.Node]:
        """Sections."""
        click = typer.main.get_command(command_line)
        text = get_docs_for_click(obj=click, ctx=typer.Context(click), name="sparring")
        text = text.partition("\n")[2]  # the page has a title
        text = re.sub(r"^\*\*(Usage|Arguments|Options|Commands)\*\*:$", r"**\1**", text, flags=re.M)
        return parsed(self, text)


def parsed(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    """Markdown as nodes, with its headings as sections."""
    return directive.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict:
    """Register the directives."""
    app.add_directive("settings", Settings)
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
