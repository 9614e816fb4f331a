"""Noise-contrastive estimation: was this drawn from the graph, or from the sampler?"""

import math

from torch.nn import functional as F

from sparring.losses.base import Loss, attention, both_terms, counted, wide
from sparring.losses.softmax import density, density_at_answer


class NCE(Loss):
    """Binary cross-entropy of score - log(K q), for answers and negatives alike.

    The optimum is the log-probability of the answer whatever the sampler, so scores normalise
    themselves (Gutmann & Hyvärinen, 2010).

    Args:
        mean: average over negatives instead of adding them up, with log q in place of log(K q):
            the log-sigmoid loss with a margin that the density sets.
    """

    needs_density = needs_answer_density = True

    def __init__(self, *, mean: bool = False):
        super().__init__()
        self.mean = mean

    def forward(self, positive, negative, negatives, weight):
        positive, negative = wide(positive), wide(negative)
        drawn = 0.0 if self.mean else math.log(negative.shape[1])
        share = attention(negative, negatives, 0.0) if self.mean else counted(negatives)
        # what does not count may have a density of 0, and 0 * inf is no number
        log_q = density(negatives).masked_fill(share == 0, 0.0)
        right = F.softplus(density_at_answer(negatives) + drawn - positive)
        wrong = (share * F.softplus(negative - log_q - drawn)).sum(1)
        return both_terms(right, wrong, negatives, weight)
