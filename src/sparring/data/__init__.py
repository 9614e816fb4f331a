"""Data: files become a `KnowledgeGraph`, which is split, validated and indexed.

`read_graph`, `load_benchmark` and `load_embedded` return a graph, `describe` its statistics.
`KnowledgeGraph` holds the vocabularies and the triples of all splits; models and samplers see its
`TrainGraph` only. `TripleIndex` finds the known answers of queries, and `Ragged` stores rows of any
length. The modules `formats`, `text`, `rdf`, `database`, `columns`, `tables`, `validation` and
`diagnostics` serve the reader; import from them only to extend it.
"""

from sparring.data.datasets import load_benchmark, load_embedded
from sparring.data.diagnostics import Diagnostic, GraphError
from sparring.data.graph import KnowledgeGraph, TrainGraph
from sparring.data.index import PairIndex, Ragged, TripleIndex
from sparring.data.options import ReadOptions
from sparring.data.read import check_folder, read_graph, read_triples
from sparring.data.split import SplitRule
from sparring.data.statistics import describe
from sparring.data.vocabulary import UnknownNameError, Vocabulary

__all__ = [
    "Diagnostic",
    "GraphError",
    "KnowledgeGraph",
    "PairIndex",
    "Ragged",
    "ReadOptions",
    "SplitRule",
    "TrainGraph",
    "TripleIndex",
    "UnknownNameError",
    "Vocabulary",
    "check_folder",
    "describe",
    "load_benchmark",
    "load_embedded",
    "read_graph",
    "read_triples",
]
