"""Explain a triple: the rules that predict it with the facts they rest on, or the nearest facts."""

import html
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.batch import Queries
from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.models.base import KGEModel
from sparring.models.rule_mining import NeighborIndex, Rules, mine_rules
from sparring.printing import printable
from sparring.samplers.base import entity_vectors


class Fact(NamedTuple):
    """A triple in readable labels."""

    head: str
    relation: str
    tail: str

    def __str__(self) -> str:
        return " ".join(self)


@dataclass(frozen=True)
class Reason:
    """A rule that predicts the triple.

    Attributes:
        rule: the rule in words.
        confidence: support / (body + 5): estimated probability that the rule is right.
        support: cases in the training graph in which the body of the rule holds, and its head too.
        body: cases in which the body holds. Both are counted from a sample of the entities.
        facts: the training facts by which the body holds for this triple, a tuple for each way.
        ways: in how many ways the body holds; `facts` has only the first ones.
    """

    rule: str
    confidence: float
    support: int
    body: int
    facts: tuple[tuple[Fact, ...], ...]
    ways: int

    def __str__(self) -> str:
        others = self.ways - 1
        more = f"; {others:,} more such case{'s' if others > 1 else ''}" if others else ""
        return (
            f"{' and '.join(map(str, self.facts[0]))} (training facts{more}). {self.rule}: true in "
            f"{self.support:,} of {self.body:,} cases, confidence {self.confidence:.2f}."
        )


@dataclass(frozen=True)
class NearFact:
    """A training fact of the same relation.

    Attributes:
        fact: the fact.
        similarity: mean over both ends of the cosine of the vectors of its entity and of the
            triple's; without vectors 1 for the same entity, else 0.
    """

    fact: Fact
    similarity: float

    def __str__(self) -> str:
        return f"{self.fact} (similarity {self.similarity:.2f})"


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a triple is plausible; prints as sentences.

    Attributes:
        triple: what is explained.
        known: whether it is a training fact itself.
        reasons: rules that predict it, the most confident first.
        nearest: without a reason, the nearest training facts, the most similar first.
    """

    triple: Fact
    known: bool
    reasons: tuple[Reason, ...]
    nearest: tuple[NearFact, ...]

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts and tuples, as JSON can hold them."""
        found = asdict(self)
        found["triple"] = self.triple._asdict()
        return found

    def __repr__(self) -> str:
        title, items = self._sentences()
        return printable("\n".join([title, *(f"- {item}" for item in items)]), keep="\n")

    def _repr_html_(self) -> str:
        title, items = (part for part in self._sentences())
        escape = lambda text: html.escape(printable(text))
        listed = "".join(f"<li>{escape(item)}</li>" for item in items)
        return f"<p>{escape(title)}</p><ul>{listed}</ul>"

    def _sentences(self) -> tuple[str, list[str]]:
        subject = f"{self.triple} (itself a training fact)" if self.known else str(self.triple)
        if self.reasons:
            return f"{subject}, because:", [str(reason) for reason in self.reasons]
        near = "The nearest training facts:" if self.nearest else "No training fact is near."
        return f"{subject}: no rule predicts it. {near}", [str(fact) for fact in self.nearest]


def explain(
    graph: KnowledgeGraph,
    triple: tuple[str, str, str],
    *,
    model: KGEModel | None = None,
    rules: Rules | None = None,
    max_reasons: int = 5,
    max_ways: int = 3,
    max_nearest: int = 5,
) -> Explanation:
    """The mined rules that predict a triple, with the training facts they rest on.

    Rules have one or two body atoms; see `mine_rules`. They explain what the training graph says
    for the triple, not how the model computes its score. No rule uses the triple itself.

    Args:
        graph: the graph; only its training facts are used.
        triple: head, relation and tail, by name or by a label that only one has.
        model: where no rule predicts the triple, the facts of the same relation are compared with
            it by the entity vectors of this model. Without vectors, those that share an end count.
        rules: of the training graph; mined once for each graph, if None.
        max_reasons: rules to give, at most.
        max_ways: ways in which the body of a rule holds to give, at most.
        max_nearest: nearest facts to give, at most.

    Raises:
        UnknownNameError: for an unknown name; suggests similar ones.
    """
    names = (graph.entities, graph.relations, graph.entities)
    ids = [int(known.ids([name])[0]) for known, name in zip(names, triple)]
    found = torch.tensor([ids], device=graph.train.device)
    training = graph.training
    rules = training_rules(training) if rules is None else rules
    head, relation, tail = found.T
    known = training.known.contains(_queries(head, relation), tail.unsqueeze(1))
    reasons = _reasons(graph, rules, ids, max_reasons, max_ways)
    nearest = () if reasons else _nearest(graph, found, model, max_nearest)
    return Explanation(_fact(graph, ids), bool(known), reasons, nearest)


def training_rules(graph: TrainGraph) -> Rules:
    """The rules of a training graph, mined when they are first needed."""
    if graph not in _RULES:
        _RULES[graph] = mine_rules(graph)
    return _RULES[graph]


