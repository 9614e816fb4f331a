import itertools
import math
from dataclasses import replace

import pytest
import torch
from samplers.worlds import chi_square, counted, draw, graph_of, make_queries, rng, scores_of

from sparring.batch import Queries
from sparring.corruption import tail_and_head_queries
from sparring.samplers import (
    MCNS,
    WARP,
    AllEntities,
    DynamicNegatives,
    KHop,
    MaskKnown,
    NegativeSampler,
    Popularity,
    Uniform,
)
from sparring.samplers.adaptive import NSCaching, write_first
from sparring.samplers.wrappers import ResampleKnown

POOL_WORLD = graph_of((0, 0, 1), (0, 0, 2), num_entities=8)
POOL_SCORES = (0.0, 3.0, 7.0, 6.0, 1.0, 5.0, 2.0, 4.0)  # the answer, 1, scores 3
POOL_QUERY = make_queries(0, 0, 1)


class Listed(NegativeSampler):
    """Offers the same candidates always, weighing the first most."""

    def __init__(self, *ids):
        super().__init__(len(ids))
        self.ids = torch.tensor([ids])

    def sample(self, queries, score, rng):
        drawn = self.to_negatives(queries, self.ids)
        return replace(drawn, weight=2.0 / torch.arange(1, self.k + 1).expand(drawn.weight.shape))


def hardest(inner, **options):
    return draw(
        DynamicNegatives(POOL_WORLD, inner=inner, **options), POOL_QUERY, scores_of(*POOL_SCORES)
    )


def until_wrong(inner, **options):
    return draw(WARP(POOL_WORLD, inner=inner, **options), POOL_QUERY, scores_of(*POOL_SCORES))


def test_the_hardest_come_first():
    assert hardest(AllEntities(POOL_WORLD), k=3).ids.tolist() == [[2, 3, 5]]


def test_the_second_hardest_leaves_out_the_first():
    assert hardest(AllEntities(POOL_WORLD), k=2, rank=2).ids.tolist() == [[3, 5]]


def test_hidden_facts_are_passed_over():
    hidden = MaskKnown(POOL_WORLD, inner=AllEntities(POOL_WORLD))
    assert counted(hardest(hidden, k=3), 1) == [3, 5, 7]


def test_hidden_facts_do_not_count_where_nothing_else_is_left():
    drawn = hardest(MaskKnown(POOL_WORLD, inner=Listed(1, 2, 6)), k=2)
    assert counted(drawn, 1) == [6]


def test_what_is_chosen_keeps_its_weight():
    assert hardest(Listed(4, 3), k=1).weight.tolist() == [[1.0]]


def test_a_query_that_all_entities_answer_has_no_hardest():
    graph = graph_of((0, 0, 0), (0, 0, 1), num_entities=2, num_relations=1)
    sampler = DynamicNegatives(graph, inner=MaskKnown(graph, inner=Uniform(graph, k=4)))
    assert not draw(sampler, make_queries(0, 0, 1), scores_of(1, 2)).mask.any()


def test_the_first_to_score_above_the_answer_is_offered():
    drawn = until_wrong(Listed(0, 6, 7, 2))
    assert counted(drawn, 1) == [7]


def test_a_margin_makes_a_try_wrong_earlier():
    assert counted(until_wrong(Listed(0, 6, 7, 2), margin=1.5), 1) == [6]


def test_a_tie_with_the_answer_is_not_wrong():
    tied = scores_of(3.0, 3.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0)
    drawn = draw(WARP(POOL_WORLD, inner=Listed(0, 2, 3)), POOL_QUERY, tied)
    assert counted(drawn, 1) == [3]


def test_nothing_counts_where_no_try_is_wrong():
    drawn = until_wrong(Listed(0, 4, 6))
    assert not drawn.mask.any()


def test_the_answer_itself_is_never_wrong():
    assert counted(until_wrong(Listed(1, 5), margin=9.0), 1) == [5]


