"""Negatives as fixed arrays, in the layouts of other libraries."""

import numpy as np
import polars as pl
import pytest
import torch

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.groups import ungroup
from sparring.integrations.export import (
    bess_arrays,
    dglke_arrays,
    dicee_arrays,
    draw_fixed_negatives,
    write_names,
)
from sparring.samplers import DynamicNegatives, MaskKnown, Uniform
from sparring.testing import tiny_graph

GRAPH = tiny_graph()
KNOWN = {tuple(triple) for triple in GRAPH.triples.tolist()}


def whole(train=GRAPH.triples, entities=11, relations=3):
    names = [f"e{i}" for i in range(entities)], [f"r{i}" for i in range(relations)]
    rest = train[:2]
    return KnowledgeGraph("it", *map(Vocabulary, names), train, rest, rest)


def rng():
    return torch.Generator().manual_seed(0)


def by_id(queries):
    return lambda ids: ungroup(ids, len(queries)).float()


def fixed(graph=GRAPH, k=4, batch_size=7):
    sampler = MaskKnown(graph, inner=Uniform(graph, k=k))
    full = whole(graph.triples, graph.num_entities, graph.num_relations)
    return draw_fixed_negatives(sampler, full, by_id, rng(), batch_size=batch_size)


def crowd():
    """All entities are tails of (0, 0), and only entity 0 is a head."""
    triples = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, 2]])
    return type(GRAPH)(triples, num_entities=3, num_relations=1)


def test_every_negative_is_wrong_and_of_its_own_triple():
    found = fixed()
    assert torch.equal(found.triples, GRAPH.triples) and found.usable.all()
    for (head, relation, tail), heads, tails in zip(
        GRAPH.triples.tolist(), found.heads.tolist(), found.tails.tolist()
    ):
        assert not KNOWN & {(other, relation, tail) for other in heads}
        assert not KNOWN & {(head, relation, other) for other in tails}


def test_the_sampler_sees_the_model():
    sampler = DynamicNegatives(GRAPH, inner=Uniform(GRAPH, k=200), k=1)
    found = draw_fixed_negatives(sampler, whole(), by_id, rng(), batch_size=13)
    other = GRAPH.triples[:, 2] != 10
    assert (found.tails[other] == 10).all()


def test_negatives_that_count_are_repeated_where_there_are_too_few():
    found = fixed(crowd(), k=5, batch_size=3)
    assert found.usable[:, 0].all() and not found.usable[:, 1].any()
    assert set(found.heads.flatten().tolist()) == {1, 2}


def test_bess_gets_rows_for_its_triples():
    found = bess_arrays(fixed())
    assert {name: value.shape for name, value in found.items()} == {
        "triples": (39, 3),
        "negative_heads": (39, 4),
        "negative_tails": (39, 4),
    }
    assert all(value.dtype == np.int32 for value in found.values())


def test_a_query_without_negatives_is_filled_with_its_answer():
    found = bess_arrays(fixed(crowd(), k=2, batch_size=3))
    assert found["negative_tails"].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert 0 not in found["negative_heads"]


def test_dglke_gets_triple_after_triple():
    rows, flat = bess_arrays(fixed()), dglke_arrays(fixed())
    assert flat["neg_sample_size"] == 4
    assert np.array_equal(flat["head"][4 * 5 : 4 * 7], rows["negative_heads"][5:7].ravel())
    assert np.array_equal(flat["tail"], rows["negative_tails"].ravel())


def test_dicee_gets_triples_with_labels():
    found = dicee_arrays(fixed(), rng())
    right, wrong = (
        {tuple(row) for row in found["train_set"][found["labels"] == label].tolist()}
        for label in (1, 0)
    )
    assert found["train_set"].shape == (39 * 5, 3) and found["labels"].sum() == 39
    assert right == KNOWN and not wrong & KNOWN
    assert not np.array_equal(found["train_set"][:39], GRAPH.triples.numpy())


def test_dicee_gets_no_fact_as_a_negative():
    found = dicee_arrays(fixed(crowd(), k=4, batch_size=3), rng())
    assert (found["labels"] == 0).sum() == 3 * 2  # heads only
    assert (found["train_set"][found["labels"] == 0][:, 0] > 0).all()


def test_the_first_triples_fill_the_last_batch():
    assert torch.equal(fixed(batch_size=39).triples, fixed(batch_size=25).triples)
    assert len(tail_and_head_queries(fixed(batch_size=25).triples, 3)) == 78


def test_names_are_written_next_to_ids(tmp_path):
    write_names(whole(), tmp_path)
    assert (tmp_path / "entities.tsv").read_text().startswith("0\te0\n1\te1\n")
    first = "\t".join(map(str, GRAPH.triples[0].tolist()))
    assert (tmp_path / "train.tsv").read_text().startswith(first + "\n")
    assert len((tmp_path / "valid.tsv").read_text().splitlines()) == 2


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\rb"])
def test_a_name_that_would_break_rows_is_refused(tmp_path, name):
    names = Vocabulary(pl.Series([name, "b"]))
    some = torch.tensor([[0, 0, 1]])
    graph = KnowledgeGraph("odd", names, Vocabulary(pl.Series(["r"])), some, some[:0], some[:0])
    with pytest.raises(ValueError, match=r"entities\.tsv cannot hold 'a[^\t\n\r]*b'"):
        write_names(graph, tmp_path)
