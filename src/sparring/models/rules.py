"""A main model that is a book of rules."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries
from sparring.graph.knowledge_graph import TrainGraph
from sparring.graph.mining import mined
from sparring.graph.rules import RuleBook
from sparring.models.base import MainModel


@dataclass(frozen=True, eq=False)
class RuleScorer:
    """sharpness * log(confidence + 1 / N): a softmax shares out belief by confidence."""

    book: RuleBook
    queries: Queries
    sharpness: Float[Tensor, ""]

    def __call__(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "B K"]:
        believed = self.book.believed(self.queries, ids)
        return self.sharpness * (believed + 1 / self.book.num_entities).log()

    def __getitem__(self, rows: slice) -> "RuleScorer":
        """The scorer of the chosen queries."""
        return replace(self, queries=self.queries[rows])


class RuleModel(MainModel):
    """Rules of one and two steps, mined from the training graph, and how often answers occur.

    After AnyBURL (Meilicke et al., 2019, "Anytime Bottom-Up Rule Learning for Knowledge Graph
    Completion"), but for constants within bodies and longer bodies. All is known from the start:
    training adjusts only the sharpness of the scores, which changes no rank, and may take no
    epoch at all.

    Args:
        agreement: the confidence of all rules that speak for a candidate: that of the surest
            ("max"), or 1 - product of (1 - confidence) ("noisy-or").
        anchors: entities per first relation that bodies are counted from.
        support: facts that a rule explains, at least.
        confidence: of a rule, at least.
        pessimism: added to the number of cases.
        most: rules kept per relation and direction.
        seed: of the sample that is counted.
    """

    def __init__(
        self,
        graph: TrainGraph,
        *,
        agreement: Literal["max", "noisy-or"] = "max",
        anchors: int = 200,
        support: int = 2,
        confidence: float = 0.01,
        pessimism: float = 5.0,
        most: int = 200,
        seed: int = 0,
    ):
        super().__init__()
        rules = mined(
            graph,
            anchors=anchors,
            support=support,
            confidence=confidence,
            pessimism=pessimism,
            most=most,
            seed=seed,
        )
        self.book = RuleBook(graph, rules, agreement=agreement, pessimism=pessimism)
        self.log_sharpness = nn.Parameter(torch.zeros(()))

    def forward(self, queries):
        return RuleScorer(self.book, queries, self.log_sharpness.exp())
