"""`Vocabulary` maps names to ids and back, with a readable label for each name."""

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from typing import overload

import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.hashes import HASH_VERSION, digest_of_strings

FEW = 8  # names that are found faster one by one than with a join


class UnknownNameError(KeyError):
    """A name that is not in the vocabulary; the message suggests similar names."""

    def __str__(self) -> str:
        return str(self.args[0])


class Vocabulary(Sequence[str]):
    """Distinct names; the id of a name is its position. Names are kept as they are.

    Args:
        names: distinct names; "nan", "NULL" and "1" are names like any other.
        labels: readable label of each name, in the same order; the names themselves if None.
        kind: what a name stands for, in messages: "entity" or "relation".

    Raises:
        ValueError: if a name occurs twice.
    """

    def __init__(
        self,
        names: pl.Series | Sequence[str],
        labels: pl.Series | Sequence[str] | None = None,
        kind: str = "entity",
    ):
        self.names = _strings(names)
        self.labels = self.names if labels is None else _strings(labels)
        self.kind = kind
        if len(self.labels) != len(self.names):
            raise ValueError(f"{len(self.labels)} labels for {len(self.names)} names")
        self._table = pl.DataFrame({"name": self.names}).with_row_index("id")
        if self.names.n_unique() != len(self.names):
            twice = self.names.filter(self.names.is_duplicated())[0]
            raise ValueError(f"{kind} {twice!r} occurs more than once in the vocabulary")

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        picked = self.names[index]
        return tuple(picked) if isinstance(picked, pl.Series) else picked

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def label(self, index: int) -> str:
        """The readable label of an id; its name, where the label is empty."""
        return self.labels[index] or self.names[index]

    def find(self, names: pl.Series | Sequence[str]) -> pl.Series:
        """Ids of names, in order; null where a name is unknown."""
        wanted = pl.DataFrame({"name": _strings(names)})
        if len(wanted) <= FEW:
            return pl.Series("id", map(self.names.index_of, wanted["name"]), pl.Int64)
        found = wanted.join(self._table, on="name", how="left", maintain_order="left")
        return found["id"].cast(pl.Int64)

    def ids(self, names: Sequence[str]) -> Int[Tensor, "M"]:
        """Ids of names or, where a name is unknown, of a label that only one name has.

        Raises:
            UnknownNameError: for the first one that is neither, with similar names.
        """
        wanted = _strings(names)
        found = self.find(wanted)
        missing = found.is_null().arg_true().to_list()
        if not missing:
            return torch.from_numpy(found.to_numpy().copy())
        ids = found.to_list()
        for row in missing:
            ids[row] = self._by_label(wanted[row])
        return torch.tensor(ids, dtype=torch.long)

    def id(self, name: str) -> int:
        """Id of one name; see `ids`."""
        return int(self.ids([name])[0])

    def _by_label(self, label: str) -> int:
        rows = (self.labels == label).arg_true()
        if len(rows) == 1:
            return int(rows[0])
        if len(rows) > 1:
            raise UnknownNameError(
                f"{len(rows)} {self.kind} names have the label {label!r}: "
                f"{', '.join(self.names[rows[:5]])}; use the name instead of the label"
            )
        near = self.nearest(label)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UnknownNameError(f"unknown {self.kind} {label!r}{hint}")

    def nearest(self, name: str, count: int = 3) -> list[str]:
        """Names and labels similar to `name`, best first."""
        low = name.lower()
        inside = [
            text
            for column in (self.names, self.labels)
            for text in column.filter(column.str.to_lowercase().str.contains(low, literal=True))[
                :count
            ]
        ]
        known = pl.concat([self.names[:50_000], self.labels[:50_000]]).unique(maintain_order=True)
        close = difflib.get_close_matches(name, known.to_list(), n=count)
        return list(dict.fromkeys([*close, *inside]))[:count]

    def digest(self, version: int = HASH_VERSION) -> bytes:
        """BLAKE2 digest of names and labels in order; see `sparring.data.hashes`."""
        if version == 1:
            return hashlib.blake2b("\0".join(self.names).encode(), digest_size=16).digest()
        return digest_of_strings(self.names) + digest_of_strings(self.labels)


def _strings(names: pl.Series | Sequence[str]) -> pl.Series:
    series = names if isinstance(names, pl.Series) else pl.Series("name", list(names), pl.String)
    return series.cast(pl.String).rename("name")