def test_hidden_facts_are_no_tries_that_are_wrong():
    assert counted(until_wrong(MaskKnown(POOL_WORLD, inner=Listed(2, 5))), 1) == [5]


def test_every_search_has_its_own_share_of_the_pool():
    drawn = until_wrong(Listed(0, 2, 3, 5, 4, 6), k=3)
    assert drawn.ids[:, :2].tolist() == [[2, 3]]
    assert drawn.mask.tolist() == [[True, True, False]]


def test_a_late_find_weighs_less():
    """N - 1 = 7 others: found at try 1 the rank is 7, at try 3 it is 7 // 3 = 2."""
    early = until_wrong(Listed(2, 0, 0), by_rank=True)
    late = until_wrong(Listed(0, 0, 2), by_rank=True)
    assert early.weight.item() == pytest.approx(2.0 * sum(1 / i for i in range(1, 8)))
    assert late.weight.item() == pytest.approx(2.0 / 3 * (1 + 1 / 2))


def test_a_find_after_more_tries_than_entities_weighs_nothing():
    drawn = until_wrong(Listed(*[0] * 8, 2), by_rank=True)
    assert drawn.weight.tolist() == [[0.0]]


@pytest.mark.parametrize("make, asked", [(DynamicNegatives, 6), (WARP, 7)])
def test_pool_all_scores_are_counted(make, asked):
    spent = []

    def score(ids):
        spent.append(ids.shape[1])
        return scores_of(*POOL_SCORES)(ids)

    sampler = make(POOL_WORLD, inner=Uniform(POOL_WORLD, k=6))
    draw(sampler, POOL_QUERY, score)
    assert sum(spent) == sampler.capabilities.num_extra_scores == asked


@pytest.mark.parametrize("make", [DynamicNegatives, WARP])
def test_a_choice_states_no_density(make):
    sampler = make(POOL_WORLD, inner=Uniform(POOL_WORLD, k=6))
    assert not sampler.capabilities.has_log_q
    assert sampler.log_prob(POOL_QUERY, torch.zeros(1, 1, dtype=torch.long)) is None
    assert sampler.answer_log_prob(POOL_QUERY) is None
    assert draw(sampler, POOL_QUERY, scores_of(*POOL_SCORES)).log_q is None


@pytest.mark.parametrize("make", [DynamicNegatives, WARP])
def test_at_least_one_candidate(make):
    with pytest.raises(ValueError, match="at least one candidate per query; got k=0"):
        make(POOL_WORLD, inner=Uniform(POOL_WORLD, k=6), k=0)


def test_a_pool_must_hold_what_is_chosen():
    with pytest.raises(ValueError, match="ranks 2 to 3 are beyond a pool of 2 candidates"):
        DynamicNegatives(POOL_WORLD, inner=Uniform(POOL_WORLD, k=2), k=2, rank=2)


def test_ranks_begin_at_one():
    with pytest.raises(ValueError, match="rank 1 is the hardest candidate; got rank=0"):
        DynamicNegatives(POOL_WORLD, inner=Uniform(POOL_WORLD, k=2), rank=0)


def test_searches_share_a_pool_evenly():
    with pytest.raises(ValueError, match="pool of 5 candidates cannot be shared evenly by k=2"):
        WARP(POOL_WORLD, inner=Uniform(POOL_WORLD, k=5), k=2)


def test_a_margin_is_not_negative():
    with pytest.raises(ValueError, match=r"a margin is a distance, not below 0; got -1\.0"):
        WARP(POOL_WORLD, inner=Uniform(POOL_WORLD, k=5), margin=-1.0)


CACHE_WORLD = graph_of((0, 0, 1), (0, 0, 2), (3, 1, 4))
CACHE_QUERY = make_queries(0, 0, 1)
RISING = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


def cached(graph=CACHE_WORLD, **options):
    torch.manual_seed(0)
    return NSCaching(graph, **options)


