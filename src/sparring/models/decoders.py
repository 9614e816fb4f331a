"""Scorers made of vectors, wherever these come from: a table, or a network over the graph."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.batch import Scorer
from sparring.models.scorers import CityBlockScorer, DotScorer, EuclideanScorer, Lookup
from sparring.models.translational import one_of_two
from sparring.registry import Registry, register

DECODERS = Registry("decoder")


class Decoder(nn.Module, ABC):
    """Judges candidates by the vectors of anchor, relation and candidate.

    An inverse relation has a vector of its own.
    """

    registry = DECODERS

    def __init__(self):
        super().__init__()

    def accepts(self, dim: int) -> bool:
        """Can vectors be of this many numbers?"""
        return dim > 0

    @abstractmethod
    def forward(
        self, anchor: Float[Tensor, "B d"], relation: Float[Tensor, "B d"], entity: Lookup
    ) -> Scorer:
        """The scorer of a batch of queries.

        Args:
            entity: vectors of entities by id.
        """


@register("distmult")
class DistMultDecoder(Decoder):
    """<anchor, relation, candidate> (Yang et al., 2015)."""

    def forward(self, anchor, relation, entity):
        return DotScorer(anchor * relation, entity)


@register("complex")
class ComplExDecoder(Decoder):
    """Re<anchor, relation, conj(candidate)> (Trouillon et al., 2016); half are imaginary parts."""

    def accepts(self, dim):
        return dim > 0 and dim % 2 == 0

    def forward(self, anchor, relation, entity):
        (a, b), (c, d) = anchor.chunk(2, 1), relation.chunk(2, 1)
        return DotScorer(torch.cat([a * c - b * d, a * d + b * c], 1), entity)


@register("transe")
class TransEDecoder(Decoder):
    """-||anchor + relation - candidate|| (Bordes et al., 2013).

    Args:
        norm: 1 or 2. With 2, distances are inner products and shared lists cost little.
    """

    def __init__(self, *, norm: int = 2):
        super().__init__()
        self.distance = one_of_two(norm, CityBlockScorer, EuclideanScorer)

    def forward(self, anchor, relation, entity):
        return self.distance(anchor + relation, entity)


@register("conve", example={"dim": 8, "height": 2, "filters": 2})
class ConvEDecoder(Decoder):
    """A convolution over anchor and relation, laid out as one image, and a linear map back.

    Dettmers et al., 2018, "Convolutional 2D Knowledge Graph Embeddings". Batch normalisation
    and dropout come before the convolution, after it, and after the linear map.

    Args:
        dim: numbers per vector.
        height: rows of the image that a vector is laid out as; the two images stand one above
            the other.
        filters: of the convolution.
        kernel: height and width of a filter.
        input_dropout, feature_dropout, dropout: share of the image's numbers, of whole feature
            maps, and of the query vector's numbers set to 0 while training.

    Raises:
        ValueError: if the vectors make no image that a filter fits on.
    """

    def __init__(
        self,
        *,
        dim: int = 200,
        height: int = 10,
        filters: int = 32,
        kernel: int = 3,
        input_dropout: float = 0.2,
        feature_dropout: float = 0.2,
        dropout: float = 0.3,
    ):
        super().__init__()
        if min(dim, height, filters, kernel) < 1 or dim % height:
            raise ValueError(
                "ConvE lays a vector out as an image of `height` rows, which must divide dim; "
                f"got dim={dim}, height={height}, filters={filters}, kernel={kernel}"
            )
        down, across = 2 * height - kernel + 1, dim // height - kernel + 1
        if down < 1 or across < 1:
            raise ValueError(
                f"a filter of {kernel} x {kernel} does not fit on an image of "
                f"{2 * height} x {dim // height}; choose another height or kernel"
            )
        self.dim, self.height = dim, height
        # normalisation follows each map, and would take biases and scales before it away again
        self.image = nn.Sequential(nn.BatchNorm2d(1, affine=False), nn.Dropout(input_dropout))
        self.features = nn.Sequential(
            nn.Conv2d(1, filters, kernel, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Dropout2d(feature_dropout),
        )
        self.back = nn.Linear(filters * down * across, dim, bias=False)
        self.after = nn.Sequential(nn.Dropout(dropout), nn.BatchNorm1d(dim), nn.ReLU())

    def accepts(self, dim):
        return dim == self.dim

    def query(
        self, anchor: Float[Tensor, "B d"], relation: Float[Tensor, "B d"]
    ) -> Float[Tensor, "B d"]:
        """The vector that candidates are compared with, by inner products."""
        refuse_single(self, len(anchor))
        both = torch.cat([anchor, relation], 1).unflatten(1, (1, 2 * self.height, -1))
        return self.after(self.back(self.features(self.image(both)).flatten(1)))

    def forward(self, anchor, relation, entity):
        return DotScorer(self.query(anchor, relation), entity)


def refuse_single(module: nn.Module, batch: int) -> None:
    """Do nothing, unless a single query is to be normalised over the batch.

    Raises:
        ValueError: if so; the variance of one is none.
    """
    if module.training and batch < 2:
        raise ValueError(
            f"{type(module).__name__} normalises over the batch while training, so it needs at "
            f"least 2 queries; got {batch}; raise train.batch_size"
        )