_RULES: WeakKeyDictionary[TrainGraph, Rules] = WeakKeyDictionary()


def _reasons(
    graph: KnowledgeGraph, rules: Rules, triple: list[int], max_reasons: int, max_ways: int
) -> tuple[Reason, ...]:
    head, relation, tail = triple
    rules = rules[rules.head == relation]
    index, known = NeighborIndex(graph.training), graph.training.known
    anchor = torch.full_like(rules.first, head)
    rule, middle = index.neighbors(anchor, rules.first)
    rule, middle = rule[middle != head], middle[middle != head]
    second = rules.second[rule]
    short = second == index.identity  # the rules with one body atom
    queries = _queries(middle, second.clamp(max=index.identity - 1))
    end = torch.full_like(middle, tail).unsqueeze(1)
    long = ~short & (middle != tail) & known.contains(queries, end).squeeze(1)
    holds = long | (short & (middle == tail))
    rule, middle = rule[holds], middle[holds]
    return tuple(
        Reason(
            _in_words(graph, rules, number),
            float(rules.confidence[number]),
            int(rules.support[number]),
            int(rules.body[number]),
            tuple(
                _body(graph, rules, number, head, between, tail)
                for between in middle[rule == number][:max_ways].tolist()
            ),
            ways=int((rule == number).sum()),
        )
        for number in rule.unique()[:max_reasons].tolist()  # rules are sorted by confidence
    )


def _body(
    graph: KnowledgeGraph, rules: Rules, rule: int, head: int, middle: int, tail: int
) -> tuple[Fact, ...]:
    """The facts that the body atoms of a rule stand for."""
    first, second = int(rules.first[rule]), int(rules.second[rule])
    facts = [_oriented(graph, head, first, middle)]
    if second < 2 * len(graph.relations):
        facts.append(_oriented(graph, middle, second, tail))
    return tuple(facts)


def _oriented(graph: KnowledgeGraph, anchor: int, relation: int, entity: int) -> Fact:
    """The fact behind (anchor, relation, entity), where the relation may be an inverse."""
    inverse, relation = divmod(relation, len(graph.relations))
    ends = (entity, anchor) if inverse else (anchor, entity)
    return _fact(graph, [ends[0], relation, ends[1]])


def _in_words(graph: KnowledgeGraph, rules: Rules, rule: int) -> str:
    """Such as "X speaks Y if X lives in Z and Z has the language Y"."""
    num_relations, head = len(graph.relations), int(rules.head[rule])
    first, second = int(rules.first[rule]), int(rules.second[rule])

    def atom(start: str, relation: int, end: str) -> str:
        inverse, relation = divmod(relation, num_relations)
        start, end = (end, start) if inverse else (start, end)
        return f"{start} {graph.relations.label(relation)} {end}"

    if second == 2 * num_relations:
        return f"{atom('X', head, 'Y')} if {atom('X', first, 'Y')}"
    return f"{atom('X', head, 'Y')} if {atom('X', first, 'Z')} and {atom('Z', second, 'Y')}"


def _nearest(
    graph: KnowledgeGraph, triple: Int[Tensor, "1 3"], model: KGEModel | None, count: int
) -> tuple[NearFact, ...]:
    """The training facts of the same relation whose ends are most similar to the triple's."""
    facts = graph.training.triples
    facts = facts[(facts[:, 1] == triple[0, 1]) & (facts != triple).any(1)]
    vectors = _vectors(model)
    similarity = (_similarity(vectors, facts[:, 0], triple[0, 0])
                  + _similarity(vectors, facts[:, 2], triple[0, 2])) / 2  # fmt: skip
    best = similarity.argsort(descending=True, stable=True)[:count]
    best = best[similarity[best] > 0]
    return tuple(
        NearFact(_fact(graph, fact), value)
        for fact, value in zip(facts[best].tolist(), similarity[best].tolist())
    )


def _vectors(model: KGEModel | None) -> Float[Tensor, "N d"] | None:
    """The entity vectors of a model, if it has any."""
    try:
        return None if model is None else entity_vectors(model)
    except ValueError:
        return None


def _similarity(
    vectors: Float[Tensor, "N d"] | None, entity: Int[Tensor, "M"], other: Int[Tensor, ""]
) -> Float[Tensor, "M"]:
    """Cosine of the entities' vectors and that of another one; without vectors, whether equal."""
    if vectors is None:
        return (entity == other).float()
    entity, other = entity.to(vectors.device), other.to(vectors.device)
    return torch.cosine_similarity(vectors[entity], vectors[other].unsqueeze(0)).float().cpu()


def _queries(anchor: Int[Tensor, "M"], relation: Int[Tensor, "M"]) -> Queries:
    return Queries(anchor, relation, anchor, torch.ones(len(anchor), device=anchor.device))


def _fact(graph: KnowledgeGraph, triple: list[int]) -> Fact:
    """A triple of ids in labels."""
    head, relation, tail = triple
    return Fact(
        graph.entities.label(head), graph.relations.label(relation), graph.entities.label(tail)
    )
