import torch

import sparring
from sparring.batch import Queries
from sparring.models.base import KGEModel
from sparring.serve.missing import probably_missing


class ById(KGEModel):
    """Prefers large ids."""

    def forward(self, queries: Queries):
        return lambda ids: ids.float().expand(len(queries), -1)


def graph_of(**splits):
    return sparring.load_graph(
        {name: [tuple(row.split()) for row in rows] for name, rows in splits.items()}
    )


def found(graph, **options):
    return {
        tuple(row)
        for part in probably_missing(ById(), graph, **options)
        for row in part.triples.tolist()
    }


def named(graph, triples):
    names, relations = graph.entities, graph.relations
    return {f"{names[h]} {relations[r]} {names[t]}" for h, r, t in triples}


def test_the_best_answers_that_are_no_facts(tmp_path):
    graph = graph_of(train=["a r x", "a r y", "b r x", "c r z"], test=["b r y"])
    # heads are a, b, c and tails are x, y, z; facts of all splits and the query's own are left out
    assert named(graph, found(graph, per_query=1)) == {"a r z", "b r z", "c r x", "c r y"} | {
        "c r y"
    }
    everything = {f"{h} r {t}" for h in "abc" for t in "xyz"}
    facts = {"a r x", "a r y", "b r x", "c r z", "b r y"}
    assert named(graph, found(graph, per_query=9)) == everything - facts


def test_batches_change_nothing():
    graph = graph_of(train=["a r x", "a r y", "b r x", "c s z", "z s a", "x s c"])
    whole = found(graph, per_query=2)
    assert found(graph, per_query=2, batch_size=1) == whole
    assert found(graph, per_query=2, seed=5) == whole
    parts = list(probably_missing(ById(), graph, batch_size=2))
    assert all(torch.equal(part.triples, part.triples.unique(dim=0)) for part in parts)


def test_a_search_goes_on_where_it_stopped():
    graph = graph_of(train=["a r x", "a r y", "b r x", "c s z", "z s a", "x s c"])
    parts = list(probably_missing(ById(), graph, batch_size=2))
    assert [part.done for part in parts] == [2, 4, 6, 8, 10] and parts[0].total == 10
    rest = list(probably_missing(ById(), graph, batch_size=2, start=parts[1].done))
    assert [part.triples.tolist() for part in rest] == [part.triples.tolist() for part in parts[2:]]
    assert list(probably_missing(ById(), graph, start=10)) == []
