"""Benchmarks by name, found, downloaded or refused; and the atlas inside the package."""

import gzip
import hashlib
import http.server
import itertools
import re
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from sparring.data import datasets as benchmarks
from sparring.data.datasets import downloads, embedded_folder, load_benchmark, load_embedded
from sparring.data.diagnostics import GraphError
from sparring.extras import MissingExtraError

FILES = {"train": b"a\tr\tb\nb\tr\tc\n", "valid": b"a\tr\tc\n", "test": b"c\tr\ta\n"}
PLACE = "someone/graphs/c0ffee/data/toy"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(autouse=True)
def no_local_data(monkeypatch):
    monkeypatch.delenv("SPARRING_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A server on this machine with one benchmark, "toy", and its address."""
    root = tmp_path / "served"
    folder = root / PLACE
    folder.mkdir(parents=True)
    for split, content in FILES.items():
        (folder / f"{split}.txt").write_bytes(content)
    checksums = {split: hashlib.sha256(content).hexdigest() for split, content in FILES.items()}
    source = {"repository": "someone/graphs", "commit": "c0ffee", "folder": "data/toy"}
    monkeypatch.setattr(benchmarks, "downloads", lambda: {"toy": {**source, **checksums}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def nowhere(host):
    """An address where nothing answers."""
    return "http://127.0.0.1:9"


def put(folder, **files):
    folder.mkdir(parents=True)
    for split, content in {**FILES, **files}.items():
        (folder / f"{split}.tsv").write_bytes(content)
    return folder


def test_a_benchmark_is_downloaded_and_read(host, tmp_path):
    graph = load_benchmark("toy", store=tmp_path / "store", host=host)
    assert graph.name == "toy"
    assert (len(graph.train), len(graph.valid), len(graph.test)) == (2, 1, 1)


def test_what_is_in_the_store_is_not_downloaded_again(host, nowhere, tmp_path):
    load_benchmark("toy", store=tmp_path / "store", host=host)
    assert len(load_benchmark("toy", store=tmp_path / "store", host=nowhere).train) == 2


def test_the_store_holds_nothing_but_the_benchmark(host, tmp_path):
    load_benchmark("toy", store=tmp_path / "store", host=host)
    assert sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "store").rglob("*")) == [
        "store/toy",
        "store/toy/test.txt",
        "store/toy/train.txt",
        "store/toy/valid.txt",
    ]


def test_a_given_folder_comes_first(host, tmp_path, monkeypatch):
    put(tmp_path / "data" / "toy")
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path / "data"))
    folder = put(tmp_path / "mine", train=b"a\tr\tb\n")
    assert len(load_benchmark("toy", folder, store=tmp_path / "store", host=host).train) == 1


def test_a_given_folder_that_is_missing_is_not_replaced_by_a_download(host, tmp_path):
    with pytest.raises(GraphError, match=r"mine: no such file or folder"):
        load_benchmark("toy", tmp_path / "mine", store=tmp_path / "store", host=host)


def test_local_data_come_before_downloads(nowhere, tmp_path, monkeypatch):
    put(tmp_path / "data" / "toy")
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path / "data"))
    assert len(load_benchmark("toy", store=tmp_path / "store", host=nowhere).train) == 2


def test_local_data_may_have_any_name(tmp_path, monkeypatch):
    put(tmp_path / "data" / "my-own")
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path / "data"))
    assert load_benchmark("my-own", store=tmp_path / "store").name == "my-own"


