"""Random splits in which every entity and relation that is held out also occurs in train."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.diagnostics import GraphError


@dataclass(frozen=True)
class SplitRule:
    """Fractions of all distinct triples to hold out at random for validation and for testing.

    Every entity and relation of valid and test also occurs in train.

    Args:
        valid: fraction of the triples for validation, at least 0.
        test: fraction of the triples for testing, at least 0.
        seed: seed of the random order.

    Raises:
        GraphError: if a fraction is negative, or their sum is 1 or more.
    """

    valid: float = 0.05
    test: float = 0.05
    seed: int = 0

    def __post_init__(self):
        if self.valid < 0 or self.test < 0 or self.valid + self.test >= 1:
            raise GraphError(
                f"valid={self.valid} and test={self.test} are not fractions to hold out; give two "
                "numbers of at least 0 with a sum below 1"
            )

    def rows(
        self, triples: Int[Tensor, "T 3"], num_entities: int, num_relations: int
    ) -> tuple[Int[Tensor, "M"], Int[Tensor, "V"], Int[Tensor, "S"]]:
        """Rows of distinct triples that go to train, valid and test, each in ascending order.

        In a random order, the first triple of each entity and relation stays in train.

        Raises:
            GraphError: if too few triples can be held out.
        """
        num_valid, num_test = (round(part * len(triples)) for part in (self.valid, self.test))
        turn = torch.randperm(len(triples), generator=torch.Generator().manual_seed(self.seed))
        head, relation, tail = triples.unbind(1)
        movable = torch.ones(len(triples), dtype=torch.bool)
        movable[_first_turn(torch.cat([head, tail]), turn.repeat(2), num_entities)] = False
        movable[_first_turn(relation, turn, num_relations)] = False
        free = movable.nonzero().squeeze(1)
        if len(free) < num_valid + num_test:
            raise GraphError(
                f"cannot hold out {num_valid} + {num_test} of {len(triples)} triples: only "
                f"{len(free)} can be held out without leaving an entity or relation unseen in "
                f"train; choose valid and test fractions with a sum of at most "
                f"{len(free) / max(len(triples), 1):.3f}"
            )
        part = torch.zeros(len(triples), dtype=torch.int8)
        part[free[:num_valid]] = 1
        part[free[num_valid : num_valid + num_test]] = 2
        part = part[turn]
        train, valid, test = ((part == which).nonzero().squeeze(1) for which in range(3))
        return train, valid, test


def _first_turn(ids: Int[Tensor, "M"], turn: Int[Tensor, "M"], size: int) -> Int[Tensor, "U"]:
    """The first turn of each id that occurs."""
    first = torch.full((size,), len(turn)).scatter_reduce(0, ids, turn, "amin")
    return first[first < len(turn)]