def cache_of(sampler, queries=CACHE_QUERY):
    return sampler.cache[sampler.row(queries)][0].sort().values.tolist()


def fill(sampler, *ids):
    sampler.cache[sampler.row(CACHE_QUERY)] = torch.tensor(ids, dtype=torch.int32)


def test_the_top_of_everything_is_exact():
    sampler = cached(size=3, fresh=200, keep="top")
    draw(sampler, CACHE_QUERY, scores_of(*RISING))
    assert cache_of(sampler) == [3, 4, 5]


def test_importance_makes_the_cache_top_heavy():
    sampler = cached(size=2, fresh=3)
    source = rng()
    steep = scores_of(*(9 * s for s in RISING))
    for _ in range(60):
        sampler.sample(CACHE_QUERY, steep, source)
    assert cache_of(sampler) == [4, 5]


def test_flat_scores_keep_the_cache_spread():
    sampler = cached(size=1, fresh=1)
    source, kept = rng(), set()
    for _ in range(60):
        sampler.sample(CACHE_QUERY, scores_of(*[0.0] * 6), source)
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
    drawn = draw(sampler, CACHE_QUERY, scores_of(*RISING))
    assert set(drawn.ids[0].tolist()) == {0, 3}
    assert cache_of(sampler) == [4, 5]


def test_importance_draws_go_by_score():
    sampler = cached(k=20_000, size=2, draw="importance", temperature=2.0)
    fill(sampler, 0, 5)
    hard = draw(sampler, CACHE_QUERY, scores_of(*RISING)).ids.eq(5).double().mean().item()
    assert hard == pytest.approx(1 / (1 + math.exp(-5 / 2)), abs=5 * 0.5 / math.sqrt(20_000))


def test_top_draws_are_the_highest():
    sampler = cached(k=2, size=3, draw="top")
    fill(sampler, 0, 5, 4)
    assert draw(sampler, CACHE_QUERY, scores_of(*RISING)).ids.tolist() == [[5, 4]]


def test_a_temperature_flattens_what_is_kept():
    cold, hot = (cached(size=1, fresh=1, temperature=t) for t in (1e-3, 1e3))
    low = dict.fromkeys((cold, hot), 0)
    for sampler, seed in itertools.product(low, range(100)):
        fill(sampler, 0)
        draw(sampler, CACHE_QUERY, scores_of(*RISING), seed)
        low[sampler] += cache_of(sampler) == [0]
    assert low[cold] < 35 < low[hot]


@pytest.mark.parametrize("keep", ["importance", "top"])
def test_what_is_cached_and_drawn_afresh_is_kept_once(keep):
    sampler = cached(size=3, fresh=100, keep=keep)
    draw(sampler, CACHE_QUERY, scores_of(0, 0, 0, 0, 0, 9.0))
    assert len(set(cache_of(sampler))) == 3


def test_the_authors_keep_it_twice():
    sampler = cached(size=3, fresh=100, keep="top", compat=True)
    draw(sampler, CACHE_QUERY, scores_of(0, 0, 0, 0, 0, 9.0))
    assert cache_of(sampler) == [5, 5, 5]


def test_queries_have_caches_of_their_own():
    sampler = cached(size=2, fresh=9)
    before = cache_of(sampler, make_queries(3, 1, 4))
    draw(sampler, CACHE_QUERY, scores_of(*RISING))
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
    write_first(table, torch.tensor([2, 0, 2]), values)
    assert table.flatten().tolist() == [6, 0, 5]


def test_facts_can_be_dropped():
    sampler = cached(size=3, fresh=200, keep="top", drop_known=True)
    draw(sampler, CACHE_QUERY, scores_of(0, 9, 9, 1, 2, 3))
    assert cache_of(sampler) == [3, 4, 5]


