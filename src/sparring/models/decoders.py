"""Decoders: they turn vectors of anchors and relations from any encoder into a scorer."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.batch import Scorer
from sparring.models.scorers import DotScorer, L1Scorer, L2Scorer, Lookup, distance_for_norm
from sparring.registry import Registry, register

DECODERS = Registry("decoder")


class Decoder(nn.Module, ABC):
    """Scores candidates by the vectors of anchor, relation and candidate.

    Inverse relations have their own vectors.
    """

    registry = DECODERS

    def __init__(self):  # no *args and **kwargs, which would count as options
        super().__init__()

    def accepts(self, dim: int) -> bool:
        """Whether the decoder can take vectors of this width."""
        return dim > 0

    @abstractmethod
    def forward(
        self, anchor: Float[Tensor, "B d"], relation: Float[Tensor, "B d"], entity: Lookup
    ) -> Scorer:
        """The scorer of a batch of queries.

        Args:
            anchor: vectors of the anchors.
            relation: vectors of the relations, inverse ones included.
            entity: looks up vectors of entities by id.
        """


@register("distmult")
class DistMultDecoder(Decoder):
    """<anchor, relation, candidate> (Yang et al., 2015)."""

    def forward(
        self, anchor: Float[Tensor, "B d"], relation: Float[Tensor, "B d"], entity: Lookup
    ) -> Scorer:
        return DotScorer(anchor * relation, entity)


@register("complex")
class ComplExDecoder(Decoder):
    """Re<anchor, relation, conj(candidate)> (Trouillon et al., 2016).

    Vectors are stored as [real, imaginary], so their width is even.
    """

    def accepts(self, dim: int) -> bool:
        return dim > 0 and dim % 2 == 0

    def forward(
        self, anchor: Float[Tensor, "B d"], relation: Float[Tensor, "B d"], entity: Lookup
    ) -> Scorer:
        (a, b), (c, d) = anchor.chunk(2, 1), relation.chunk(2, 1)
        return DotScorer(torch.cat([a * c - b * d, a * d + b * c], 1), entity)


@register("transe")
class TransEDecoder(Decoder):
    """-||anchor + relation - candidate|| (Bordes et al., 2013).

    Args:
        norm: 1 or 2. With 2 distances are computed by inner products, which makes shared candidate
            lists cheap.
    """

    def __init__(self, *, norm: int = 2):
        super().__init__()
        self.distance = distance_for_norm(norm, L1Scorer, L2Scorer)

    def forward(
        self, anchor: Float[Tensor, "B d"], relation: Float[Tensor, "B d"], entity: Lookup
    ) -> Scorer:
        return self.distance(anchor + relation, entity)


@register("conve", example={"dim": 8, "height": 2, "filters": 2}, renamed={"kernel": "kernel_size"})
class ConvEDecoder(Decoder):
    """A convolution over anchor and relation, reshaped to one image, and a linear map back.

    Dettmers et al., 2018, "Convolutional 2D Knowledge Graph Embeddings". Batch normalization
    and dropout come before the convolution, after it, and after the linear map.

    Args:
        dim: numbers per vector.
        height: rows of the image of one vector; the images of anchor and relation are stacked.
        filters: output channels of the convolution.
        kernel_size: height and width of a filter.
        input_dropout, feature_dropout, dropout: probability of setting to 0, while training, a
            number of the image, a whole feature map, and a number of the query vector.

    Raises:
        ValueError: if `height` does not divide `dim`, or a filter does not fit on the image.
    """

    def __init__(
        self,
        *,
        dim: int = 200,
        height: int = 10,
        filters: int = 32,
        kernel_size: int = 3,
        input_dropout: float = 0.2,
        feature_dropout: float = 0.2,
        dropout: float = 0.3,
    ):
        super().__init__()
        if min(dim, height, filters, kernel_size) < 1 or dim % height:
            raise ValueError(
                "ConvE reshapes a vector to an image of `height` rows, which must divide dim; got "
                f"dim={dim}, height={height}, filters={filters}, kernel_size={kernel_size}"
            )
        rows, columns = 2 * height - kernel_size + 1, dim // height - kernel_size + 1
        if rows < 1 or columns < 1:
            raise ValueError(
                f"a filter of {kernel_size} x {kernel_size} does not fit on an image of "
                f"{2 * height} x {dim // height}; choose another height or kernel_size"
            )
        self.dim, self.height = dim, height
        # batch normalization follows each linear map, so biases and scales before it are redundant
        self.input_layers = nn.Sequential(
            nn.BatchNorm2d(1, affine=False), nn.Dropout(input_dropout)
        )
        self.conv_layers = nn.Sequential(
            nn.Conv2d(1, filters, kernel_size, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Dropout2d(feature_dropout),
        )
        self.linear = nn.Linear(filters * rows * columns, dim, bias=False)
        self.output_layers = nn.Sequential(nn.Dropout(dropout), nn.BatchNorm1d(dim), nn.ReLU())

    def accepts(self, dim: int) -> bool:
        return dim == self.dim

    def query(
        self, anchor: Float[Tensor, "B d"], relation: Float[Tensor, "B d"]
    ) -> Float[Tensor, "B d"]:
        """The vector whose inner products with candidates are the scores."""
        require_batch(self, len(anchor))
        image = torch.cat([anchor, relation], 1).unflatten(1, (1, 2 * self.height, -1))
        features = self.conv_layers(self.input_layers(image))
        return self.output_layers(self.linear(features.flatten(1)))

    def forward(
        self, anchor: Float[Tensor, "B d"], relation: Float[Tensor, "B d"], entity: Lookup
    ) -> Scorer:
        return DotScorer(self.query(anchor, relation), entity)


def require_batch(module: nn.Module, batch: int) -> None:
    """Refuse a single query where a module normalizes over the batch.

    Raises:
        ValueError: if the module is training and the batch has fewer than 2 queries.
    """
    if module.training and batch < 2:
        raise ValueError(
            f"{type(module).__name__} normalizes over the batch while training, so it needs at "
            f"least 2 queries; got {batch}; raise train.batch_size"
        )
