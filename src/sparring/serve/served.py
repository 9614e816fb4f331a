"""A trained model as many threads ask it: one at a time, and by name."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.data.frames import triple_ids
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.evaluation.breakdown import Row
from sparring.evaluation.explain import Explanation, explain, training_rules
from sparring.evaluation.predict import predict
from sparring.evaluation.prediction import Prediction
from sparring.evaluation.probability import ProbabilityCalibration
from sparring.evaluation.queries import PredictionQuery
from sparring.evaluation.triples import TripleScores, rate_triples
from sparring.models.base import KGEModel
from sparring.models.rule_mining import Rules
from sparring.samplers.base import NegativeSampler

NO_IDS = torch.empty(0, dtype=torch.long)
NO_RULES = Rules(NO_IDS, NO_IDS, NO_IDS, NO_IDS, NO_IDS, NO_IDS.float())


@dataclass(eq=False)
class ServedModel:
    """A model with all that is known of it.

    Attributes:
        name: of the model, as pages show it.
        identity: changes with the parameters; candidates of a queue belong to it.
        graph: names, facts and splits.
        model: the trained model.
        sampler: as training left it.
        calibration: turns scores into probabilities; None if there is none.
        about: tables of text for the page of the model, by title.
        metrics: filtered metrics by split.
        rows: metrics of the result by group of queries.
        curve: (epoch, MRR) of each validation.
        run_audit: audits the sampler: the rows of a table, by measure; None if that is impossible.
        seed: of the negatives that are shown.
    """

    name: str
    identity: str
    graph: KnowledgeGraph
    model: KGEModel
    sampler: NegativeSampler
    calibration: ProbabilityCalibration | None = None
    about: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    curve: Sequence[tuple[float, float]] = ()
    run_audit: Callable[[], dict[str, tuple[str, str]]] | None = None
    seed: int = 0
    # samplers keep state while they draw, and the cores are busy with one request anyway
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    rules: Rules | None = None

    def predict(
        self,
        queries: Sequence[PredictionQuery],
        *,
        k: int,
        types: Sequence[str] = (),
        known: bool = True,
    ) -> Prediction:
        """The best answers to queries.

        Args:
            k: answers per query.
            types: only entities of one of these types.
            known: whether known facts are among the answers.

        Raises:
            UnknownNameError: for an unknown name; suggests similar ones.
            ValueError: for types in a graph without.
        """
        with self.lock:
            return predict(
                self.model,
                self.graph,
                queries,
                k=k,
                types=types,
                remove=() if known else SPLITS,
                calibration=self.calibration,
            )

    def rate(self, triples: Sequence[tuple[str, str, str]] | Int[Tensor, "T 3"]) -> TripleScores:
        """Scores and probabilities of triples, by name or by id.

        Raises:
            UnknownNameError: for an unknown name; suggests similar ones.
        """
        ids = triple_ids(self.graph, triples)
        with self.lock:
            return rate_triples(self.model, self.graph, ids, calibration=self.calibration)

    def explain(self, triple: tuple[str, str, str], *, max_reasons: int = 5) -> Explanation:
        """The rules that predict a triple, or the nearest facts until rules are mined.

        Raises:
            UnknownNameError: for an unknown name; suggests similar ones.
        """
        rules = NO_RULES if self.rules is None else self.rules
        with self.lock:
            return explain(
                self.graph, triple, model=self.model, rules=rules, max_reasons=max_reasons
            )

    def mine_rules(self) -> None:
        """Mine the rules of the training facts, which may take minutes; needs no lock."""
        self.rules = training_rules(self.graph.training)

    def known(self, triples: Sequence[tuple[str, str, str]]) -> list[bool]:
        """Whether triples are facts of any split."""
        ids = triple_ids(self.graph, triples)
        return self.graph.known.contains_triples(ids).tolist()

    def names(self, triples: Int[Tensor, "T 3"]) -> list[tuple[str, str, str]]:
        """Triples of ids by name."""
        graph = self.graph
        head, relation, tail = triples.cpu().numpy().T
        columns = (
            graph.entities.names.gather(head).to_list(),
            graph.relations.names.gather(relation).to_list(),
            graph.entities.names.gather(tail).to_list(),
        )
        return list(zip(*columns))

    def probabilities(self, rated: TripleScores) -> list[float | None]:
        """Probabilities as numbers; None for each without a calibration."""
        if rated.probability is None:
            return [None] * len(rated.score)
        return rated.probability.tolist()

    @property
    def degree(self) -> Float[Tensor, "N"]:
        """Training facts of each entity."""
        return self.graph.training.degree.cpu()

    def relation_counts(self) -> Int[Tensor, "R"]:
        """Training facts of each relation."""
        return torch.bincount(self.graph.train[:, 1].cpu(), minlength=len(self.graph.relations))

    def to_dict(self) -> dict[str, Any]:
        """What the model is, in short."""
        graph = self.graph
        return {
            "name": self.name,
            "identity": self.identity,
            "graph": graph.name,
            "entities": len(graph.entities),
            "relations": len(graph.relations),
            "types": len(graph.types),
            "facts": {split: len(getattr(graph, split)) for split in SPLITS},
            "model": type(self.model).__name__,
            "sampler": type(self.sampler).__name__,
            "calibrated": self.calibration is not None,
            "metrics": {split: dict(values) for split, values in self.metrics.items()},
        }
