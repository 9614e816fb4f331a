"""Any names that can be written can be read back, from every kind of file."""

import csv
import gzip
import io
import tempfile
from pathlib import Path
from unittest.mock import patch

import polars as pl
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparring.data.read import read_graph
from sparring.data.split import SplitRule
from sparring.data.tables import HEADERS, TRIPLE

characters = st.characters(exclude_categories=["Cs"])
anything = st.text(characters, min_size=1, max_size=8)
awkward = st.sampled_from(
    ["nan", "NULL", '"', '""', "'", ",", " ", "#", "\\", "\ufeff", "\0", "1e5"]
)
names = awkward | anything
tabless = names.map(lambda name: name.replace("\t", " ").replace("\n", " ").replace("\r", " "))


def rows_of(name):
    return st.lists(st.tuples(name, name, name), min_size=1, max_size=12, unique=True).filter(
        lambda rows: rows[0] not in HEADERS and not rows[0][0].startswith("\ufeff")
    )


def as_tsv(rows):
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def as_csv(rows, **options):
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(rows)
    return text.getvalue().encode()


def read_back(name, content, block=1 << 22):
    with tempfile.TemporaryDirectory() as folder, patch("sparring.data.formats.BLOCK", block):
        path = Path(folder, name)
        path.write_bytes(content)
        graph = read_graph(path, split=SplitRule(valid=0.0, test=0.0))
    entities, relations = tuple(graph.entities), tuple(graph.relations)
    return [(entities[h], relations[r], entities[t]) for h, r, t in graph.train.tolist()]


few = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@given(rows_of(tabless), st.integers(1, 30))
@few
def test_tab_separated_text(rows, block):
    assert read_back("facts.tsv", as_tsv(rows), block) == rows


@given(rows_of(tabless))
@few
def test_packed_text(rows):
    assert read_back("facts.tsv.gz", gzip.compress(as_tsv(rows))) == rows
    assert read_back("facts.tsv.zst", zstandard.compress(as_tsv(rows))) == rows


@given(rows_of(names), st.integers(1, 30))
@few
def test_comma_separated_text(rows, block):
    assert read_back("facts.csv", as_csv(rows), block) == rows


@given(rows_of(names))
@few
def test_comma_separated_text_with_every_field_quoted(rows):
    written = as_csv(rows, quoting=csv.QUOTE_ALL, lineterminator="\n")
    assert read_back("facts.csv", written) == rows


@given(rows_of(names))
@few
def test_parquet(rows):
    stream = io.BytesIO()
    pl.DataFrame(rows, schema=TRIPLE, orient="row").write_parquet(stream)
    assert read_back("facts.parquet", stream.getvalue()) == rows
