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
from sparring.printing import html_table, printable

SHOWN = 50  # rows that are printed, at most
PERCENTAGE = r"^([\d.]+ ?%)?$"  # or nothing


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

    def shown(self) -> pl.DataFrame:
        """The rows as tables show them; those of `to_polars` by default."""
        return self.to_polars()

    def caption(self) -> str:
        """What a reader of the table should know; nothing by default."""
        return ""

    def rich(self, rows: int | None = SHOWN) -> Table:
        """The rows as a table for a terminal.

        Args:
            rows: how many, at most; all for None.
        """
        frame = self.shown()
        table = Table(caption=self.caption() or None, caption_justify="left")
        for column in frame:
            table.add_column(column.name, justify="left" if holds_text(column) else "right")
        for row in frame.head(len(frame) if rows is None else rows).iter_rows():
            table.add_row(*(Text(in_cell(value)) for value in row))
        return table

    def __repr__(self) -> str:
        file = io.StringIO()
        width = shutil.get_terminal_size((100, 24)).columns
        Console(file=file, width=width).print(self.rich())
        return file.getvalue() + self._not_shown()

    def _repr_html_(self) -> str:
        frame = self.shown()
        rows = ([in_cell(value) for value in row] for row in frame.head(SHOWN).iter_rows())
        text = [holds_text(column) for column in frame]
        notes = " ".join(filter(None, (self._not_shown(), self.caption())))
        below = f"<p>{html.escape(notes)}</p>" if notes else ""
        return html_table(frame.columns, rows, text) + below

    def _not_shown(self) -> str:
        more = len(self.shown()) - SHOWN
        return f"and {more:,} more rows; see to_polars()" if more > 0 else ""


@dataclass(frozen=True, repr=False, eq=False)
class FrameResult(Result):
    """A result that is a data frame."""

    frame: pl.DataFrame

    def to_polars(self) -> pl.DataFrame:
        return self.frame


def holds_text(column: pl.Series) -> bool:
    """Whether a column is flush left: one of neither numbers nor percentages."""
    if column.dtype == pl.String:
        return not column.str.contains(PERCENTAGE).all()
    return not column.dtype.is_numeric()


def in_cell(value: Any) -> str:
    """A value as a table shows it: four digits of a number, "yes" or nothing for a truth value.

    Control characters are written out.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
