"""Filtered ranks, the metrics made of them, and the memory that ranking takes."""

import math

import pytest
import torch
from evaluation.fixtures import (
    FEW,
    Table,
    evaluation_of,
    graph_of,
    random_graph,
    seeded,
    triples_of,
)
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from sparring import kernels
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import TrainGraph
from sparring.data.index import TripleIndex
from sparring.evaluation.ranking import PRECISIONS, chunk_sizes, evaluate, filtered_rank
from sparring.models import ComplEx, TransE, TransH

SEEDS = st.integers(0, 10_000)


def rank_in_a_loop(mine, others):
    return 1 + sum(s > mine for s in others) + sum(s == mine for s in others) / 2


def ranks_in_loops(graph, model, triples):
    facts = {tuple(t) for split in (graph.train, graph.valid, graph.test) for t in split.tolist()}
    ranks = []
    for side in ("tail", "head"):
        for head, relation, tail in triples.tolist():
            anchor, answer = (head, tail) if side == "tail" else (tail, head)
            asked = relation if side == "tail" else relation + len(graph.relations)
            scores = model.scores[anchor, asked].tolist()
            others = [
                score
                for entity, score in enumerate(scores)
                if ((head, relation, entity) if side == "tail" else (entity, relation, tail))
                not in facts
            ]
            ranks.append(rank_in_a_loop(scores[answer], others))
    return ranks


@FEW
@given(SEEDS, st.sampled_from([1, 2, 4, None]))
def test_ranks_are_those_of_a_plain_loop(seed, levels):
    graph = random_graph(entities=7, size=30, seed=seed)
    model = Table.random(graph, levels=levels, seed=seed)
    got = evaluate(model, graph.test, graph.known).rank
    assert got.tolist() == ranks_in_loops(graph, model, graph.test)


def test_tails_come_first_then_heads_under_the_inverse_relation():
    graph = graph_of([(0, 1, 2)], test=[(3, 0, 4)])
    found = evaluate(Table.random(graph), graph.test, graph.known)
    assert found.anchor.tolist() == [3, 4]
    assert found.relation.tolist() == [0, 2]
    assert found.answer.tolist() == [4, 3]


def test_candidates_are_the_answer_and_what_is_not_known_to_answer():
    graph = graph_of([(0, 0, 1), (0, 0, 2), (5, 0, 3)], test=[(0, 0, 3)])
    found = evaluate(Table.random(graph), graph.test, graph.known)
    assert found.candidates.tolist() == [6 - 2, 6 - 1]


def test_with_equal_scores_the_answer_is_in_the_middle():
    graph = random_graph()
    found = evaluate(Table.of_entities(graph, [0.0] * 12), graph.test, graph.known)
    assert found.rank.tolist() == ((found.candidates + 1) / 2).tolist()


def test_an_answer_that_can_never_be_is_last():
    graph = graph_of([(0, 0, 0)], test=[(1, 0, 2)])
    model = Table.of_entities(graph, [1.0, 2.0, -math.inf, 3.0, 4.0, 5.0])
    assert evaluate(model, graph.test, graph.known).rank[0] == 6


def test_answers_that_can_never_be_tie():
    graph = graph_of([(0, 0, 0)], test=[(1, 0, 2)])
    model = Table.of_entities(graph, [-math.inf] * 6)
    assert evaluate(model, graph.test, graph.known).rank[0] == 3.5


@FEW
@given(SEEDS)
def test_filtering_never_makes_a_rank_worse(seed):
    graph = random_graph(seed=seed)
    model = Table.random(graph, levels=5, seed=seed)
    nothing = TripleIndex(graph.train[:0], len(graph.entities), len(graph.relations))
    raw = evaluate(model, graph.test, nothing).rank
    assert (evaluate(model, graph.test, graph.known).rank <= raw).all()


