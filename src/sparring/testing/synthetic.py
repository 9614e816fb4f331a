"""Synthetic graphs of people and places, of which every true fact is known.

The facts follow these rules:

    city_in      every city lies in one country (N-1)
    has_city     its inverse (1-N)
    capital_of   one city of each country (1-1), always one with city_in
    lives_in     every person lives in one city (N-1)
    citizen_of   lives_in, then city_in (a composition)
    works_for    every person works for one company (N-1)
    employs      its inverse (1-N)
    manages      a tree in each company (1-N)
    knows        everyone in a circle knows everyone else there (symmetric, N-N)
    likes        everyone in a circle likes the same products (N-N clusters)
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.batch import Queries
from sparring.data.graph import KnowledgeGraph
from sparring.data.split import SplitRule
from sparring.data.vocabulary import Vocabulary

TYPES = ("city", "company", "country", "person", "product")
RELATIONS = (
    "capital_of",
    "citizen_of",
    "city_in",
    "employs",
    "has_city",
    "knows",
    "likes",
    "lives_in",
    "manages",
    "works_for",
)
CIRCLE = 6
REPORTS = 3


@dataclass(frozen=True, eq=False)
class World:
    """A graph, and all facts that are true, whether the graph holds them or not.

    Attributes:
        truth: all true facts, sorted; each is in at most one split.
    """

    graph: KnowledgeGraph
    truth: Int[Tensor, "F 3"]

    @cached_property
    def hidden(self) -> Int[Tensor, "H 3"]:
        """True facts that no split holds: the false negatives that only an oracle knows."""
        head, relation, tail = self.truth.unbind(1)
        queries = Queries(head, relation, tail, torch.ones(len(head)))
        known = self.graph.known.contains(queries, tail.unsqueeze(1)).squeeze(1)
        return self.truth[~known]


def synthetic_world(
    people: int = 200,
    *,
    withheld: float = 0.2,
    valid: float = 0.05,
    test: float = 0.05,
    seed: int = 0,
) -> World:
    """A world with this many people, and cities, countries, companies and products to match.

    Args:
        withheld: share of the true facts that no split holds, drawn at random.
        valid, test: shares of the true facts in these splits. Every entity is in train.

    Raises:
        ValueError: if there are fewer than 20 people.
        GraphError: if so much is held out that some entity would be missing from train.
    """
    if people < 20:
        raise ValueError(f"a synthetic world needs at least 20 people; got {people}")
    sizes = _sizes(people)
    names = [f"{kind}_{number:04d}" for kind in TYPES for number in range(sizes[kind])]
    truth = _truth(sizes, torch.Generator().manual_seed(seed))
    shape = (len(names), len(RELATIONS))
    kept, _, _ = SplitRule(valid=withheld, test=0.0, seed=seed).rows(truth, *shape)
    known, share = truth[kept], 1 - withheld
    rule = SplitRule(valid=valid / share, test=test / share, seed=seed)
    train, held_out, tested = (known[rows] for rows in rule.rows(known, *shape))
    kind = torch.arange(len(TYPES)).repeat_interleave(torch.tensor(list(sizes.values())))
    graph = KnowledgeGraph(
        f"world of {people}",
        Vocabulary(names),
        Vocabulary(RELATIONS, kind="relation"),
        train,
        held_out,
        tested,
        types=TYPES,
        entity_type=torch.stack([torch.arange(len(names)), kind], 1),
    )
    return World(graph, truth)


def _sizes(people: int) -> dict[str, int]:
    """Number of entities of each type, in the order of `TYPES`."""
    countries, clusters = max(2, people // 40), max(2, people // 25)
    return {
        "city": 4 * countries,
        "company": 2 * countries,
        "country": countries,
        "person": people,
        "product": 5 * clusters,
    }


def _truth(sizes: dict[str, int], rng: torch.Generator) -> Int[Tensor, "F 3"]:
    """All facts that the rules imply, sorted."""
    first = dict(zip(TYPES, torch.tensor([0, *sizes.values()]).cumsum(0).tolist()))
    city, company, country, person, product = (
        first[kind] + torch.arange(sizes[kind]) for kind in TYPES
    )
    country_of = country[torch.arange(len(city)) % len(country)]
    home = torch.randint(len(city), (len(person),), generator=rng)
    job = torch.randint(len(company), (len(person),), generator=rng)
    circle = torch.randperm(len(person), generator=rng) // CIRCLE
    friends = (circle.unsqueeze(1) == circle) & ~torch.eye(len(person), dtype=torch.bool)
    cluster = circle % (len(product) // 5)
    liked = cluster.unsqueeze(1) == torch.arange(len(product)) // 5
    knower, acquaintance = friends.nonzero().unbind(1)
    fan, favourite = liked.nonzero().unbind(1)
    manager, report = _trees(job)
    pairs = {
        "capital_of": (city[: len(country)], country),
        "citizen_of": (person, country_of[home]),
        "city_in": (city, country_of),
        "employs": (company[job], person),
        "has_city": (country_of, city),
        "knows": (person[knower], person[acquaintance]),
        "likes": (person[fan], product[favourite]),
        "lives_in": (person, city[home]),
        "manages": (person[manager], person[report]),
        "works_for": (person, company[job]),
    }
    facts = [
        torch.stack([head, torch.full_like(head, RELATIONS.index(relation)), tail], 1)
        for relation, (head, tail) in pairs.items()
    ]
    return torch.cat(facts).unique(dim=0)


def _trees(job: Int[Tensor, "P"]) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"]]:
    """Who manages whom: in each company, the first employee is the root of a tree."""
    manager, report = [], []
    for company in job.unique():
        staff = (job == company).nonzero().squeeze(1)
        manager.append(staff[(torch.arange(1, len(staff)) - 1) // REPORTS])
        report.append(staff[1:])
    return torch.cat(manager), torch.cat(report)