def test_facts_that_are_not_dropped_are_hidden_by_a_wrapper():
    sampler = cached(k=3, size=3, fresh=200, keep="top", draw="top")
    fill(sampler, 1, 2, 3)
    drawn = draw(MaskKnown(CACHE_WORLD, inner=sampler), CACHE_QUERY, scores_of(0, 9, 8, 7, 6, 5))
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
    draw(one, CACHE_QUERY, scores_of(*RISING))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.cache, two.cache)


def test_a_small_world_fills_the_cache_with_what_there_is():
    graph = graph_of((0, 0, 1), num_entities=2, num_relations=1)
    sampler = cached(graph, k=4, size=5)
    drawn = draw(sampler, make_queries(0, 0, 1), scores_of(1, 2))
    assert set(drawn.ids[0][drawn.mask[0]].tolist()) <= {0}
    assert set(cache_of(sampler)) == {0, 1}


def test_cache_all_scores_are_counted():
    spent = []

    def score(ids):
        spent.append(ids.shape[1])
        return scores_of(*RISING)(ids)

    sampler = cached(size=4, fresh=3)
    draw(sampler, CACHE_QUERY, score)
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
        NSCaching(CACHE_WORLD, **options)


N = 9
CHAIN_WORLD = graph_of((0, 0, 8), (0, 0, 1), (1, 0, 2), (2, 1, 3), (5, 1, 0), num_entities=N)
CHAIN_QUERY = (0, 0, 8)  # leaves the eight others
CHAIN_SCORES = torch.tensor([0.0, 2.0, -1.0, 1.0, 3.0, -2.0, 0.5, 1.5, 9.0])


def target(alpha, counts):
    return (alpha * CHAIN_SCORES).double().masked_fill(~counts, -torch.inf).softmax(0)


def after(steps, alpha, share, counts):
    """The exact law of a chain of independent proposals, from its transition matrix."""
    aim = target(alpha, counts)
    ratio = (aim.unsqueeze(0) * share.unsqueeze(1)) / (aim.unsqueeze(1) * share.unsqueeze(0))
    move = share * ratio.nan_to_num(0.0, posinf=1.0).clamp(max=1.0)
    move += torch.diag(1 - move.sum(1))
    return share @ torch.linalg.matrix_power(move, steps)


def ends(sampler, draws=20_000):
    times = draws // sampler.k
    queries, score = (
        make_queries(*CHAIN_QUERY, times=times),
        scores_of(*CHAIN_SCORES.tolist(), times=times),
    )
    drawn = sampler.sample(queries, score, rng(2))
    return torch.bincount(drawn.ids[drawn.mask], minlength=N).double()


def counts_of(*left_out):
    counts = torch.ones(N, dtype=torch.bool)
    counts[list(left_out)] = False
    return counts


def proposal():
    return KHop(CHAIN_WORLD, k=50, hops=2, uniform_mix=0.5)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_long_chains_follow_the_scores(alpha):
    tally = ends(MCNS(CHAIN_WORLD, inner=proposal(), steps=60, alpha=alpha))
    off = (tally / tally.sum() - target(alpha, counts_of(8))).abs().sum() / 2
    assert off < 0.02


@pytest.mark.parametrize("steps", [1, 3])
def test_short_chains_follow_their_exact_law(steps):
    share = (
        proposal()
        .log_prob(make_queries(*CHAIN_QUERY), torch.arange(N).unsqueeze(0))[0]
        .double()
        .exp()
    )
    law = after(steps, 0.75, share, counts_of(8))
    tally = ends(MCNS(CHAIN_WORLD, inner=proposal(), steps=steps))
    law[8] = 0.0  # a chain that has seen the answer only does not count
    assert chi_square(tally, law / law.sum()) < 5


def test_hidden_facts_are_never_moved_to():
    inner = MaskKnown(CHAIN_WORLD, inner=proposal())
    tally = ends(MCNS(CHAIN_WORLD, inner=inner, steps=60, alpha=1.0))
    aim = target(1.0, counts_of(1, 8))
    assert (tally / tally.sum() - aim).abs().sum() / 2 < 0.02


