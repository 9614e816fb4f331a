"""An inverted multi-index over the main model's own vectors: its softmax, quantised."""

import inspect
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.batch import EmbeddingScorer, Negatives, Scorer
from sparring.clustering import k_means
from sparring.data.graph import TrainGraph
from sparring.generators.base import draw, slot_features
from sparring.registry import register
from sparring.samplers.base import Capabilities, NegativeSampler


@register("midx", example={"k": 4, "codes": 3})
class MultiIndex(NegativeSampler):
    """Draws a cell of entities by its score, then one of its entities uniformly; exact density.

    Each half of the entity vectors has a codebook of its own, by k-means; a pair of codes is a
    cell, and its probability is in proportion to size * exp(score of the pair / temperature).
    With as many codes as entities it is the softmax of the main model (Chen et al., 2022). The
    index is rebuilt from the current vectors, starting at the old codes.

    Where the model's candidates are no vectors, entities are clustered by how they occur in the
    graph, and a cell scores as its most central entity does.

    Args:
        codes: codes per half; the cells are codes ** 2, and so are the scores asked per query.
        temperature: scores of cells are divided by it.
        every: training steps between rebuilds.
        rounds: of k-means at each.

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
        every: int = 500,
        rounds: int = 10,
    ):
        super().__init__(k)
        if codes < 1 or every < 1:
            raise ValueError(
                f"an index has at least one code and step; got codes={codes}, every={every}"
            )
        self.codes, self.temperature = min(codes, graph.num_entities), temperature
        self.every, self.rounds = every, rounds
        self.capabilities = Capabilities(
            needs_scores=True, num_extra_scores=self.codes**2, has_log_prob=False
        )
        self.register_buffer("occurrence", slot_features(graph), persistent=False)
        self.drawn = 0
        self.index: dict[str, Tensor] = {}

    @torch.no_grad()
    def sample(self, queries, score, rng):
        if not self.index or (self.training and self.drawn % self.every == 0):
            self.index = self._rebuilt(score)
        self.drawn += self.training
        size = self.index["size"]
        log_cell = self._log_cell(score)
        cell = draw(log_cell, self.k, rng)
        lot = torch.rand(cell.shape, generator=rng, device=cell.device, dtype=torch.double)
        rank = torch.minimum((lot * size[cell]).long(), size[cell] - 1)
        ids = self.index["order"][self.index["start"][cell] + rank]
        log_q = log_cell - size.log()
        answer = log_q.gather(1, self.index["cell"][queries.answer].unsqueeze(1)).squeeze(1)
        return Negatives.from_ids(queries, ids, log_q.gather(1, cell), answer)

    def _log_cell(self, score: Scorer) -> Float[Tensor, "B C"]:
        """Log-probability of each cell; -inf for empty ones."""
        scorer = inspect.unwrap(score)  # the model's own, from under what keeps gradients out
        if isinstance(scorer, EmbeddingScorer):
            logit = scorer.score_embeddings(self.index["centre"].unsqueeze(0))
        else:
            logit = score(self.index["order"][self.index["central"]].unsqueeze(0))
        return (logit.float() / self.temperature + self.index["size"].log()).log_softmax(1)

    def _rebuilt(self, score: Scorer) -> dict[str, Tensor]:
        scorer = inspect.unwrap(score)
        vectors = self.occurrence
        if isinstance(scorer, EmbeddingScorer):
            everyone = torch.arange(len(vectors), device=vectors.device).unsqueeze(0)
            vectors = scorer.embeddings(everyone)[0].float()
        book, code = [], []
        for side, half in enumerate(vectors.tensor_split(2, dim=1)):
            # the first codes are the entities evenly spaced by id
            spaced = torch.linspace(0, len(half) - 1, self.codes, device=half.device).round()
            start = self.index.get(f"codes {side}", half[spaced.long()])
            centroid, nearest = k_means(half, start, self.rounds)
            book.append(centroid)
            code.append(nearest)
        cell = code[0] * self.codes + code[1]
        pair = torch.cartesian_prod(*[torch.arange(self.codes, device=cell.device)] * 2)
        centre = torch.cat([book[0][pair[:, 0]], book[1][pair[:, 1]]], 1)
        # by cell, and from the middle of the cell outwards
        order = ((vectors - centre[cell]) ** 2).sum(1).argsort(stable=True)
        order = order[cell[order].argsort(stable=True)]
        size = torch.zeros_like(pair[:, 0]).index_add(0, cell, torch.ones_like(cell))
        start = size.cumsum(0) - size
        return {
            "codes 0": book[0],
            "codes 1": book[1],
            "centre": centre,
            "cell": cell,
            "order": order,
            "size": size,
            "start": start,
            "central": start.clamp(max=len(order) - 1),
        }

    def get_extra_state(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "index": self.index}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        device = self.occurrence.device
        self.drawn = state["drawn"]
        self.index = {name: part.to(device) for name, part in state["index"].items()}
