"""Training, ranks and best answers do not depend on the number of ranks."""

import pytest
import torch
from distributed.ranks import made, on_ranks, small_graph, trainer

from sparring.batch import Queries
from sparring.distributed import world
from sparring.distributed.generator import ShardedGenerator
from sparring.distributed.ranking import best_answers, evaluate, known_answers
from sparring.evaluation.ranking import evaluate as evaluate_in_one_process
from sparring.models import MODELS

MODEL_NAMES = ["complex", "distmult", "rescal", "transe", "rotate", "rote"]
CASES = ["complex", *(pytest.param(name, marks=pytest.mark.slow) for name in MODEL_NAMES[1:])]


def trained(graph, folder, epochs, given):
    """Losses, ranks and best answers of a training, and all rows by entity."""
    one = trainer(graph, folder, epochs=epochs, **given)
    losses = [row.values["loss"] for row in one.run() if row.kind == "progress"]
    return losses, *results(graph, one)


def results(graph, one):
    """Ranks, best answers, and all rows of the model's tables by entity."""
    everything = known_answers(torch.cat([graph.train, graph.valid, graph.test]), one.layout)
    ranks = evaluate(one.step.model, graph.test, everything, one.layout, batch_size=7).rank
    anchor, relation, answer = graph.test.unbind(1)
    queries = Queries(anchor, relation, answer, torch.ones(len(anchor)))
    best = best_answers(one.step.model, queries, everything, one.layout, 5)
    table = one.step.model.entity
    with torch.no_grad():
        rows = table(torch.arange(table.num_embeddings))
    return ranks, *best, rows


@pytest.mark.parametrize("model", CASES)
def test_a_training_is_the_same_on_two_ranks(tmp_path, model):
    graph = small_graph()
    given = (graph, tmp_path, 2, {"model": model})
    alone, together = (on_ranks(number, trained, *given) for number in (1, 2))
    for rank in together:
        assert rank[0] == pytest.approx(alone[0][0], rel=1e-5)
        torch.testing.assert_close(rank[-1], alone[0][-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["complex", "transe"])
def test_shared_lists_travel_to_the_queries(tmp_path, model):
    """Fewer candidates than ranks, where rows are fetched instead of queries sent."""
    graph = small_graph()

    def scores(number):
        def some():
            _, step = made(graph, model)
            first = world.rank() * 8 // number
            mine = graph.train[:8][first : first + 8 // number]
            queries = step.corruption(mine, torch.Generator())
            with torch.no_grad():
                score = step.model(queries)
                lists = torch.arange(6).view(1, -1)
                return world.gather_all(score(lists)), world.gather_all(
                    score(lists.repeat(len(mine), 1))
                )

        return on_ranks(number, some)[0]

    for one, other in zip(scores(1), scores(2)):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(*scores(1))


def from_checkpoint(graph, folder):
    one = trainer(graph, folder)
    one.resume()
    return results(graph, one)


def whole_model(graph, rows, relations):
    """The same model in one process."""
    model = MODELS["complex"](graph.training, dim=8)
    with torch.no_grad():
        model.entity.weight.copy_(rows)
        model.relation.weight.copy_(relations)
    return model


@pytest.mark.slow
def test_ranks_and_best_answers_of_a_checkpoint_have_the_same_bits_on_any_number_of_ranks(tmp_path):
    graph = small_graph()
    saved = on_ranks(4, trained, graph, tmp_path, 2, {})
    found = [on_ranks(number, from_checkpoint, graph, tmp_path) for number in (1, 2, 4)]
    for rank in (row for rows in found for row in rows):
        for one, other in zip(rank, saved[0][1:]):
            assert torch.equal(one, other)


def ranks_and_parameters(graph, folder):
    one = trainer(graph, folder)
    everything = known_answers(torch.cat([graph.train, graph.valid, graph.test]), one.layout)
    found = evaluate(one.step.model, graph.test, everything, one.layout)
    rows = one.step.model.entity(torch.arange(len(graph.entities))).detach()
    return found.rank, found.candidates, rows, one.step.model.relation.weight.detach()


def test_ranks_are_those_of_one_process(tmp_path):
    graph = small_graph()
    rank, candidates, rows, relations = on_ranks(2, ranks_and_parameters, graph, tmp_path)[1]
    expected = evaluate_in_one_process(whole_model(graph, rows, relations), graph.test, graph.known)
    assert torch.equal(rank, expected.rank)
    assert torch.equal(candidates, expected.candidates)


def half(graph, folder, given):
    one = trainer(graph, folder, epochs=1, **given)
    list(one.run())


def rest(graph, folder, given, epochs=2):
    one = trainer(graph, folder, epochs=epochs, **given)
    one.resume()
    one.progress.finished = False
    losses = [row.values["loss"] for row in one.run() if row.kind == "progress"]
    return losses, one.step.model.entity(torch.arange(len(graph.entities))).detach()


@pytest.mark.slow
def test_a_training_goes_on_with_fewer_ranks(tmp_path):
    """On four, then on two, then on one."""
    graph = small_graph()
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = on_ranks(1, trained, graph, tmp_path / "whole", 3, {})[0]
    on_ranks(4, half, graph, tmp_path / "parts", {})
    on_ranks(2, rest, graph, tmp_path / "parts", {})
    losses, rows = on_ranks(1, rest, graph, tmp_path / "parts", {}, 3)[0]
    assert losses == pytest.approx(whole[0][len(whole[0]) - len(losses) :], rel=1e-5)
    torch.testing.assert_close(rows, whole[-1], rtol=1e-4, atol=1e-5)


def first_steps(graph, folder):
    one = trainer(graph, folder, epochs=1, sampler=ShardedGenerator)
    return [row.values["loss"] for row in one.run() if row.kind == "progress"][:3]


def test_the_generator_trains_alike_on_two_ranks(tmp_path):
    """Later on, Adam amplifies what rounding does to gradients near 0."""
    graph = small_graph()
    alone, together = (on_ranks(n, first_steps, graph, tmp_path)[0] for n in (1, 2))
    assert alone == pytest.approx(together, rel=1e-4)
