"""A main model that knows entities by what they are called."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.graph.knowledge_graph import TrainGraph
from sparring.models.base import MainModel
from sparring.models.scorers import DotScorer
from sparring.models.text_encoders import MiniLM, TextEncoder


class TextModel(MainModel):
    """A trained head on a frozen encoder of labels: entities without facts are as well known.

    The query vector is made of the anchor's text and a vector of the relation, by one hidden
    layer, and compared with a linear map of the candidate's text. Labels of relations are not
    read. Texts are encoded once, when the model is made.

    Args:
        encoder: of labels; None for MiniLM.
        dim: numbers that query and candidate are compared by.
        hidden: width of the hidden layer.
        dropout: share of the query vector's numbers set to 0 while training.

    Raises:
        ValueError: if the graph has no labels, or the encoder lacks its weights.
    """

    text: Float[Tensor, "N t"]

    def __init__(
        self,
        graph: TrainGraph,
        *,
        encoder: TextEncoder | None = None,
        dim: int = 200,
        hidden: int = 512,
        dropout: float = 0.1,
    ):
        super().__init__()
        if graph.labels is None:
            raise ValueError("a text model needs labels of entities; give the graph's `labels`")
        encoder = MiniLM() if encoder is None else encoder
        text = encoder(graph.labels).to(graph.triples.device)
        self.register_buffer("text", text, persistent=False)
        self.relation = nn.Embedding(2 * graph.num_relations, dim)
        self.query = nn.Sequential(
            nn.Linear(text.shape[1] + dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )
        self.candidate = nn.Linear(text.shape[1], dim, bias=False)

    def candidates(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """Vectors that entities are compared by."""
        return self.candidate(F.embedding(ids, self.text))

    def forward(self, queries):
        anchor = F.embedding(queries.anchor, self.text)
        asked = torch.cat([anchor, self.relation(queries.relation)], 1)
        return DotScorer(self.query(asked), self.candidates)