def test_a_benchmark_that_local_data_lack_is_downloaded(host, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARRING_DATA", str(tmp_path))
    assert len(load_benchmark("toy", store=tmp_path / "store", host=host).train) == 2


def refused(tmp_path, host, message):
    hint = re.escape(f".tsv or .txt) into {tmp_path / 'store' / 'toy'}, or into a folder toy in")
    with pytest.raises(GraphError, match=f"{message}.*; put files train, valid and test .*{hint}"):
        load_benchmark("toy", store=tmp_path / "store", host=host)
    assert list((tmp_path / "store").iterdir()) == []


def test_without_a_network_the_error_says_what_to_put_where(nowhere, tmp_path):
    refused(tmp_path, nowhere, "toy: the benchmark could not be downloaded")


def test_a_file_with_another_checksum_is_refused_and_not_kept(host, tmp_path):
    (tmp_path / "served" / PLACE / "test.txt").write_bytes(b"c\tr\tb\n")
    refused(tmp_path, host, "could not be downloaded .*hash")


def test_a_missing_file_leaves_nothing_behind(host, tmp_path):
    (tmp_path / "served" / PLACE / "test.txt").unlink()
    refused(tmp_path, host, "could not be downloaded .*404")


def test_a_changed_file_is_refused_when_a_process_first_uses_it(host, tmp_path):
    load_benchmark("toy", store=tmp_path / "store", host=host)
    benchmarks._check.cache_clear()
    (tmp_path / "store" / "toy" / "train.txt").write_bytes(b"a\tr\tc\n")
    message = r"train\.txt: this is not the file of toy; delete .*toy to download it again"
    with pytest.raises(GraphError, match=message):
        load_benchmark("toy", store=tmp_path / "store", host=host)


def test_a_file_that_is_too_large_is_not_downloaded(host, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks, "MOST_BYTES", 3)
    refused(tmp_path, host, "could not be downloaded .*is larger than 3 bytes")


def test_several_may_download_at_once(host, tmp_path):
    with ThreadPoolExecutor(4) as threads:
        load = lambda _: load_benchmark("toy", store=tmp_path / "store", host=host)
        assert [len(graph.train) for graph in threads.map(load, range(4))] == [2] * 4
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["toy"]


def test_what_a_killed_download_left_is_replaced(host, tmp_path):
    draft = tmp_path / "store" / ".toy.download" / "toy"
    draft.mkdir(parents=True)
    (draft / "train.txt").write_bytes(b"ha")
    (draft.parent / ".lock").write_text("process 1")
    assert len(load_benchmark("toy", store=tmp_path / "store", host=host).train) == 2
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["toy"]


def test_an_unknown_benchmark_says_what_is_near(host, tmp_path):
    message = r"toys: no such benchmark to download; did you mean toy\? If not, put files train"
    with pytest.raises(GraphError, match=message):
        load_benchmark("toys", store=tmp_path / "store", host=host)


def test_an_unknown_benchmark_with_nothing_near_says_what_to_put_where(host, tmp_path):
    with pytest.raises(GraphError, match="no such benchmark to download; put files train, valid"):
        load_benchmark("zzz", store=tmp_path / "store", host=host)


def test_the_store_is_a_cache_folder_of_the_user(host, tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    load_benchmark("toy", host=host)
    assert (tmp_path / "sparring" / "toy").is_dir()


@pytest.mark.parametrize("name", downloads())
def test_every_download_is_pinned(name):
    source = downloads()[name]
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", source["repository"])
    assert re.fullmatch("[0-9a-f]{40}", source["commit"])
    checksums = [source[split] for split in ("train", "valid", "test")]
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums)
    assert len(set(checksums)) == 3


def test_the_usual_benchmarks_can_be_downloaded():
    assert {"fb15k-237", "wn18rr", "wn18", "codex-s", "codex-m", "umls", "kinship"} <= set(
        downloads()
    )


SPLITS = ("train", "valid", "test")
TABLES = (*SPLITS, "labels", "relation_labels", "entity_types")
SCRIPTS = Path(__file__).parents[2] / "scripts"


@cache
def rows(table: str) -> list[tuple[str, ...]]:
    text = gzip.decompress((embedded_folder() / f"{table}.tsv.gz").read_bytes()).decode()
    return [tuple(line.split("\t")) for line in text.splitlines()]


def facts() -> list[tuple[str, ...]]:
    return [fact for split in SPLITS for fact in rows(split)]


def names(triples: list[tuple[str, ...]]) -> set[str]:
    return {end for head, _, tail in triples for end in (head, tail)}


def pairs(triples: list[tuple[str, ...]]) -> set[frozenset[str]]:
    return {frozenset((head, tail)) for head, _, tail in triples}


def told(columns: int) -> dict[str, list[str]]:
    """Rows of the README's tables with so many columns: the first cell, and the others."""
    text = (embedded_folder() / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip("` ") for cell in line[1:-1].split("|")] for line in lines]
    return {row[0]: row[1:] for row in table if len(row) == columns}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the build script, importable."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return SCRIPTS


def test_is_large_enough_to_mean_something():
    graph = load_embedded()
    assert len(graph.entities) >= 5_000
    assert len(graph.relations) >= 20
    assert len(graph.train) + len(graph.valid) + len(graph.test) >= 25_000


def test_is_small_enough_to_ship():
    assert sum(file.stat().st_size for file in embedded_folder().rglob("*")) < 1_000_000


def test_is_read_without_remarks():
    assert load_embedded().notes == {}


def test_answers_a_question_in_plain_words():
    graph = load_embedded()
    asked = graph.entities.id("Switzerland"), graph.relations.id("has the official language")
    found = {
        graph.entities.label(tail)
        for part in (graph.train, graph.valid, graph.test)
        for head, relation, tail in part.tolist()
        if (head, relation) == asked
    }
    assert found == {"German", "French", "Italian", "Swiss German"}


def test_every_entity_has_one_label_of_its_own():
    label = rows("labels")
    assert {entity for entity, _ in label} == names(facts())
    assert len({text for _, text in label}) == len(label)


