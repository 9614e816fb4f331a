"""Start a model from what another one has learned, by name of entity and relation."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.models.base import KGEModel
from sparring.registry import ConfigError


@torch.no_grad()
def start_from(
    model: KGEModel,
    graph: KnowledgeGraph,
    old_state: Mapping[str, Tensor],
    old_graph: KnowledgeGraph,
) -> None:
    """Copy the parameters of a trained model into a new one.

    A table with a row per entity or relation receives the rows of those that both graphs have; its
    other rows stay as they are. Any other parameter of the same name and shape is copied whole.

    Args:
        model: a new model, of the same kind and width.
        graph: its graph.
        old_state: the state of the trained model.
        old_graph: the graph that it was trained on.

    Raises:
        ConfigError: if nothing fits.
    """
    entities = SharedRows.of(graph.entities, old_graph.entities)
    relations = SharedRows.of(graph.relations, old_graph.relations)
    by_row = (entities, relations, relations.with_inverses())
    copied = 0
    for name, values in model.named_parameters():
        old = old_state.get(name)
        if old is None or not values.dim() or old.shape[1:] != values.shape[1:]:
            continue
        fitting = [rows for rows in by_row if rows.sizes == (len(values), len(old))]
        if len(fitting) > 1:  # as many entities as relations: the name decides
            fitting = [rows for rows in fitting if (rows is entities) != ("relation" in name)]
        if fitting:
            values[fitting[0].new.to(values.device)] = old[fitting[0].old].to(values)
            copied += 1
        elif old.shape == values.shape:
            values.copy_(old)
            copied += 1
    if not copied:
        raise ConfigError(
            f"[start] the run has no parameter that fits {type(model).__name__}; start from a run "
            "of the same model and dim"
        )


@dataclass(frozen=True, eq=False)
class SharedRows:
    """Rows of a new table and of an old one that belong to the same names.

    Attributes:
        sizes: number of rows of the new and of the old table.
        new, old: the rows.
    """

    sizes: tuple[int, int]
    new: Int[Tensor, "M"]
    old: Int[Tensor, "M"]

    @classmethod
    def of(cls, new: Vocabulary, old: Vocabulary) -> "SharedRows":
        """The names that both vocabularies have."""
        found = old.find(new.names)
        rows = (found.is_not_null().arg_true(), found.drop_nulls())
        return cls(
            (len(new), len(old)), *(torch.tensor(ids.to_list(), dtype=torch.long) for ids in rows)
        )

    def with_inverses(self) -> "SharedRows":
        """The same for tables that have a second half of rows, for inverse relations."""
        new, old = self.sizes
        return SharedRows(
            (2 * new, 2 * old),
            torch.cat([self.new, self.new + new]),
            torch.cat([self.old, self.old + old]),
        )
