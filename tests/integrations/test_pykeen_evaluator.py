"""The same scores give the same metrics in PyKEEN's rank-based evaluator."""

import pytest
from evaluation.worlds import Table, random_graph

from sparring.evaluation.ranking import evaluate

pykeen_models = pytest.importorskip("pykeen.models", reason="needs pykeen 1.11.1")
pykeen_evaluation = pytest.importorskip("pykeen.evaluation", reason="needs pykeen 1.11.1")
pykeen_triples = pytest.importorskip("pykeen.triples", reason="needs pykeen 1.11.1")

GRAPH = random_graph(entities=20, relations=3, size=300)
METRICS = {
    "inverse_harmonic_mean_rank": lambda found: found.mrr(),
    "arithmetic_mean_rank": lambda found: found.mr(),
    "adjusted_arithmetic_mean_rank_index": lambda found: found.amri(),
    "hits_at_1": lambda found: found.hits(1),
    "hits_at_3": lambda found: found.hits(3),
    "hits_at_10": lambda found: found.hits(10),
}


class TheirTable(pykeen_models.DistMult):
    """A PyKEEN model that looks its scores up in ours."""

    def __init__(self, table, **options):
        super().__init__(embedding_dim=1, **options)
        self.table = table

    def score_t(self, hr_batch, **options):
        return self.table[hr_batch[:, 0], hr_batch[:, 1]]

    def score_h(self, rt_batch, **options):
        return self.table[rt_batch[:, 1], rt_batch[:, 0] + self.num_relations]


def theirs(table):
    """PyKEEN's metrics, both sides together, of its "realistic" ranks."""
    factory = pykeen_triples.CoreTriplesFactory(GRAPH.train, num_entities=20, num_relations=3)
    results = pykeen_evaluation.RankBasedEvaluator(filtered=True).evaluate(
        model=TheirTable(table, triples_factory=factory),
        mapped_triples=GRAPH.test,
        additional_filter_triples=[GRAPH.train, GRAPH.valid],
        batch_size=16,
        use_tqdm=False,
    )
    return {name: results.get_metric(f"both.realistic.{name}") for name in METRICS}


@pytest.mark.parametrize("levels", [None, 5, 1], ids=["no ties", "ties", "only ties"])
def test_every_metric_agrees_with_pykeen(levels):
    model = Table.random(GRAPH, levels=levels)
    found = evaluate(model, GRAPH.test, GRAPH.known)
    ours = {name: metric(found) for name, metric in METRICS.items()}
    assert ours == pytest.approx(theirs(model.scores), abs=1e-6)
