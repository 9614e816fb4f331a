"""Text that is safe to show: control characters of names are written out.

A name may hold an escape sequence that clears a terminal, or a mark that reverses the text after
it. Tables, CSV files and messages show such characters as `\\x1b` or `\\u202e`.
"""

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

# C0 and C1 controls, bidirectional marks, separators of lines and paragraphs, lone surrogates
CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

FORMULA = ("=", "+", "-", "@")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def printable(text: str, keep: str = "") -> str:
    """The text with its control characters written out, such as `\\x1b` for escape.

    Args:
        keep: control characters that stay, such as a line feed.
    """
    return CONTROL.sub(lambda found: found[0] if found[0] in keep else _written_out(found[0]), text)


def cell(text: str) -> str:
    """The text for a cell of a CSV file: printable, and never a formula of a spreadsheet.

    A formula is what begins with =, +, - or @ and is no number. It gets an apostrophe in front.
    """
    shown = printable(text)
    formula = text[:1] in FORMULA and not NUMBER.fullmatch(text)
    return f"'{shown}" if formula else shown


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def to_json(content: Any, *, allow_nan: bool = True) -> str:
    """Indented JSON; control characters are escaped as JSON does, so that nothing is lost.

    Raises:
        ValueError: for a number that is not finite, unless that is allowed.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan)
    code = lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}"
    return CONTROL.sub(code, text)


def to_json_line(content: Any) -> str:
    """JSON on one line, which ends with a line feed; control characters are escaped."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[bool]) -> str:
    """A table for a notebook, which may be scrolled where it is too wide.

    Args:
        columns: headings; none for a table without them.
        text: whether each column holds text, which is flush left, or numbers.
    """
    align = [f' style="text-align: {"left" if left else "right"}"' for left in text]

    def row(cells: Sequence[str], tag: str) -> str:
        shown = (
            f"<{tag}{style}>{html.escape(printable(cell))}</{tag}>"
            for cell, style in zip(cells, align)
        )
        return f"<tr>{''.join(shown)}</tr>"

    head = f"<thead>{row(columns, 'th')}</thead>" if columns else ""
    body = "".join(row(cells, "td") for cells in rows)
    table = f"<table>{head}<tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto">{table}</div>'