@FEW
@given(SEEDS, st.sampled_from([torch.exp, lambda s: 3 * s - 7, lambda s: s**3, torch.atan]))
def test_only_the_order_of_scores_matters(seed, transform):
    graph = random_graph(seed=seed)
    model = Table.random(graph, levels=6, seed=seed)
    before = evaluate(model, graph.test, graph.known).rank
    model.scores = transform(model.scores - 3)
    assert torch.equal(evaluate(model, graph.test, graph.known).rank, before)


@FEW
@given(SEEDS)
def test_ranks_lie_between_one_and_the_number_of_candidates(seed):
    graph = random_graph(seed=seed)
    found = evaluate(Table.random(graph, levels=3, seed=seed), graph.test, graph.known)
    assert ((found.rank >= 1) & (found.rank <= found.candidates)).all()


@pytest.mark.parametrize("chunk", range(1, 14))
def test_chunks_of_any_size_give_the_same_ranks(chunk):
    graph = random_graph()
    model = Table.random(graph, levels=4)
    queries = tail_and_head_queries(graph.test, 3)
    whole, _ = filtered_rank(queries, model(queries), graph.known, chunk=12)
    cut, _ = filtered_rank(queries, model(queries), graph.known, chunk=chunk)
    assert torch.equal(cut, whole)


@pytest.mark.parametrize("max_scores", [1, 2, 5, 11, 12, 13, 64, 100, 10_000])
def test_scores_held_at_once_stay_below_the_bound(max_scores):
    graph = random_graph()
    model = Table.random(graph)
    evaluate(model, graph.test, graph.known, max_scores=max_scores)
    assert max(rows * width for rows, width in model.blocks) <= max_scores


@pytest.mark.parametrize("max_scores", [1, 2, 5, 11, 12, 13, 64, 100])
def test_the_bound_on_scores_does_not_change_ranks(max_scores):
    graph = random_graph()
    model = Table.random(graph, levels=4)
    free = evaluate(model, graph.test, graph.known)
    bound = evaluate(model, graph.test, graph.known, max_scores=max_scores)
    assert torch.equal(bound.rank, free.rank)


def test_every_pair_of_query_and_entity_is_scored_once_where_memory_allows():
    graph = random_graph()
    model = Table.random(graph)
    evaluate(model, graph.test, graph.known)
    assert model.blocks == [(2 * len(graph.test), 12)]


def test_the_batch_bounds_what_is_encoded_together():
    graph = random_graph()
    model = Table.random(graph)
    evaluate(model, graph.test, graph.known, batch_size=7)
    assert max(model.encoded) == 7
    assert sum(model.encoded) == 2 * len(graph.test)


def test_the_scores_of_a_model_are_not_written_into():
    graph = graph_of([(0, 0, 1), (0, 0, 2)], test=[(0, 0, 3)])
    queries, scores = tail_and_head_queries(graph.test, 2), torch.ones(2, 6)
    filtered_rank(queries, lambda ids: scores[:, : ids.shape[1]], graph.known, chunk=6)
    assert torch.equal(scores, torch.ones(2, 6))


def test_nan_is_an_error_not_a_good_rank():
    graph = graph_of([(0, 0, 1)], test=[(3, 1, 4)])
    model = Table.of_entities(graph, [math.nan] * 6)
    message = "2 of 2 queries have NaN scores; the first asks for relation 1 of entity 3"
    with pytest.raises(FloatingPointError, match=message):
        evaluate(model, graph.test, graph.known)


@pytest.mark.parametrize("broken", range(6))
def test_nan_is_found_in_every_chunk(broken):
    graph = graph_of([(0, 0, 1)], test=[(3, 1, 4)])
    model = Table.of_entities(graph, [math.nan if e == broken else 0.0 for e in range(6)])
    with pytest.raises(FloatingPointError, match="2 of 2 queries have NaN"):
        evaluate(model, graph.test, graph.known, max_scores=4)


@pytest.mark.parametrize("max_scores", [13, 10_000])
def test_compiled_comparisons_find_the_same_ranks(max_scores):
    graph = random_graph()
    model = Table.random(graph, levels=4)
    compiled = evaluate(model, graph.test, graph.known, max_scores=max_scores)
    with kernels.disabled():
        plain = evaluate(model, graph.test, graph.known, max_scores=max_scores)
    assert torch.equal(compiled.rank, plain.rank)


