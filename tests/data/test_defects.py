"""Every defect is refused with file, line, value and remedy."""

import gzip
import re

import pytest
import torch
import zstandard

from sparring.data.diagnostics import GraphError
from sparring.data.read import read_graph
from sparring.data.split import SplitRule
from sparring.data.tables import keys


def refused(path, message, **options):
    with pytest.raises(GraphError, match=re.escape(message)):
        read_graph(path, **options)


def test_too_few_fields(folder):
    message = (
        "train.tsv, line 2: not 3 fields: ['b', 'r']; "
        "give head and relation and tail in fields of their own"
    )
    refused(folder(train="a\tr\tb\nb\tr\n"), message)


def test_too_many_fields(folder):
    refused(folder(train="a\tr\tb\nb\tr\tc\td\n"), "line 2: not 3 fields: ['b', 'r', 'c', 'd']")


def test_the_wrong_number_of_fields_in_every_line(folder):
    refused(folder(train="a b c\nb c d\n"), "train.tsv, line 1: not 3 fields: ['a b c']")


def test_too_few_fields_in_comma_separated_text(folder):
    refused(folder(".csv", train="a,r,b\nb,r\n"), "train.csv, line 2: not 3 fields: ['b', 'r']")


def test_too_few_fields_after_a_quoted_line_break(folder):
    refused(folder(".csv", train='"a\n",r,b\nb,r\n'), "train.csv, line 3: not 3 fields")


@pytest.mark.parametrize("column", ["head", "relation", "tail"])
def test_an_empty_field(folder, column):
    row = {"head": "a", "relation": "r", "tail": "b", column: ""}
    text = "c\ts\ta\n" + "\t".join(row.values()) + "\n"
    message = f"train.tsv, line 2: empty {column}: {list(row.values())}; name it, or delete"
    refused(folder(train=text), message)


def test_an_empty_field_before_a_line_end_of_windows(folder):
    refused(folder(train="a\tr\tb\r\nb\tr\t\r\n"), "train.tsv, line 2: empty tail")


def test_an_empty_quoted_field(folder):
    refused(folder(".csv", train='a,"",b\n'), "train.csv, line 1: empty relation: ['a', '', 'b']")


@pytest.mark.parametrize("suffix, text", [(".tsv", "a\tr\tb\n\n"), (".csv", "a,r,b\n\n")])
def test_a_blank_line(folder, suffix, text):
    refused(folder(suffix, train=text), f"train{suffix}, line 2: blank line; delete it")


def test_a_blank_line_among_quotes(folder):
    refused(folder(".csv", train='"a",r,b\n\nc,r,d\n'), "train.csv, line 2: blank line; delete it")


def test_an_encoding_other_than_utf_8(folder):
    text = "a\tr\tb\ncafé\tr\tb\n".encode("latin-1")
    message = (
        "train.tsv, line 2: not UTF-8: b'caf\\xe9\\tr\\tb\\n'; save the file in the encoding UTF-8"
    )
    refused(folder(train=text), message)


def test_an_encoding_other_than_utf_8_in_quoted_text(folder):
    text = '"a",r,b\n"café",r,b\n'.encode("latin-1")
    refused(folder(".csv", train=text), "train.csv, line 2: not UTF-8")


def test_an_open_quote(folder):
    message = "train.csv, line 2: bad quoting (unexpected end of data); double each quote"
    refused(folder(".csv", train='"a",r,b\n"b,r,c\nd,r,e\n'), message)


def test_a_quote_that_is_not_doubled(folder):
    refused(folder(".csv", train='a,r,b\n"b"c,r,c\n'), "line 2: bad quoting (',' expected after")


def test_a_defect_beyond_the_first_block_has_the_right_line(folder, monkeypatch):
    monkeypatch.setattr("sparring.data.formats.BLOCK", 8)
    text = "".join(f"a\tr\tb{n}\n" for n in range(20)) + "a\tr\n"
    refused(folder(train=text), "train.tsv, line 21: not 3 fields")


@pytest.mark.parametrize("suffix, pack", [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_packed_file_that_was_cut(folder, suffix, pack):
    whole = pack("".join(f"a\tr\tb{n}\n" for n in range(1000)).encode())
    path = folder(train=None)
    (path / f"train.tsv{suffix}").write_bytes(whole[:-9])
    message = (
        f"train.tsv{suffix}: broken compression: "
        "'the file ends in the middle of its compressed data'; fetch the file again"
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
    message = "train.xlsx: unknown kind of file; give .tsv, .txt (tabs) or .csv, plain, .gz or"
    refused(folder(".xlsx") / "train.xlsx", message, split=SplitRule())


def test_packed_parquet_is_not_known(folder):
    path = folder(train__parquet__gz="") / "train.parquet.gz"
    refused(path, "unknown kind of file", split=SplitRule())


def test_a_missing_split(folder):
    message = (
        "no file valid; expected train, valid and test, each as .tsv, .txt (tabs) or .csv, "
        "plain, .gz or .zst; .parquet; .nt or .ttl; found test.tsv, train.tsv"
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


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("text", ["", "head\trelation\ttail\n"])
def test_a_split_without_triples(folder, split, text):
    refused(folder(**{split: text}), f"{split}.tsv: no triples; fill the file")


def test_a_packed_split_of_no_bytes_has_no_triples(folder):
    path = folder(train=None)
    (path / "train.tsv.gz").write_bytes(b"")
    refused(path, "train.tsv.gz: no triples")


def test_an_entity_unseen_in_train_where_that_is_refused(folder):
    message = (
        "test.tsv, line 2: entities of test unseen in train: 'x'; "
        'add them to train, or pass unseen="keep" or unseen="drop"'
    )
    refused(folder(test="a\tr\tb\nx\tr\ta\n"), message, unseen="error")


def test_a_relation_unseen_in_train_where_that_is_refused(folder):
    message = "valid.tsv, line 1: relations of valid unseen in train: 'q'; add them to train"
    refused(folder(valid="a\tq\tb\n"), message, unseen="error")


def test_several_unseen_names_are_shown_where_they_occur_first(folder):
    message = (
        "entities of test unseen in train, 2 in all (line 3: 'x'; line 2: 'y'); add them to train"
    )
    refused(folder(test="a\tr\tb\na\tr\ty\nx\tr\ta\ny\tr\tx\n"), message, unseen="error")


def test_one_file_without_a_rule(folder):
    message = "train.tsv: one file, and no rule that splits it; pass split=SplitRule(valid=0.05"
    refused(folder() / "train.tsv", message)


def test_a_folder_with_a_rule(folder):
    refused(folder(), "a folder has splits of its own; leave split out", split=SplitRule())


def test_too_few_fields_in_labels(folder):
    refused(folder(labels="a\n"), "labels.tsv, line 1: not 2 or more fields: ['a']; give name and")


def test_an_empty_label(folder):
    refused(folder(labels="a\t\tmore\n"), "labels.tsv, line 1: empty label: ['a', '', 'more']")


def test_an_empty_type(folder):
    refused(folder(entity_types="a\t\n"), "entity_types.tsv, line 1: empty type")


def test_a_long_value_is_cut(folder):
    with pytest.raises(GraphError) as caught:
        read_graph(folder(train=f"{'a' * 1000}\tr\n"))
    assert len(str(caught.value)) < 300


def test_keys_that_overflow():
    with pytest.raises(GraphError, match="3000000000 entities and 2 relations overflow a 64-bit"):
        keys(torch.zeros(1, 3, dtype=torch.long), 3_000_000_000, 2)
