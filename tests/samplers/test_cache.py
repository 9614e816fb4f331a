import itertools
import math

import pytest
import torch
from samplers.worlds import chi_square, draw, graph_of, make_queries, rng, scores_of

from sparring.batch import Queries
from sparring.corruption import tail_and_head_queries
from sparring.samplers import MaskKnown
from sparring.samplers.adaptive import NSCaching, write_once

WORLD = graph_of((0, 0, 1), (0, 0, 2), (3, 1, 4))
QUERY = make_queries(0, 0, 1)
RISING = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


def cached(graph=WORLD, **options):
    torch.manual_seed(0)
    return NSCaching(graph, **options)


def cache_of(sampler, queries=QUERY):
    return sampler.cache[sampler.row(queries)][0].sort().values.tolist()


def fill(sampler, *ids):
    sampler.cache[sampler.row(QUERY)] = torch.tensor(ids, dtype=torch.int32)


def test_the_top_of_everything_is_exact():
    sampler = cached(size=3, fresh=200, keep="top")
    draw(sampler, QUERY, scores_of(*RISING))
    assert cache_of(sampler) == [3, 4, 5]


def test_importance_makes_the_cache_top_heavy():
    sampler = cached(size=2, fresh=3)
    source = rng()
    steep = scores_of(*(9 * s for s in RISING))
    for _ in range(60):
        sampler.sample(QUERY, steep, source)
    assert cache_of(sampler) == [4, 5]


def test_flat_scores_keep_the_cache_spread():
    sampler = cached(size=1, fresh=1)
    source, kept = rng(), set()
    for _ in range(60):
        sampler.sample(QUERY, scores_of(*[0.0] * 6), source)
        kept |= set(cache_of(sampler))
    assert kept == set(range(6))


def chain(share, size):
    """Stationary law of the kept set when one uniform draw joins and `size` stay."""
    states = [frozenset(s) for s in itertools.combinations(range(len(share)), size)]
    move = torch.zeros(len(states), len(states), dtype=torch.double)
    for start, fresh in itertools.product(states, range(len(share))):
        union = start | {fresh}
        for kept in itertools.permutations(union, size):
            chance, left = 1 / len(share), sum(share[e] for e in union)
            for entity in kept:
                chance *= share[entity] / left
                left -= share[entity]
            move[states.index(start), states.index(frozenset(kept))] += chance
    return states, torch.linalg.matrix_power(move, 500)[0]


def test_the_cache_settles_on_the_enumerated_law():
    graph = graph_of(*((0, r, 1) for r in range(2000)), num_entities=6, num_relations=2000)
    queries = tail_and_head_queries(graph.triples, graph.num_relations)
    score = scores_of(*(0.5 * s for s in RISING), times=len(queries))
    sampler = cached(graph, size=2, fresh=1)
    sampler.cache.copy_(torch.tensor([0, 1], dtype=torch.int32))
    source = rng()
    for _ in range(50):
        sampler.sample(queries, score, source)
    states, law = chain([math.exp(0.5 * s) for s in RISING], size=2)
    got = [frozenset(row) for row in sampler.cache[sampler.row(queries)].tolist()]
    tally = torch.tensor([float(got.count(state)) for state in states]).double()
    assert chi_square(tally, law) < 5


def test_draws_come_from_the_cache_before_it_is_renewed():
    sampler = cached(k=20, size=2, fresh=200, keep="top")
    fill(sampler, 0, 3)
    drawn = draw(sampler, QUERY, scores_of(*RISING))
    assert set(drawn.ids[0].tolist()) == {0, 3}
    assert cache_of(sampler) == [4, 5]


def test_importance_draws_go_by_score():
    sampler = cached(k=20_000, size=2, draw="importance", temperature=2.0)
    fill(sampler, 0, 5)
    hard = draw(sampler, QUERY, scores_of(*RISING)).ids.eq(5).double().mean().item()
    assert hard == pytest.approx(1 / (1 + math.exp(-5 / 2)), abs=5 * 0.5 / math.sqrt(20_000))


def test_top_draws_are_the_highest():
    sampler = cached(k=2, size=3, draw="top")
    fill(sampler, 0, 5, 4)
    assert draw(sampler, QUERY, scores_of(*RISING)).ids.tolist() == [[5, 4]]


def test_a_temperature_flattens_what_is_kept():
    cold, hot = (cached(size=1, fresh=1, temperature=t) for t in (1e-3, 1e3))
    low = dict.fromkeys((cold, hot), 0)
    for sampler, seed in itertools.product(low, range(100)):
        fill(sampler, 0)
        draw(sampler, QUERY, scores_of(*RISING), seed)
        low[sampler] += cache_of(sampler) == [0]
    assert low[cold] < 35 < low[hot]


