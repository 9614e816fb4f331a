"""A geometry of models that score all entities at once, whoever asks."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import by_query, grouped


@dataclass(frozen=True, eq=False)
class TableScorer:
    """Scores of all entities, made already; candidates are looked up."""

    table: Float[Tensor, "B N"]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        rows = grouped(self.table, len(ids))
        wanted = by_query(ids, len(self.table))
        return rows.gather(2, wanted).flatten(0, 1)

    def __getitem__(self, rows: slice) -> "TableScorer":
        """The scorer of the chosen queries."""
        return TableScorer(self.table[rows])
