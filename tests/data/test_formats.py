"""Files of a graph: how they are found, decompressed, and named in errors."""

import gzip
import io
import re
import sys

import polars as pl
import pytest
import zstandard
from data.reading import as_tsv, few, names, read_back, rows_of, tabless
from hypothesis import given

from sparring.data.columns import TRIPLE
from sparring.data.diagnostics import GraphError
from sparring.data.read import read_graph
from sparring.data.split import SplitRule


def refused(path, message, **options):
    with pytest.raises(GraphError, match=re.escape(message)):
        read_graph(path, **options)


@pytest.mark.parametrize("suffix, pack", [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_packed_file_that_was_cut(folder, suffix, pack):
    whole = pack("".join(f"a\tr\tb{n}\n" for n in range(1000)).encode())
    path = folder(train=None)
    (path / f"train.tsv{suffix}").write_bytes(whole[:-9])
    message = (
        f"train.tsv{suffix}: broken compression: "
        "'the file ends in the middle of its compressed data'; download the file again"
    )
    refused(path, message)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_that_is_not_packed_as_its_name_says(folder, suffix):
    path = folder(train=None)
    (path / f"train.tsv{suffix}").write_bytes(b"a\tr\tb\n")
    refused(path, f"train.tsv{suffix}: broken compression")


def test_a_packed_file_with_a_wrong_checksum(folder):
    whole = bytearray(gzip.compress(b"a\tr\tb\n"))
    whole[-5] ^= 1
    path = folder(train=None)
    (path / "train.tsv.gz").write_bytes(whole)
    refused(path, "train.tsv.gz: broken compression")


def test_no_such_folder(tmp_path):
    (tmp_path / "near").mkdir()
    message = f"far: no such file or folder; correct the path; {tmp_path} holds near"
    refused(tmp_path / "far", message)


def test_no_such_folder_in_no_such_folder(tmp_path):
    refused(tmp_path / "further" / "far", "no such file or folder; correct the path; ")


def test_a_kind_of_file_that_is_not_known(folder):
    message = "train.xlsx: unknown kind of file; give .tsv, .txt (tabs), .csv, .jsonl or RDF"
    refused(folder(".xlsx") / "train.xlsx", message, split=SplitRule())


def test_packed_parquet_is_not_known(folder):
    path = folder(train__parquet__gz="") / "train.parquet.gz"
    refused(path, "unknown kind of file", split=SplitRule())


def test_a_missing_split(folder):
    message = (
        "no file valid; expected train, valid and test, each as .tsv, .txt (tabs), .csv, "
        ".jsonl or RDF (.nt, .nq, .ttl, .trig, .n3, .rdf, .jsonld), plain, .gz or .zst; .parquet; "
        "or a database (.db, .sqlite, .duckdb); found test.tsv, train.tsv"
    )
    refused(folder(valid=None), message)


def test_an_empty_folder(tmp_path):
    refused(tmp_path, "no file train; expected train, valid and test")


def test_a_file_of_another_stem_is_not_taken(folder):
    refused(folder(valid=None, valid_negatives="a\tr\tb\n"), "no file valid")


def test_a_file_with_more_to_its_name_is_not_taken(folder):
    refused(folder(valid=None, valid__old__tsv="a\tr\tb\n"), "no file valid")


def test_two_files_for_one_split(folder):
    message = "train.csv and train.tsv all hold train; keep the one that is to be read"
    refused(folder(train__csv="a,r,b\n"), message)


def test_a_packed_file_beside_the_plain_one(folder):
    refused(folder(train__tsv__gz="a\tr\tb\n"), "train.tsv and train.tsv.gz all hold train")


@given(rows_of(tabless))
@few
def test_packed_text(rows):
    assert read_back("facts.tsv.gz", gzip.compress(as_tsv(rows))) == rows
    assert read_back("facts.tsv.zst", zstandard.compress(as_tsv(rows))) == rows


@given(rows_of(names))
@few
def test_parquet(rows):
    stream = io.BytesIO()
    pl.DataFrame(rows, schema=TRIPLE, orient="row").write_parquet(stream)
    assert read_back("facts.parquet", stream.getvalue()) == rows


def test_without_zstandard_the_error_says_what_to_install(folder, monkeypatch):
    path = folder(".tsv.zst")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    message = r'train.tsv.zst: reading it needs zstandard; run pip install .*\[benchmarks\]", or'
    with pytest.raises(GraphError, match=message):
        read_graph(path)


def test_other_files_are_read_without_optional_packages(folder, monkeypatch):
    for module in ("pyoxigraph", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    assert len(read_graph(folder(".tsv.gz")).train) == 3
