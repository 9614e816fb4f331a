"""Graphs that know what people have decided on."""

from dataclasses import dataclass
from pathlib import Path

from sparring.data.frames import with_facts, with_rejected
from sparring.data.graph import KnowledgeGraph
from sparring.serve.reviews import Reviews, Triple


@dataclass(frozen=True, eq=False)
class ReviewedGraph:
    """A graph with the decisions of reviewers.

    Attributes:
        graph: accepted triples are among its training facts, rejected ones are curated negatives.
        accepted, rejected: how many are new to it.
        unknown: reviewed triples with names that the graph lacks, which are left out.
    """

    graph: KnowledgeGraph
    accepted: int
    rejected: int
    unknown: int

    def __str__(self) -> str:
        text = f"reviewed: {self.accepted:,} accepted facts added to training, "
        text += f"{self.rejected:,} rejected ones are curated negatives"
        return text + (f"; {self.unknown:,} have names that the graph lacks" * bool(self.unknown))


def with_reviews(graph: KnowledgeGraph, path: str | Path) -> ReviewedGraph:
    """Add what the reviewers in a database agree on; disputed and unsure triples change nothing.

    Facts of the graph, in any split, stay as they are: a held-out fact that was accepted is not
    trained on.

    Args:
        path: a file that `sparring serve` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        DatabaseError: if it is a file of another kind.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"there is no database of reviews {path}; `sparring serve` writes one"
        )
    reviews = Reviews(path)
    try:
        accepted, rejected = (
            [each.triple for each in reviews.reviewed(verdict)]
            for verdict in ("accepted", "rejected")
        )
    finally:
        reviews.close()
    known, false = _named(graph, accepted), _named(graph, rejected)
    found = with_rejected(with_facts(graph, known), false)
    return ReviewedGraph(
        found,
        len(found.train) - len(graph.train),
        _number(found) - _number(graph),
        len(accepted) + len(rejected) - len(known) - len(false),
    )


def _named(graph: KnowledgeGraph, triples: list[Triple]) -> list[Triple]:
    """The triples whose names the graph has."""
    columns = (graph.entities, graph.relations, graph.entities)
    known = [
        names.find([triple[place] for triple in triples]).is_not_null().to_list()
        for place, names in enumerate(columns)
    ]
    return [triple for triple, *found in zip(triples, *known) if all(found)]


def _number(graph: KnowledgeGraph) -> int:
    return 0 if graph.rejected is None else len(graph.rejected)
