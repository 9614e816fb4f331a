"""The graph of an experiment: a name or a path, and how to read it."""

import os
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path

from sparring.data import store
from sparring.data.datasets import downloads, load_benchmark, load_embedded
from sparring.data.diagnostics import GraphError
from sparring.data.formats import as_path
from sparring.data.graph import KnowledgeGraph
from sparring.data.options import ReadOptions
from sparring.data.read import read_graph
from sparring.data.split import SplitRule
from sparring.data.validation import Unseen
from sparring.distributed import partition
from sparring.distributed.partition import Partition


@dataclass(frozen=True)
class GraphSource(ReadOptions):
    """A graph by name or by path, and how its files are read.

    Attributes:
        name: "atlas" for the graph that comes with the package, or a known benchmark.
        path: a folder with train, valid and test, one file of triples, a database, or the folder of
            a stored graph, relative to the working directory; takes precedence over `name`.
        unseen: what to do with triples of valid and test whose names are not in train.
        valid, test: shares split off where `path` is a single file.
        split_seed: seed of that split.
        hold_out: share of the training facts that is not trained on, by which a generator
            calibrates its estimate of false negatives; 0 unless a generator needs some.
    """

    name: str = ""
    path: str = ""
    unseen: Unseen = "keep"
    valid: float = 0.05
    test: float = 0.05
    split_seed: int = 0
    hold_out: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.name or self.path):
            raise ValueError('no graph is given; set name = "atlas" or path = "folder"')
        options = {field.name: field.default for field in fields(ReadOptions)}
        given = [name for name, default in options.items() if getattr(self, name) != default]
        if given and not self.path:
            raise ValueError(f"{', '.join(given)} are for files, but {self.name} is a name")


def source_of(text: str) -> GraphSource:
    """The source that a user means: a path that exists or looks like one, else a name."""
    path = Path(text)
    is_path = path.exists() or path.name != text or bool(path.suffix)
    return GraphSource(path=text) if is_path else GraphSource(name=text)


def load_graph(source: GraphSource) -> KnowledgeGraph:
    """Read or download the graph of a source."""
    graph = _load(source)
    return replace(graph, hold_out=source.hold_out) if source.hold_out else graph


def _load(source: GraphSource) -> KnowledgeGraph:
    if source.path:
        rule = SplitRule(valid=source.valid, test=source.test, seed=source.split_seed)
        path = as_path(source.path)
        if store.exists(path):
            return store.load(path)
        if partition.exists(path):
            return Partition.open(path).graph()
        split = rule if path.is_file() else None
        return read_graph(path, unseen=source.unseen, split=split, options=source, brief=True)
    if source.name == "atlas":
        return load_embedded()
    try:
        return load_benchmark(source.name)
    except GraphError as error:
        known = known_graphs()
        if source.name not in known and (near := get_close_matches(source.name, known)):
            names = " or ".join(near)
            raise GraphError(f"there is no graph {source.name!r}; did you mean {names}?") from error
        raise


def known_graphs() -> dict[str, str]:
    """Where each graph with a name comes from; folders in SPARRING_DATA come before downloads."""
    root = os.environ.get("SPARRING_DATA")
    folders = (
        {path.name: str(path) for path in Path(root).iterdir() if path.is_dir()} if root else {}
    )
    remote = {name: f"downloaded from {about['repository']}" for name, about in downloads().items()}
    return {"atlas": "comes with sparring", **dict(sorted({**remote, **folders}.items()))}
