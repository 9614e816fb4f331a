"""The examples run as they are copied from their pages, on a smaller graph."""

import re
from pathlib import Path

import pytest

from sparring.data import datasets as embedded
from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.testing import tiny_graph

PAGES = (Path(__file__).parents[2] / "docs" / "howto").glob("*.md")
EXAMPLE = re.compile(r"```python\n# examples/(([a-z]+)_[a-z]+)\.py\n(.*?)```", re.DOTALL)
FOUND = {
    name: (host, code) for page in PAGES for name, host, code in EXAMPLE.findall(page.read_text())
}
PACKAGES = {"pyg": "torch_geometric", "libkge": "kge"}
SHORTER = {'"num_epochs": 10': '"num_epochs": 1'}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FOUND)
def test_an_example_runs(name, monkeypatch, capsys):
    host, code = FOUND[name]
    pytest.importorskip(PACKAGES.get(host, host), reason=f"needs {host}; see make test-hosts")
    graph = tiny_graph()
    entities, relations = (
        Vocabulary([str(number) for number in range(size)])
        for size in (graph.num_entities, graph.num_relations)
    )
    splits = graph.triples[6:], graph.triples[:3], graph.triples[3:6]
    small = KnowledgeGraph("small", entities, relations, *splits)
    monkeypatch.setattr(embedded, "load_embedded", lambda: small)
    for long, short in SHORTER.items():
        code = code.replace(long, short)
    exec(compile(code, name, "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.count("MRR") >= 2
