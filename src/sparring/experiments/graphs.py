"""Which graph an experiment is about."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from sparring.datasets.benchmarks import downloads, load_benchmark
from sparring.datasets.embedded import load_embedded
from sparring.graph.judge import Unseen
from sparring.graph.knowledge_graph import KnowledgeGraph
from sparring.graph.read import read_graph
from sparring.graph.split import SplitRule


@dataclass(frozen=True)
class GraphSource:
    """A graph by name or by path.

    Attributes:
        name: "atlas" for the graph that comes with the package, or a known benchmark.
        path: a folder with train, valid and test, or one file of triples, as seen from the
            working directory; stands before `name`.
        unseen: what to do with triples of valid and test whose names train lacks.
        valid, test: shares split off where `path` is a single file.
        split_seed: seed of that split.
        hold_out: share of the training facts that is not trained on, by which a generator
            calibrates its estimate of what is missing; 0 unless it asks for some.
    """

    name: str = ""
    path: str = ""
    unseen: Unseen = "keep"
    valid: float = 0.05
    test: float = 0.05
    split_seed: int = 0
    hold_out: float = 0.0

    def __post_init__(self):
        if not (self.name or self.path):
            raise ValueError('say which graph: name = "atlas" or path = "folder"')


def load_graph(source: GraphSource) -> KnowledgeGraph:
    """The graph that a source speaks of."""
    return replace(_whole(source), hold_out=source.hold_out)


def _whole(source: GraphSource) -> KnowledgeGraph:
    if source.path:
        rule = SplitRule(valid=source.valid, test=source.test, seed=source.split_seed)
        path = Path(source.path)
        return read_graph(path, unseen=source.unseen, split=rule if path.is_file() else None)
    if source.name == "atlas":
        return load_embedded()
    return load_benchmark(source.name)


def known_graphs() -> dict[str, str]:
    """Where each graph that can be named comes from; SPARRING_DATA stands before the network."""
    root = os.environ.get("SPARRING_DATA")
    folders = (
        {path.name: str(path) for path in Path(root).iterdir() if path.is_dir()} if root else {}
    )
    remote = {name: f"downloaded from {about['repository']}" for name, about in downloads().items()}
    return {"atlas": "comes with sparring", **dict(sorted({**remote, **folders}.items()))}
