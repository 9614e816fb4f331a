"""Losses with soft labels: no answer is entirely right, no candidate entirely wrong."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparring.losses.base import Loss, average, both_terms, counted, log_total, wide


class SmoothedLogistic(Loss):
    """Binary cross-entropy over all entities with smoothed labels: 1vsAll and KvsAll.

    Labels are (1 - smoothing) y + smoothing / K; for the sampler `all-entities` and `kvs-all`,
    K is the number of entities (Dettmers et al., 2018).

    Args:
        compat: as in LibKGE, (1 - smoothing) y + 1 / K (Ruffinelli et al., 2020).
    """

    def __init__(self, *, smoothing: float = 0.1, compat: bool = False):
        super().__init__()
        self.smoothing, self.compat = share_of_one(smoothing), compat

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        label = (1.0 if self.compat else self.smoothing) / negative.shape[1]
        right = F.softplus(positive) - (1 - self.smoothing + label) * positive
        wrong = (counted(negatives) * (F.softplus(negative) - label * negative)).sum(1)
        return both_terms(right, wrong, negatives, weight)


class SmoothedSoftmax(Loss):
    """Cross-entropy with smoothed labels, the divergence from them up to a constant.

    With `all-entities` it is 1vsAll; with queries that weigh 1 / answers as well (sides with
    `subsampling = 1, kind = "uniq"`), the KvsAll whose labels sum to one.

    Args:
        compat: labels as in LibKGE, (1 - smoothing) y + 1 / K, scaled to sum to one.
    """

    def __init__(self, *, smoothing: float = 0.1, compat: bool = False):
        super().__init__()
        self.smoothing, self.compat = share_of_one(smoothing), compat

    def forward(self, positive, negative, negatives, weight):
        label = (1.0 if self.compat else self.smoothing) / negative.shape[1]
        right = 1 - self.smoothing + label
        return soft_cross_entropy(positive, negative, counted(negatives), right, label, weight)


class Emu(Loss):
    """Cross-entropy whose target gives the answer 1 and every negative `beta`, scaled to sum 1.

    For negatives that share coordinates with the answer, as `mutated` models make them: the
    answer may win by a factor of 1 / beta and no more (Takamoto et al., 2025).
    """

    def __init__(self, *, beta: float = 0.5):
        super().__init__()
        if beta < 0:
            raise ValueError(f"the target of a negative must not be below 0; got beta={beta}")
        self.beta = beta

    def forward(self, positive, negative, negatives, weight):
        return soft_cross_entropy(positive, negative, counted(negatives), 1.0, self.beta, weight)


def soft_cross_entropy(
    positive: Float[Tensor, "B"],
    negative: Float[Tensor, "B K"],
    share: Float[Tensor, "B K"],
    right: float,
    wrong: float,
    weight: Float[Tensor, "B"],
) -> Float[Tensor, ""]:
    """Softmax cross-entropy with targets in proportion to `right` and wrong * share."""
    positive, negative = wide(positive), wide(negative)
    target = wrong * share
    target = target / (right + target.sum(1, keepdim=True))
    gap = log_total(share.log(), negative, negative.new_ones(())) - positive
    lead = negative - positive.unsqueeze(1)
    return average(F.softplus(gap) - (target * lead).sum(1), weight)


def share_of_one(smoothing: float) -> float:
    """The smoothing, if it is a share.

    Raises:
        ValueError: if it is below 0, or 1 or above.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing is a share below 1; got {smoothing}")
    return smoothing
