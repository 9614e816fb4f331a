"""The generator's draws over shards: the same on any number of ranks, and by the stated density."""

import torch
from distributed.ranks import made, on_ranks, small_graph

from sparring.batch import Queries
from sparring.distributed import world
from sparring.distributed.generator import ShardedGenerator

DRAWS, MIX = 3000, 0.1


def drawn(graph):
    """Draws of the first queries of every virtual worker, with all densities."""
    facts, step = made(graph, sampler=ShardedGenerator)
    generator = step.sampler
    with torch.no_grad():  # less uniform than at the start
        generator.student.entity.rows.weight.mul_(12)
    generator.index.initialize()
    rows = torch.cat([part[:2] for part in facts.queries.split(facts.sizes)])
    queries = Queries(*rows.unbind(1), torch.ones(len(rows)))
    distribution = generator.distribution(queries)
    ids = distribution.draw(DRAWS, torch.Generator().manual_seed(5), MIX)
    everything = torch.arange(len(graph.entities)).unsqueeze(0)
    stated = distribution.log_prob(everything, MIX)
    own = distribution.log_prob(ids, MIX)
    assert torch.equal(own, stated.gather(1, ids))
    return world.gather_all(ids), world.gather_all(stated)


def test_draws_are_the_same_on_any_number_of_ranks():
    graph = small_graph()
    found = [on_ranks(number, drawn, graph) for number in (1, 2, 4)]
    for ids, stated in (pair for ranks in found for pair in ranks):
        assert torch.equal(ids, found[0][0][0])
        assert torch.equal(stated, found[0][0][1])


def test_draws_follow_the_stated_density():
    ids, stated = on_ranks(2, drawn, small_graph())[0]
    density = stated.double().exp()
    torch.testing.assert_close(
        density.sum(1), torch.ones(len(ids), dtype=torch.double), atol=1e-5, rtol=0
    )
    assert density.max() > 3 * density.min()
    expected = density * DRAWS
    counts = torch.stack([torch.bincount(row, minlength=density.shape[1]) for row in ids])
    statistic = ((counts - expected) ** 2 / expected).sum(1)
    freedom = torch.tensor(density.shape[1] - 1.0)
    p = torch.special.gammaincc(freedom / 2, statistic.float() / 2)
    assert p.min() > 1e-4


def conditions(graph):
    """Of a generator in one process and one on ranks, with the same student."""
    _, step = made(graph, sampler=ShardedGenerator)
    index = step.sampler.index
    return index.codebook_1, index.mass, index.mass_up_to[:, -1].sum().item(), len(graph.entities)


def test_masses_are_those_of_all_entities():
    codebook, mass, total, entities = on_ranks(2, conditions, small_graph())[1]
    assert codebook.isfinite().all()
    assert 0 < mass.sum().item() <= entities
    assert abs(total - mass.sum().item()) < 1e-3
