"""Results that are tables: as a data frame, in a terminal, and in a notebook."""

import html
import io
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparring.extras import optional

SHOWN = 50  # rows that are printed, at most


class Result(ABC):
    """A result with one row per item. It prints as a table; names are shown as they are."""

    @abstractmethod
    def to_polars(self) -> pl.DataFrame:
        """The rows as a Polars data frame."""

    def to_pandas(self) -> Any:
        """The rows as a pandas data frame.

        Raises:
            MissingExtraError: if pandas is not installed.
        """
        pandas = optional("pandas", extra="pandas", purpose="a pandas data frame")
        return pandas.DataFrame(self.to_polars().to_dict(as_series=False))

    def rich(self) -> Table:
        """The rows as a table for a terminal."""
        frame = self.to_polars()
        table = Table(*frame.columns)
        for row in frame.head(SHOWN).iter_rows():
            table.add_row(*(Text(in_cell(value)) for value in row))
        return table

    def __repr__(self) -> str:
        file = io.StringIO()
        width = shutil.get_terminal_size((100, 24)).columns
        Console(file=file, width=width).print(self.rich())
        return file.getvalue() + self._left_out()

    def _repr_html_(self) -> str:
        frame = self.to_polars()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in frame.columns)
        rows = (
            "".join(f"<td>{html.escape(in_cell(value))}</td>" for value in row)
            for row in frame.head(SHOWN).iter_rows()
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return table + html.escape(self._left_out())

    def _left_out(self) -> str:
        more = len(self.to_polars()) - SHOWN
        return f"and {more:,} more rows; see to_polars()" if more > 0 else ""


@dataclass(frozen=True, repr=False, eq=False)
class FrameResult(Result):
    """A result that is a data frame."""

    frame: pl.DataFrame

    def to_polars(self) -> pl.DataFrame:
        return self.frame


def in_cell(value: Any) -> str:
    """A value as a table shows it: four digits of a number, "yes" or nothing for a truth value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
