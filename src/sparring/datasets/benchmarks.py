"""Known benchmarks by name, from a local folder."""

import os
from pathlib import Path

from sparring.graph.findings import GraphError
from sparring.graph.knowledge_graph import KnowledgeGraph
from sparring.graph.read import read_graph


def load_benchmark(name: str, folder: Path | None = None) -> KnowledgeGraph:
    """The benchmark of this name, from `folder` or from `$SPARRING_DATA/name`."""
    root = os.environ.get("SPARRING_DATA")
    place = folder or (Path(root) / name if root else None)
    if place is None or not place.is_dir():
        raise GraphError(f"there is no data set {name!r}; put it into $SPARRING_DATA/{name}")
    return read_graph(place)
