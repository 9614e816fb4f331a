import pytest
import torch
from samplers.worlds import chi_square, draw, graph_of, make_queries, rng, scores_of

from sparring.samplers import MCNS, DynamicNegatives, KHop, MaskKnown, Popularity, Uniform
from sparring.samplers.wrappers import ResampleKnown

N = 9
WORLD = graph_of((0, 0, 8), (0, 0, 1), (1, 0, 2), (2, 1, 3), (5, 1, 0), num_entities=N)
QUERY = (0, 0, 8)  # leaves the eight others
SCORES = torch.tensor([0.0, 2.0, -1.0, 1.0, 3.0, -2.0, 0.5, 1.5, 9.0])


def target(alpha, counts):
    return (alpha * SCORES).double().masked_fill(~counts, -torch.inf).softmax(0)


def after(steps, alpha, share, counts):
    """The exact law of a chain of independent proposals, from its transition matrix."""
    aim = target(alpha, counts)
    ratio = (aim.unsqueeze(0) * share.unsqueeze(1)) / (aim.unsqueeze(1) * share.unsqueeze(0))
    move = share * ratio.nan_to_num(0.0, posinf=1.0).clamp(max=1.0)
    move += torch.diag(1 - move.sum(1))
    return share @ torch.linalg.matrix_power(move, steps)


def ends(sampler, draws=20_000):
    times = draws // sampler.k
    queries, score = make_queries(*QUERY, times=times), scores_of(*SCORES.tolist(), times=times)
    drawn = sampler.sample(queries, score, rng(2))
    return torch.bincount(drawn.ids[drawn.mask], minlength=N).double()


def counts_of(*left_out):
    counts = torch.ones(N, dtype=torch.bool)
    counts[list(left_out)] = False
    return counts


def proposal():
    return KHop(WORLD, k=50, hops=2, floor=0.5)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_long_chains_follow_the_scores(alpha):
    tally = ends(MCNS(WORLD, inner=proposal(), steps=60, alpha=alpha))
    off = (tally / tally.sum() - target(alpha, counts_of(8))).abs().sum() / 2
    assert off < 0.02


@pytest.mark.parametrize("steps", [1, 3])
def test_short_chains_follow_their_exact_law(steps):
    share = (
        proposal().log_prob(make_queries(*QUERY), torch.arange(N).unsqueeze(0))[0].double().exp()
    )
    law = after(steps, 0.75, share, counts_of(8))
    tally = ends(MCNS(WORLD, inner=proposal(), steps=steps))
    law[8] = 0.0  # a chain that has seen the answer only does not count
    assert chi_square(tally, law / law.sum()) < 5


def test_hidden_facts_are_never_moved_to():
    inner = MaskKnown(WORLD, inner=proposal())
    tally = ends(MCNS(WORLD, inner=inner, steps=60, alpha=1.0))
    aim = target(1.0, counts_of(1, 8))
    assert (tally / tally.sum() - aim).abs().sum() / 2 < 0.02


def test_proposals_that_are_redrawn_are_weighed_by_their_own_density():
    inner = ResampleKnown(WORLD, inner=Popularity(WORLD, k=50))
    tally = ends(MCNS(WORLD, inner=inner, steps=60, alpha=1.0))
    reachable = WORLD.degree > 0
    aim = target(1.0, counts_of(1, 8) & reachable)
    assert (tally / tally.sum() - aim).abs().sum() / 2 < 0.02


def test_chains_of_a_batch_decide_apart():
    sampler = MCNS(WORLD, inner=Uniform(WORLD, k=1), steps=1, alpha=1.0)
    drawn = draw(sampler, make_queries(*QUERY, times=400), scores_of(*SCORES.tolist(), times=400))
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
        chains = MCNS(WORLD, inner=Turns(WORLD, k=4), steps=1, alpha=1.0, compat=compat)
        found.add(tuple(draw(chains, queries, scores, seed).ids.unique().tolist()))
    assert found == ({(1,), (2,)} if compat else {(1, 2)})


def test_a_chain_states_no_density():
    sampler = MCNS(WORLD, inner=proposal())
    assert not sampler.capabilities.has_log_q
    assert sampler.log_prob(make_queries(*QUERY), torch.zeros(1, 1, dtype=torch.long)) is None
    assert sampler.answer_log_prob(make_queries(*QUERY)) is None


def test_all_scores_are_counted():
    spent = []

    def score(ids):
        spent.append(ids.shape[1])
        return scores_of(*SCORES.tolist())(ids)

    sampler = MCNS(WORLD, inner=Uniform(WORLD, k=4), steps=3)
    draw(sampler, make_queries(*QUERY), score)
    assert sum(spent) == sampler.capabilities.num_extra_scores == 16


def test_a_query_that_all_entities_answer_gets_no_negatives():
    graph = graph_of((0, 0, 0), (0, 0, 1), num_entities=2, num_relations=1)
    inner = MaskKnown(graph, inner=Uniform(graph, k=4))
    drawn = draw(MCNS(graph, inner=inner), make_queries(0, 0, 1), scores_of(1, 2))
    assert not drawn.mask.any()


def test_a_proposal_without_density_is_refused():
    with pytest.raises(ValueError, match="DynamicNegatives states no closed one"):
        MCNS(WORLD, inner=DynamicNegatives(WORLD, inner=Uniform(WORLD, k=3)))


def test_at_least_one_step():
    with pytest.raises(ValueError, match="at least one step; got steps=0"):
        MCNS(WORLD, inner=Uniform(WORLD, k=3), steps=0)


def test_low_scores_are_not_preferred():
    with pytest.raises(ValueError, match=r"prefer low scores; got alpha=-0\.5"):
        MCNS(WORLD, inner=Uniform(WORLD, k=3), alpha=-0.5)
