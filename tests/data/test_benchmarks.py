"""Benchmarks are found where they should be, downloaded whole, or asked for."""

import hashlib
import http.server
import re
import threading
from functools import partial

import pytest

from sparring.data import datasets as benchmarks
from sparring.data.datasets import downloads, load_benchmark
from sparring.data.diagnostics import GraphError

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


def test_an_unknown_benchmark_says_what_is_near(host, tmp_path):
    message = r"toys: no such benchmark to download; did you mean toy\? If not, put files train"
    with pytest.raises(GraphError, match=message):
        load_benchmark("toys", store=tmp_path / "store", host=host)


def test_an_unknown_benchmark_with_nothing_near_says_what_to_put_where(host, tmp_path):
    with pytest.raises(GraphError, match="no such benchmark to download; put files train, valid"):
        load_benchmark("zzz", store=tmp_path / "store", host=host)


def test_the_store_is_a_cache_folder_of_the_user(host, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks.pooch, "os_cache", lambda name: tmp_path / name)
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
