"""Scores and negatives for tests of losses."""

import torch

from sparring.batch import Negatives


def offered(batch=3, k=4, seed=0, **fields):
    """Negatives that all count, with the fields as given; log-densities are random."""
    rng = torch.Generator().manual_seed(seed)
    shape = (batch, k)
    plain = {
        "ids": torch.zeros(shape, dtype=torch.long),
        "mask": torch.ones(shape, dtype=torch.bool),
        "weight": torch.ones(shape),
        "p_false_negative": torch.zeros(shape),
        "log_policy": torch.zeros(shape),
        "log_q": -3 * torch.rand(shape, generator=rng),
        "answer_log_q": -3 * torch.rand(batch, generator=rng),
    }
    return Negatives(**plain | fields)


def scores(batch=3, k=4, seed=1, dtype=torch.double):
    """Random scores of answers and negatives, with gradients."""
    rng = torch.Generator().manual_seed(seed)
    positive = torch.randn(batch, generator=rng, dtype=dtype)
    negative = torch.randn(batch, k, generator=rng, dtype=dtype)
    return positive.requires_grad_(), negative.requires_grad_()


def ones(batch=3):
    return torch.ones(batch)


def minimum(loss, start, steps=60):
    """Where a smooth function of one tensor is smallest."""
    at = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([at], max_iter=steps, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(at)
        value.backward()
        return value

    optimizer.step(closure)
    return at.detach()


def centred(values):
    return values - values.mean()