@pytest.mark.parametrize("threads", [1, 2])
def test_ranks_do_not_depend_on_threads(threads):
    graph, before = random_graph(entities=500, size=4000), torch.get_num_threads()
    torch.manual_seed(0)
    model = TransE(graph.training, dim=16)
    alone = evaluate(model, graph.test, graph.known)
    try:
        torch.set_num_threads(threads)
        assert torch.equal(evaluate(model, graph.test, graph.known).rank, alone.rank)
    finally:
        torch.set_num_threads(before)


def test_16_bits_rank_nearly_alike_and_see_more_ties():
    graph = random_graph(entities=200, size=2000)
    torch.manual_seed(0)
    model = ComplEx(graph.training, dim=32)
    ranks = {how: evaluate(model, graph.test, graph.known, precision=how) for how in PRECISIONS}
    fine, coarse = (ranks[how].rank for how in PRECISIONS)
    assert 0 < (fine - coarse).abs().mean() < 1
    halves = lambda rank: (rank % 1 != 0).sum()
    assert halves(coarse) > halves(fine) == 0


def test_a_precision_of_another_name_is_an_error():
    graph = random_graph()
    with pytest.raises(ValueError, match="precision is one of float32, bfloat16; got 'half'"):
        evaluate(Table.random(graph), graph.test, graph.known, precision="half")


def test_no_triples_are_an_error():
    graph = graph_of([(0, 0, 1)])
    with pytest.raises(ValueError, match="there are no triples to evaluate on"):
        evaluate(Table.random(graph), triples_of(), graph.known)


@pytest.mark.parametrize("option", ["batch_size", "max_scores"])
def test_nothing_at_once_is_an_error(option):
    graph = graph_of([(0, 0, 1)], test=[(3, 1, 4)])
    with pytest.raises(ValueError, match=f"{option} must be at least 1; got 0"):
        evaluate(Table.random(graph), graph.test, graph.known, **{option: 0})


class Dropping(Table):
    """With dropout on its scores, and one part that is never to train."""

    def __init__(self, scores):
        super().__init__(scores)
        self.drop = torch.nn.Dropout(0.5)
        self.frozen = torch.nn.Dropout(0.5).eval()

    def forward(self, queries):
        score = super().forward(queries)
        return lambda ids: self.frozen(self.drop(score(ids)))


def test_nothing_is_dropped_while_judging():
    graph = random_graph()
    scores = Table.random(graph).scores
    found = evaluate(Dropping(scores).train(), graph.test, graph.known).rank
    assert torch.equal(found, evaluate(Table(scores), graph.test, graph.known).rank)


def test_every_part_of_the_model_ends_in_the_mode_it_came_in():
    graph = random_graph()
    model = Dropping(Table.random(graph).scores)
    evaluate(model, graph.test, graph.known)
    assert [part.training for part in (model, model.drop, model.frozen)] == [True, True, False]


def test_the_mode_is_restored_after_an_error():
    graph = graph_of([(0, 0, 1)], test=[(3, 1, 4)])
    model = Dropping(Table.of_entities(graph, [math.nan] * 6).scores)
    with pytest.raises(FloatingPointError):
        evaluate(model, graph.test, graph.known)
    assert model.drop.training


def test_no_gradients_are_kept():
    graph = random_graph()
    scores = torch.nn.Parameter(Table.random(graph).scores)
    seen = []

    class Watched(Table):
        def forward(self, queries):
            score = super().forward(queries)
            return lambda ids: seen.append(score(ids).requires_grad) or score(ids)

    evaluate(Watched(scores), graph.test, graph.known)
    assert seen == [False]


FOUR = evaluation_of([(0, 0, 1), (2, 1, 3)], [1, 2], [4, 20.5])


def test_mrr_by_hand():
    assert FOUR.mrr() == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 20.5) / 4)