def test_proposals_that_are_redrawn_are_weighed_by_their_own_density():
    inner = ResampleKnown(CHAIN_WORLD, inner=Popularity(CHAIN_WORLD, k=50))
    tally = ends(MCNS(CHAIN_WORLD, inner=inner, steps=60, alpha=1.0))
    reachable = CHAIN_WORLD.degree > 0
    aim = target(1.0, counts_of(1, 8) & reachable)
    assert (tally / tally.sum() - aim).abs().sum() / 2 < 0.02


def test_chains_of_a_batch_decide_apart():
    sampler = MCNS(CHAIN_WORLD, inner=Uniform(CHAIN_WORLD, k=1), steps=1, alpha=1.0)
    drawn = draw(
        sampler, make_queries(*CHAIN_QUERY, times=400), scores_of(*CHAIN_SCORES.tolist(), times=400)
    )
    assert len(drawn.ids.unique()) == N


class Turns(Uniform):
    """Proposes entity 1 to all queries, the next time entity 2."""

    turn = 0

    def sample(self, queries, score, rng):
        self.turn += 1
        return self.to_negatives(queries, torch.full((len(queries), self.k), self.turn))


@pytest.mark.parametrize("compat", [False, True])
def test_the_authors_chains_move_together(compat):
    queries, found = make_queries(0, 0, 5, times=50), set()
    scores = scores_of(0.0, 1.0, 0.3, *[0.0] * (N - 3), times=50)  # half of the chains move to 2
    for seed in range(10):
        chains = MCNS(CHAIN_WORLD, inner=Turns(CHAIN_WORLD, k=4), steps=1, alpha=1.0, compat=compat)
        found.add(tuple(draw(chains, queries, scores, seed).ids.unique().tolist()))
    assert found == ({(1,), (2,)} if compat else {(1, 2)})


def test_a_chain_states_no_density():
    sampler = MCNS(CHAIN_WORLD, inner=proposal())
    assert not sampler.capabilities.has_log_q
    assert sampler.log_prob(make_queries(*CHAIN_QUERY), torch.zeros(1, 1, dtype=torch.long)) is None
    assert sampler.answer_log_prob(make_queries(*CHAIN_QUERY)) is None


def test_chain_all_scores_are_counted():
    spent = []

    def score(ids):
        spent.append(ids.shape[1])
        return scores_of(*CHAIN_SCORES.tolist())(ids)

    sampler = MCNS(CHAIN_WORLD, inner=Uniform(CHAIN_WORLD, k=4), steps=3)
    draw(sampler, make_queries(*CHAIN_QUERY), score)
    assert sum(spent) == sampler.capabilities.num_extra_scores == 16


def test_a_query_that_all_entities_answer_gets_no_negatives():
    graph = graph_of((0, 0, 0), (0, 0, 1), num_entities=2, num_relations=1)
    inner = MaskKnown(graph, inner=Uniform(graph, k=4))
    drawn = draw(MCNS(graph, inner=inner), make_queries(0, 0, 1), scores_of(1, 2))
    assert not drawn.mask.any()


def test_a_proposal_without_density_is_refused():
    with pytest.raises(ValueError, match="DynamicNegatives has no `log_prob`"):
        MCNS(CHAIN_WORLD, inner=DynamicNegatives(CHAIN_WORLD, inner=Uniform(CHAIN_WORLD, k=3)))


def test_at_least_one_step():
    with pytest.raises(ValueError, match="takes 1 to 1000 steps; got steps=0"):
        MCNS(CHAIN_WORLD, inner=Uniform(CHAIN_WORLD, k=3), steps=0)


def test_low_scores_are_not_preferred():
    with pytest.raises(ValueError, match=r"prefer low scores; got alpha=-0\.5"):
        MCNS(CHAIN_WORLD, inner=Uniform(CHAIN_WORLD, k=3), alpha=-0.5)