def test_every_entity_has_the_type_that_its_key_says():
    kind = rows("entity_types")
    assert [entity for entity, _ in kind] == [entity for entity, _ in rows("labels")]
    assert all(entity.startswith(f"{name}:") for entity, name in kind)


def test_every_relation_has_one_label_of_its_own():
    label = rows("relation_labels")
    assert {relation for relation, _ in label} == {relation for _, relation, _ in facts()}
    assert len({text for _, text in label}) == len(label)


def test_no_fact_is_told_twice():
    assert max(Counter(facts()).values()) == 1


@pytest.mark.parametrize("withheld", ["valid", "test"])
def test_withheld_facts_name_nothing_that_train_does_not(withheld: str):
    train = rows("train")
    assert names(rows(withheld)) <= names(train)
    assert {r for _, r, _ in rows(withheld)} <= {r for _, r, _ in train}


@pytest.mark.parametrize("one, other", list(itertools.combinations(SPLITS, 2)))
def test_no_pair_is_linked_in_two_parts_in_either_direction(one: str, other: str):
    assert not pairs(rows(one)) & pairs(rows(other))


def test_every_part_has_its_share():
    train, valid, test = (len(rows(split)) for split in SPLITS)
    assert 0.04 < valid / (train + valid + test) < 0.06
    assert 0.04 < test / (train + valid + test) < 0.06


def test_no_relation_repeats_or_inverts_another():
    linked: dict[str, set[frozenset[str]]] = {}
    for head, relation, tail in facts():
        linked.setdefault(relation, set()).add(frozenset((head, tail)))
    assert sum(map(len, linked.values())) == len(set.union(*linked.values()))


def test_borders_are_shared():
    border = {(head, tail) for head, relation, tail in facts() if relation == "borders"}
    assert border == {(tail, head) for head, tail in border}


def test_the_readme_counts_the_facts_of_each_relation():
    count = [Counter(relation for _, relation, _ in rows(split)) for split in SPLITS]
    for relation, _ in rows("relation_labels"):
        assert told(5)[relation][1:] == [f"{part[relation]:,}" for part in count]


def test_the_readme_counts_the_facts_of_each_part():
    total = told(5)[f"all {len(rows('relation_labels'))} relations"]
    assert total[1:] == [f"{len(rows(split)):,}" for split in SPLITS]


def test_the_readme_counts_the_entities_of_each_type():
    count = Counter(kind for _, kind in rows("entity_types"))
    for kind, number in count.items():
        assert told(2)[kind] == [f"{number:,}"]
    assert told(2)[f"all {len(count)} types"] == [f"{len(rows('labels')):,}"]


@pytest.mark.parametrize("notice", ["Unicode-3.0", "MIT-airportsdata", "MIT-holidays"])
def test_the_notices_that_the_readme_names_are_there(notice: str):
    readme = (embedded_folder() / "README.md").read_text(encoding="utf-8")
    assert f"LICENSES/{notice}.txt" in readme
    assert "ermission" in (embedded_folder() / "LICENSES" / f"{notice}.txt").read_text()


@pytest.mark.parametrize("table", TABLES)
def test_archives_carry_no_time_and_no_name(table: str):
    packed = (embedded_folder() / f"{table}.tsv.gz").read_bytes()
    assert packed[3] == 0  # no optional fields, such as a file name
    assert packed[4:8] == bytes(4)  # no time


def test_the_rule_of_the_split_gives_the_parts_whatever_the_order(scripts: Path):
    from atlas.split import split

    assert split(facts()[::-1]) == {part: rows(part) for part in SPLITS}


def test_the_script_makes_the_same_tables_and_counts(scripts: Path, tmp_path: Path):
    from atlas import sources

    try:
        sources.check_versions()
    except (PackageNotFoundError, RuntimeError) as missing:
        pytest.skip(f"needs the extra data: {missing}")
    subprocess.run([sys.executable, scripts / "build_atlas.py", tmp_path], check=True)
    for table in TABLES:
        made = gzip.decompress((tmp_path / f"{table}.tsv.gz").read_bytes()).decode()
        assert [tuple(line.split("\t")) for line in made.splitlines()] == rows(table)
    assert (tmp_path / "README.md").read_text() == (embedded_folder() / "README.md").read_text()


def test_the_script_refuses_other_sources(scripts: Path, monkeypatch: pytest.MonkeyPatch):
    from atlas import sources

    monkeypatch.setattr(sources, "PINNED", {"torch": "0.1"})
    with pytest.raises(RuntimeError, match=r"built from torch 0\.1, found .* pip install"):
        sources.check_versions()


def test_without_pooch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    message = r'downloading wn18rr needs the package pooch; run pip install .*\[benchmarks\]"'
    with pytest.raises(MissingExtraError, match=message):
        load_benchmark("wn18rr")


def test_a_given_folder_needs_no_optional_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert len(load_benchmark("wn18rr", put(tmp_path / "own")).train)
