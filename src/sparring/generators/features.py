"""What an entity is like, read off the training graph."""

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.graph.knowledge_graph import TrainGraph
from sparring.graph.sides import both_queries


def slot_features(graph: TrainGraph, dim: int = 16, rounds: int = 4) -> Float[Tensor, "N d"]:
    """Principal components of which relations each entity stands at which end of.

    Counts enter as log(1 + count). Components have unit variance; where the graph has fewer
    than `dim`, the rest is 0. By subspace iteration from a fixed start (Halko et al., 2011).
    """
    queries = both_queries(graph.triples, graph.num_relations)
    slots = 2 * graph.num_relations
    place = queries.answer * slots + queries.relation
    key, count = place.unique(return_counts=True)
    row, slot, value = key // slots, key % slots, count.double().log1p()
    mean = value.new_zeros(slots).index_add(0, slot, value) / graph.num_entities

    def project(basis: Tensor) -> Tensor:  # centred counts times basis
        spread = value.unsqueeze(1) * basis[slot]
        whole = value.new_zeros(graph.num_entities, basis.shape[1]).index_add(0, row, spread)
        return whole - mean @ basis

    def reflect(columns: Tensor) -> Tensor:  # centred counts, transposed, times columns
        spread = value.unsqueeze(1) * columns[row]
        whole = value.new_zeros(slots, columns.shape[1]).index_add(0, slot, spread)
        return whole - torch.outer(mean, columns.sum(0))

    width = min(dim, slots, graph.num_entities)
    rng = torch.Generator().manual_seed(0)
    basis = torch.randn(slots, width, generator=rng, dtype=torch.double).to(value.device)
    for _ in range(rounds):
        basis = torch.linalg.qr(reflect(project(basis)))[0]
    component = project(basis)
    left, size, _ = torch.linalg.svd(component, full_matrices=False)
    real = size > 1e-9 * size.amax().clamp(min=1e-30)
    features = left * real * graph.num_entities**0.5
    return torch.nn.functional.pad(features, (0, dim - width)).float()
