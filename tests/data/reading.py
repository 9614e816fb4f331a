"""Random names and rows, written as text and read back."""

import csv
import io
import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from sparring.data.columns import role_of
from sparring.data.options import ReadOptions
from sparring.data.read import read_graph
from sparring.data.split import SplitRule

characters = st.characters(exclude_categories=["Cs"])
anything = st.text(characters, min_size=1, max_size=8)
awkward = st.sampled_from(
    ["nan", "NULL", '"', '""', "'", ",", " ", "#", "\\", "\ufeff", "\0", "1e5"]
)
names = awkward | anything
tabless = names.map(lambda name: name.replace("\t", " ").replace("\n", " ").replace("\r", " "))


def rows_of(name):
    return st.lists(st.tuples(name, name, name), min_size=1, max_size=12, unique=True).filter(
        lambda rows: not all(map(role_of, rows[0])) and not "".join(rows[0]).count("\ufeff")
    )


def as_tsv(rows):
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def as_csv(rows, **options):
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(rows)
    return text.getvalue().encode()


def named(graph):
    """The training triples by name."""
    entities, relations = tuple(graph.entities), tuple(graph.relations)
    return [(entities[h], relations[r], entities[t]) for h, r, t in graph.train.tolist()]


def read_back(name, content, block=1 << 22, **options):
    with tempfile.TemporaryDirectory() as folder, patch("sparring.data.formats.BLOCK", block):
        path = Path(folder, name)
        path.write_bytes(content)
        rule = SplitRule(valid=0.0, test=0.0)
        graph = read_graph(path, split=rule, options=ReadOptions(**options))
    return named(graph)


few = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