def test_mean_rank_by_hand():
    assert FOUR.mr() == (1 + 2 + 4 + 20.5) / 4


@pytest.mark.parametrize(
    "k, share", [(1, 0.25), (2, 0.5), (3, 0.5), (4, 0.75), (20, 0.75), (21, 1)]
)
def test_hits_by_hand(k, share):
    assert FOUR.hits(k) == share


def test_amri_of_perfection_is_one():
    assert evaluation_of([(0, 0, 1)], [1], [1]).amri() == 1


def test_amri_of_chance_is_zero():
    assert evaluation_of([(0, 0, 1)], [51], [51], candidates=101).amri() == 0


def test_amri_of_the_worst_ranks_is_minus_one():
    assert evaluation_of([(0, 0, 1)], [101], [101], candidates=101).amri() == -1


def test_amri_is_one_ratio_of_means_not_a_mean_of_ratios():
    graph = graph_of([(0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 0, 4)], test=[(0, 0, 5)])
    model = Table.of_entities(graph, [3.0, 0, 0, 0, 0, 1.0])
    found = evaluate(model, graph.test, graph.known)  # rank 2 of 2, and rank 1 of 6
    assert found.amri() == pytest.approx(1 - (1 + 0) / (0.5 + 2.5))


def test_without_other_candidates_amri_is_that_of_chance():
    assert evaluation_of([(0, 0, 1)], [1], [1], candidates=1).amri() == 0


@pytest.mark.parametrize(
    "batch_size, max_scores, entities, plan",
    [
        (1024, 10_000, 10, (1000, 10)),  # whole rows, as many as fit
        (100, 10_000, 10, (100, 10)),  # no more than the batch
        (1024, 10_000, 1000, (64, 156)),  # few whole rows fit: cut them instead
        (8, 10_000, 1000, (8, 1000)),  # but a small batch may have whole rows
        (1024, 10, 1000, (10, 1)),
        (1024, 1, 1000, (1, 1)),
    ],
)
def test_rows_and_columns_share_the_bound(batch_size, max_scores, entities, plan):
    assert chunk_sizes(batch_size, max_scores, entities) == plan


ENTITIES, DIM = 3000, 64
BYTES = {
    "inner products": (ComplEx, {}, 4),
    "L1 distances": (TransE, {}, 4),
    "L2 distances": (TransE, {"norm": 2}, 12),
    "projections": (TransH, {}, 24),
}


def large_graph():
    head, tail = torch.randint(ENTITIES, (2, 4000), generator=seeded())
    return TrainGraph(torch.stack([head, head % 7, tail], 1), ENTITIES, 7)


def peak_bytes(work):
    """Most bytes that the work held at once, by the account of PyTorch."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        work()
    events = watch.profiler.kineto_results.events()
    steps = [event for event in events if event.name() == "[memory]"]
    steps.sort(key=lambda event: event.start_ns())
    return torch.tensor([event.nbytes() for event in steps]).cumsum(0).max().item()


def bytes_per_score(graph, maker, options, max_scores):
    """Most bytes held per score, without the vectors of a chunk's entities."""
    torch.manual_seed(0)
    model = maker(graph, dim=DIM, **options)
    triples = graph.triples[:600]
    work = lambda: evaluate(model, triples, graph.known, max_scores=max_scores)
    work()  # what is made once and kept, such as the search table of facts
    batch, chunk = chunk_sizes(1024, max_scores, ENTITIES)
    return (peak_bytes(work) - 4 * DIM * chunk) / (batch * chunk)


@pytest.mark.parametrize("max_scores", [2**17, 2**19, 2**21])
@pytest.mark.parametrize("maker, options, most", BYTES.values(), ids=BYTES)
def test_each_score_takes_no_more_than_documented(maker, options, most, max_scores):
    assert bytes_per_score(large_graph(), maker, options, max_scores) < most + 3


def test_without_compiled_loops_each_score_takes_nine_bytes():
    with kernels.disabled():
        assert 8 < bytes_per_score(large_graph(), ComplEx, {}, 2**21) < 9.5
