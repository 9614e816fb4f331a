"""What the commands print: results on standard output, progress and mistakes on standard error."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

out = Console()
err = Console(stderr=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """Print rows of text; all but the first `left` columns are numbers, flush right."""
    printed = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for place, column in enumerate(columns):
        printed.add_column(column, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        printed.add_row(*(Text(cell) for cell in row))
    out.print(printed)


def line(text: str, to: Console = out, end: str = "\n") -> None:
    """Print text that may be copied: neither wrapped nor coloured."""
    to.print(text, soft_wrap=True, markup=False, highlight=False, end=end)


def as_json(content: Any) -> None:
    """Print JSON, for other programs."""
    line(json.dumps(content, indent=2, ensure_ascii=False))
