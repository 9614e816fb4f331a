"""`ReadOptions`: how the rows of a file, or of a query, become triples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ReadOptions:
    """How to read triples. Files of labels, types and names are not affected.

    Attributes:
        columns: the columns of head, relation and tail, in this order: three names, or three
            positions counted from 1. None for the known names of a header, such as
            source, type, target, else the first three columns.
        separator: the character between fields of text; None for a tab in .tsv and .txt and a comma
            in .csv.
        quoting: whether fields of text may be in double quotes, as in RFC 4180; "auto" for .csv
            only.
        header: whether the first line of text holds the names of the columns; "auto" to find out,
            with an error when that is unsure.
        extra_columns: "refuse" rows with further columns, or "ignore" these columns.
        on_defect: what to do with a row that cannot be read: raise an "error", or "drop" and count
            it, and write it to `dropped_file`.
        dropped_file: file that receives the dropped rows; by default `<source>.dropped.tsv` in the
            working directory.
        query: a SELECT statement whose result holds the triples, if the source is a database.
        type_facts: whether statements of rdf:type are facts; if not, they give entity types only.

    Raises:
        ValueError: for values that make no sense.
    """

    columns: list[str | int] | None = None
    separator: str | None = None
    quoting: Literal["auto"] | bool = "auto"
    header: Literal["auto"] | bool = "auto"
    extra_columns: Literal["refuse", "ignore"] = "refuse"
    on_defect: Literal["error", "drop"] = "error"
    dropped_file: str | None = None
    query: str | None = None
    type_facts: bool = True

    def __post_init__(self) -> None:
        if self.columns is not None:
            self._check_columns(self.columns)
        if self.separator is not None and not (
            len(self.separator) == 1 and self.separator.isascii() and self.separator not in '\r\n"'
        ):
            raise ValueError(f'separator is one character, such as ";"; got {self.separator!r}')

    def _check_columns(self, columns: list[str | int]) -> None:
        names = all(isinstance(column, str) for column in columns)
        positions = all(type(column) is int and column > 0 for column in columns)
        if len(columns) != 3 or len(set(columns)) != 3 or not (names or positions):
            raise ValueError(
                "columns are three names, or three positions counted from 1, of head, relation and "
                f'tail, such as ["subject", "predicate", "object"] or [1, 3, 2]; got {columns!r}'
            )
        if names and self.header is False:
            raise ValueError("columns by name need a header; give positions, such as [1, 3, 2]")

    def dropped_path(self, source: Path) -> Path:
        """The file that receives the dropped rows of a source."""
        return Path(self.dropped_file or f"{source.absolute().name}.dropped.tsv")
