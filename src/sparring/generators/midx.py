"""MIDX: the main model's softmax over its own entity vectors, quantized."""

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import EmbeddingScorer, Negatives, Queries, Scorer
from sparring.clustering import k_means
from sparring.data.graph import TrainGraph
from sparring.generators.base import sample_columns, structural_features
from sparring.registry import register
from sparring.samplers.base import Capabilities, NegativeSampler


@dataclass(frozen=True, eq=False)
class EntityCells:
    """Entities in cells: pairs of codes of the two halves of their vectors.

    Attributes:
        codebook_1, codebook_2: codes of each half.
        center: the pair of codes of each cell.
        cell: of each entity.
        order: entities by cell, and from the center of the cell outwards.
        first: where the entities of each cell start in `order`.
        size: number of entities in each cell.
        central: where in `order` the entity nearest to each center stands; anywhere for an empty
            cell.
    """

    codebook_1: Float[Tensor, "C h1"]
    codebook_2: Float[Tensor, "C h2"]
    center: Float[Tensor, "CC d"]
    cell: Int[Tensor, "N"]
    order: Int[Tensor, "N"]
    first: Int[Tensor, "CC"]
    size: Int[Tensor, "CC"]
    central: Int[Tensor, "CC"]


@register(
    "midx",
    example={"k": 4, "codes": 3},
    renamed={"every": "rebuild_every", "rounds": "kmeans_rounds"},
)
class MIDX(NegativeSampler):
    """Draws a cell of entities by its score, then one of its entities uniformly; exact density.

    Each half of the entity vectors has a codebook of its own, by k-means. A pair of codes is a
    cell, and its probability is in proportion to size * exp(score of the pair / temperature).
    With as many codes as entities it is the softmax of the main model (Chen et al., 2022, "Fast
    Variational AutoEncoder with Inverted Multi-Index for Collaborative Filtering"). The cells are
    rebuilt from the current vectors, starting at the old codes.

    If the main model does not score vectors, entities are clustered by how they occur in the
    graph, and a cell scores as its most central entity does.

    Args:
        k: negatives per query.
        codes: codes per half; there are codes ** 2 cells, and as many extra scores per query.
        temperature: scores of cells are divided by it.
        rebuild_every: training steps from one rebuild of the cells to the next.
        kmeans_rounds: rounds of k-means per rebuild.

    Raises:
        ValueError: for fewer than one code or step.
    """

    schedulable = (("temperature", 1e-6, math.inf),)
    occurrence: Float[Tensor, "N f"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        k: int,
        codes: int = 16,
        temperature: float = 1.0,
        rebuild_every: int = 500,
        kmeans_rounds: int = 10,
    ):
        super().__init__(k)
        if codes < 1 or rebuild_every < 1:
            raise ValueError(
                "codes and rebuild_every are at least 1; "
                f"got codes={codes}, rebuild_every={rebuild_every}"
            )
        self.codes, self.temperature = min(codes, graph.num_entities), temperature
        self.rebuild_every, self.kmeans_rounds = rebuild_every, kmeans_rounds
        self.capabilities = Capabilities(
            needs_scores=True, num_extra_scores=self.codes**2, has_log_prob=False
        )
        self.register_buffer("occurrence", structural_features(graph), persistent=False)
        self.steps = 0
        self.cells: EntityCells | None = None

    @torch.no_grad()
    def sample(self, queries: Queries, score: Scorer, rng: torch.Generator) -> Negatives:
        if self.cells is None or (self.training and self.steps % self.rebuild_every == 0):
            self.cells = self._rebuilt(score, self.cells)
        self.steps += self.training
        cells = self.cells
        log_cell = self._log_cell(score, cells)
        cell = sample_columns(log_cell, self.k, rng)
        u = torch.rand(cell.shape, generator=rng, device=cell.device, dtype=torch.double)
        size = cells.size[cell]
        ids = cells.order[cells.first[cell] + torch.minimum((u * size).long(), size - 1)]
        log_q = log_cell - cells.size.log()
        answer = log_q.gather(1, cells.cell[queries.answer].unsqueeze(1)).squeeze(1)
        return Negatives.from_ids(queries, ids, log_q.gather(1, cell), answer)

    def _log_cell(self, score: Scorer, cells: EntityCells) -> Float[Tensor, "B CC"]:
        """Log-probability of each cell; -inf for empty ones."""
        scorer = _embedding_scorer(score)
        if scorer is None:
            logit = score(cells.order[cells.central].unsqueeze(0))
        else:
            logit = scorer.score_embeddings(cells.center.unsqueeze(0))
        return (logit.float() / self.temperature + cells.size.log()).log_softmax(1)

    def _rebuilt(self, score: Scorer, old: EntityCells | None) -> EntityCells:
        """Cells of the current vectors, from the old codes or entities evenly spaced by id."""
        scorer, vectors = _embedding_scorer(score), self.occurrence
        if scorer is not None:
            all_ids = torch.arange(len(vectors), device=vectors.device).unsqueeze(0)
            vectors = scorer.embeddings(all_ids)[0].float()
        halves = vectors.tensor_split(2, dim=1)
        spaced = torch.linspace(0, len(vectors) - 1, self.codes, device=vectors.device)
        spaced = spaced.round().long()
        start = [half[spaced] for half in halves]
        if old is not None:
            start = [old.codebook_1, old.codebook_2]
        (book_1, code_1), (book_2, code_2) = (
            k_means(half, codes, self.kmeans_rounds) for half, codes in zip(halves, start)
        )
        cell = code_1 * self.codes + code_2
        pair = torch.cartesian_prod(*[torch.arange(self.codes, device=cell.device)] * 2)
        center = torch.cat([book_1[pair[:, 0]], book_2[pair[:, 1]]], 1)
        order = ((vectors - center[cell]) ** 2).sum(1).argsort(stable=True)
        order = order[cell[order].argsort(stable=True)]
        size = torch.zeros_like(pair[:, 0]).index_add(0, cell, torch.ones_like(cell))
        first = size.cumsum(0) - size
        central = first.clamp(max=len(order) - 1)
        return EntityCells(book_1, book_2, center, cell, order, first, size, central)

    def get_extra_state(self) -> dict[str, Any]:
        return {"steps": self.steps, "cells": dict(vars(self.cells)) if self.cells else {}}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        device, cells = self.occurrence.device, state["cells"]
        self.steps = state["steps"]
        parts = {name: part.to(device) for name, part in cells.items()}
        self.cells = EntityCells(**parts) if parts else None


def _embedding_scorer(score: Scorer) -> EmbeddingScorer | None:
    """The main model's own scorer, which `torch.no_grad()` wraps, if its candidates are vectors."""
    scorer = inspect.unwrap(score)
    return scorer if isinstance(scorer, EmbeddingScorer) else None
