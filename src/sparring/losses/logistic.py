"""Losses that ask of every score by itself: right or wrong?"""

from torch.nn import functional as F

from sparring.losses.base import Loss, attention, both_terms, counted, wide


class Logistic(Loss):
    """Log-sigmoid with margin; every query's negatives weigh as much as its answer.

    Args:
        margin: added to all scores, so that a distance of `margin` is on the fence.
        temperature: above 0, negatives weigh in by softmax of temperature * score, which is
            self-adversarial (Sun et al., 2019); 0 weighs them equally.
    """

    def __init__(self, *, margin: float = 0.0, temperature: float = 0.0):
        super().__init__()
        self.margin, self.temperature = margin, temperature

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        share = attention(negative, negatives, self.temperature)
        right = F.softplus(-positive - self.margin)
        wrong = (share * F.softplus(negative + self.margin)).sum(1)
        return both_terms(right / 2, wrong / 2, negatives, weight)


class SelfAdversarial(Logistic):
    """`Logistic` with the temperature of Sun et al., 2019, on by default."""

    def __init__(self, *, margin: float = 9.0, temperature: float = 1.0):
        super().__init__(margin=margin, temperature=temperature)


class SummedLogistic(Loss):
    """Binary cross-entropy where every negative counts in full, as with 1vsAll and KvsAll.

    With drawn negatives it is the negative sampling of Mikolov et al., 2013, whose optimum is
    log p - log(K q): the score of what is drawn often is too low.
    """

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        wrong = (counted(negatives) * F.softplus(negative)).sum(1)
        return both_terms(F.softplus(-positive), wrong, negatives, weight)