@pytest.mark.parametrize("keep", ["importance", "top"])
def test_what_is_cached_and_drawn_afresh_is_kept_once(keep):
    sampler = cached(size=3, fresh=100, keep=keep)
    draw(sampler, QUERY, scores_of(0, 0, 0, 0, 0, 9.0))
    assert len(set(cache_of(sampler))) == 3


def test_the_authors_keep_it_twice():
    sampler = cached(size=3, fresh=100, keep="top", compat=True)
    draw(sampler, QUERY, scores_of(0, 0, 0, 0, 0, 9.0))
    assert cache_of(sampler) == [5, 5, 5]


def test_queries_have_caches_of_their_own():
    sampler = cached(size=2, fresh=9)
    before = cache_of(sampler, make_queries(3, 1, 4))
    draw(sampler, QUERY, scores_of(*RISING))
    assert cache_of(sampler, make_queries(3, 1, 4)) == before
    assert len(sampler.cache) == len({(0, 0), (1, 2), (2, 2), (3, 1), (4, 3)}) + 1


def test_queries_never_seen_share_the_last_cache():
    sampler = cached(size=2, fresh=9)
    assert (
        sampler.row(make_queries(5, 1, 0)).item() == sampler.row(make_queries(1, 1, 0)).item() == 5
    )
    assert draw(sampler, make_queries(5, 1, 0), scores_of(*RISING)).ids.shape == (1, 1)


def test_the_first_of_repeated_rows_is_written():
    table = torch.zeros(3, 1, dtype=torch.int32)
    values = torch.tensor([[5], [6], [7]], dtype=torch.int32)
    write_once(table, torch.tensor([2, 0, 2]), values)
    assert table.flatten().tolist() == [6, 0, 5]


def test_facts_can_be_dropped():
    sampler = cached(size=3, fresh=200, keep="top", drop_known=True)
    draw(sampler, QUERY, scores_of(0, 9, 9, 1, 2, 3))
    assert cache_of(sampler) == [3, 4, 5]


def test_facts_that_are_not_dropped_are_hidden_by_a_wrapper():
    sampler = cached(k=3, size=3, fresh=200, keep="top", draw="top")
    fill(sampler, 1, 2, 3)
    drawn = draw(MaskKnown(WORLD, inner=sampler), QUERY, scores_of(0, 9, 8, 7, 6, 5))
    assert drawn.ids.tolist() == [[1, 2, 3]]
    assert drawn.mask.tolist() == [[False, False, True]]


def test_hashed_queries_share_a_bounded_number_of_caches():
    sampler = cached(size=2, rows=4)
    assert sampler.cache.shape == (4, 2)
    pairs = torch.cartesian_prod(torch.arange(1000), torch.arange(4))
    anchor, relation = pairs.unbind(1)
    row = sampler.row(Queries(anchor, relation, anchor, torch.ones(4000)))
    tally = torch.bincount(row, minlength=4).double()
    assert chi_square(tally, torch.full((4,), 0.25, dtype=torch.double)) < 5


def test_a_cache_takes_four_bytes_per_entity():
    sampler = cached(size=7)
    assert sampler.cache.nbytes == 4 * 7 * 6


def test_the_cache_is_part_of_the_state():
    one, two = cached(size=3), cached(size=3)
    draw(one, QUERY, scores_of(*RISING))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.cache, two.cache)


def test_a_small_world_fills_the_cache_with_what_there_is():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    sampler = cached(graph, k=4, size=5)
    drawn = draw(sampler, make_queries(0, 0, 1), scores_of(1, 2))
    assert set(drawn.ids[0][drawn.mask[0]].tolist()) <= {0}
    assert set(cache_of(sampler)) == {0, 1}


def test_all_scores_are_counted():
    spent = []

    def score(ids):
        spent.append(ids.shape[1])
        return scores_of(*RISING)(ids)

    sampler = cached(size=4, fresh=3)
    draw(sampler, QUERY, score)
    assert sum(spent) == sampler.capabilities.num_extra_scores == 7


@pytest.mark.parametrize(
    "options, message",
    [
        ({"draw": "best"}, "draw is one of importance, top, uniform; got 'best'"),
        ({"keep": "uniform"}, "keep is one of importance, top; got 'uniform'"),
        ({"size": 0}, "a cache needs size of at least 1; got 0"),
        ({"fresh": 0}, "a cache needs fresh of at least 1; got 0"),
        ({"rows": 0}, "a cache needs rows of at least 1; got 0"),
        ({"draw": "top", "k": 3, "size": 2}, "a cache of size=2 has no top k=3"),
        ({"temperature": 0.0}, r"temperature of a cache is above 0; got 0\.0"),
        ({"k": 0}, "at least one candidate per query; got k=0"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        NSCaching(WORLD, **options)
