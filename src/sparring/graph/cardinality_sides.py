"""How often to ask for the head of each relation, given how many answers each side has."""

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.graph.cardinality import CARDINALITIES, cardinality, heads_per_tail, tails_per_head
from sparring.graph.knowledge_graph import TrainGraph


def one_side_rate(graph: TrainGraph, floor: float) -> Float[Tensor, "R"]:
    """The side with one answer, but for the share `floor`: heads of 1-N, tails of N-1.

    Both sides equally where both have one answer or both have many.

    Raises:
        ValueError: if the floor is not between 0 and 0.5.
    """
    rate_of = {"1-1": 0.5, "1-N": 1 - checked_floor(floor), "N-1": floor, "N-N": 0.5}
    rates = torch.tensor([rate_of[name] for name in CARDINALITIES], device=graph.triples.device)
    return rates[cardinality(graph)]


def sharpened_rate(graph: TrainGraph, power: float, floor: float) -> Float[Tensor, "R"]:
    """tph ** power / (tph ** power + hpt ** power), kept between `floor` and 1 - `floor`.

    tph is tails per head, hpt heads per tail. Relations without a training triple get 0.5.

    Raises:
        ValueError: if the power is negative or the floor not between 0 and 0.5.
    """
    if power < 0:
        raise ValueError(
            f"a power below 0 would ask for the side with many answers; got power={power}"
        )
    lean = power * (tails_per_head(graph).log() - heads_per_tail(graph).log())
    return lean.sigmoid().nan_to_num(0.5).clamp(checked_floor(floor), 1 - floor)


def pooled_rate(graph: TrainGraph) -> Float[Tensor, "R"]:
    """Distinct heads / (distinct heads + distinct tails), 0.5 for an unused relation."""
    _, relation, _ = graph.triples.unbind(1)
    heads, tails = (
        torch.bincount(pairs[:, 0], minlength=graph.num_relations)
        for pairs in (
            torch.stack([relation, graph.triples[:, end]], 1).unique(dim=0) for end in (0, 2)
        )
    )
    return (heads / (heads + tails)).nan_to_num(0.5)


def checked_floor(floor: float) -> float:
    """The floor, if both sides can have it."""
    if not 0 <= floor <= 0.5:
        raise ValueError(f"each side can be left a share from 0 to 0.5; got floor={floor}")
    return floor
