"""Small graphs, and models and samplers that say what a test wants them to say."""

import torch
from hypothesis import settings

from sparring.batch import Negatives
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.evaluation.audit import audit
from sparring.evaluation.ranking import RankingResult
from sparring.groups import ungroup
from sparring.models.base import KGEModel
from sparring.samplers.base import NegativeSampler

FEW = settings(max_examples=25, deadline=None)  # seeds are examples enough by the dozen


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def triples_of(*triples):
    return torch.tensor(triples, dtype=torch.long).view(-1, 3)


def graph_of(train, valid=(), test=(), *, entities=6, relations=2, labels=None):
    """Entities e0, e1, ... and relations r0, r1, ..., unless they are named."""
    names = [f"e{i}" for i in range(entities)] if isinstance(entities, int) else entities
    between = [f"r{i}" for i in range(relations)] if isinstance(relations, int) else relations
    splits = (triples_of(*split) for split in (train, valid, test))
    return KnowledgeGraph(
        "world", Vocabulary(names, labels), Vocabulary(between, kind="relation"), *splits
    )


def random_graph(entities=12, relations=3, size=60, seed=0):
    """Distinct random triples, half of them for training."""
    limits = (entities, relations, entities)
    rng = seeded(seed)
    columns = [torch.randint(n, (size,), generator=rng) for n in limits]
    triples = torch.stack(columns, 1).unique(dim=0)
    triples = triples[torch.randperm(len(triples), generator=rng)].tolist()
    half, last = len(triples) // 2, 3 * len(triples) // 4
    return graph_of(
        triples[:half],
        triples[half:last],
        triples[last:],
        entities=entities,
        relations=relations,
    )


class Table(KGEModel):
    """Scores looked up by anchor, relation in [0, 2R) and candidate; remembers what was asked.

    Attributes:
        encoded: queries of each call.
        blocks: shape of each block of scores.
    """

    def __init__(self, scores):
        super().__init__()
        self.scores = scores
        self.encoded, self.blocks = [], []

    @classmethod
    def random(cls, graph, *, levels=None, seed=1):
        """Random numbers, or with `levels`, so few different ones that there are many ties."""
        shape = (len(graph.entities), 2 * len(graph.relations), len(graph.entities))
        if levels is None:
            return cls(torch.randn(shape, generator=seeded(seed)))
        return cls(torch.randint(levels, shape, generator=seeded(seed)).float())

    @classmethod
    def of_entities(cls, graph, scores):
        """Each entity has its score, for every query."""
        row = torch.as_tensor(scores, dtype=torch.float)
        return cls(row.expand(len(graph.entities), 2 * len(graph.relations), -1).clone())

    def forward(self, queries):
        self.encoded.append(len(queries))
        rows = self.scores[queries.anchor, queries.relation]

        def score(ids):
            self.blocks.append((len(queries), ids.shape[1]))
            return rows.gather(1, ungroup(ids, len(queries)))

        return score


class Says(NegativeSampler):
    """Offers the same ids to every query, with the given estimates and weights."""

    def __init__(self, ids, *, p_false_negative=None, weight=None, mask=None):
        super().__init__(len(ids))
        self.ids = torch.tensor(ids)
        self.fields = {"p_false_negative": p_false_negative, "weight": weight}
        self.counts = mask
        self.batches = []

    def sample(self, queries, score, rng):
        self.batches.append(len(queries))
        drawn = Negatives.from_ids(queries, self.ids.expand(len(queries), -1))
        fields = {name: getattr(drawn, name) for name in ("blocks", "mask", "log_policy")}
        for name, value in self.fields.items():
            row = getattr(drawn, name) if value is None else torch.tensor(value)
            fields[name] = row.expand(drawn.mask.shape)
        if self.counts is not None:
            fields["mask"] = drawn.mask & torch.tensor(self.counts)
        return Negatives(**fields)


def evaluation_of(triples, tail_ranks, head_ranks, *, relations=2, candidates=101):
    """An evaluation with these ranks."""
    queries = tail_and_head_queries(triples_of(*triples), relations)
    rank = torch.tensor([*tail_ranks, *head_ranks], dtype=torch.double)
    return RankingResult(
        queries.anchor,
        queries.relation,
        queries.answer,
        rank,
        torch.full((len(rank),), candidates),
        relations,
    )


# of the query (e0, r0, ?): e1 and e2 are training facts, e3 valid, e4 test, e5 nothing known
FACTS_OF_EACH_KIND = graph_of([(0, 0, 1), (0, 0, 2)], [(0, 0, 3)], [(0, 0, 4)])


def audited(sampler, graph=FACTS_OF_EACH_KIND, *, triples=((0, 0, 1),), **options):
    """A small audit, by default for the queries of one triple."""
    if not isinstance(triples, torch.Tensor | None):
        triples = triples_of(*triples)
    return audit(
        sampler, graph, rng=seeded(), triples=triples, **{"draws": 40, "batch_size": 10, **options}
    )
