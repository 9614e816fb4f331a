import math

import torch

from sparring.groups import ungroup
from sparring.registry import register
from sparring.samplers import SAMPLERS, NegativeSampler
from sparring.samplers.base import gumbel_like, is_repeated
from sparring.testing import check_density, check_sampler


def test_repetitions_are_found():
    got = is_repeated(torch.tensor([[3, 1, 3, 3, 1], [0, 1, 2, 3, 4]]))
    assert got.tolist() == [[False, False, True, True, True], [False] * 5]


def test_the_highest_sum_of_logarithm_and_noise_falls_by_share():
    share = torch.tensor([0.1, 0.2, 0.7]).expand(20_000, 3)
    noise = gumbel_like(share, torch.Generator().manual_seed(0))
    top = torch.bincount((share.log() + noise).argmax(1), minlength=3) / 20_000
    torch.testing.assert_close(top, share[0], atol=0.017, rtol=0.0)  # 5 sigma


def test_a_new_sampler_is_one_class_with_a_name(monkeypatch):
    """The recipe of `NegativeSampler`."""
    monkeypatch.setattr(SAMPLERS, "entries", dict(SAMPLERS.entries))

    @register("log-uniform", example={"k": 5})
    class LogUniform(NegativeSampler):
        def __init__(self, graph, *, k: int):
            super().__init__(k)
            self.num_entities = graph.num_entities

        def sample(self, queries, score, rng):
            shape, device = (len(queries), self.k), queries.anchor.device
            u = torch.rand(shape, generator=rng, device=device, dtype=torch.double)
            ids = ((self.num_entities + 1) ** u).long() - 1
            return self.to_negatives(queries, ids)

        def log_prob(self, queries, ids):
            rank = ungroup(ids, len(queries)) + 1
            return (1 / rank).log1p().log() - math.log(math.log(self.num_entities + 1))

    make = lambda graph: SAMPLERS.example("log-uniform", graph=graph)
    check_sampler(make)
    check_density(make)
