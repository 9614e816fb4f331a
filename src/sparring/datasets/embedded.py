"""The atlas: the knowledge graph that ships inside the package."""

from importlib.resources import files
from pathlib import Path

from sparring.graph.knowledge_graph import KnowledgeGraph
from sparring.graph.read import read_graph


def embedded_folder() -> Path:
    """Where the files of the atlas lie; its README.md tells sources, licences and counts."""
    return Path(str(files("sparring.datasets") / "atlas"))


def load_embedded() -> KnowledgeGraph:
    """The atlas: territories, languages, currencies, time zones, cities, airports, holidays."""
    return read_graph(embedded_folder())
