import errno
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sparring.files import (
    LOCK,
    DamagedFileError,
    FolderInUseError,
    locked,
    read_object,
    remove_drafts,
    write_atomically,
    write_object,
)

HOLD = """
import sys, time
from pathlib import Path
from sparring.files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked the folder."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(holder, tmp_path):
    match = f"in use by process {holder.pid} on {platform.node()}; wait for it, stop it, or name"
    with pytest.raises(FolderInUseError, match=match), locked(tmp_path / "run"):
        pass


def test_the_lock_of_a_killed_process_does_not_matter(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with locked(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_a_process_may_wait_for_a_folder(holder, tmp_path):
    started = time.monotonic()
    killer = threading.Timer(0.5, holder.kill)
    killer.start()
    with locked(tmp_path / "run", wait=True):
        assert time.monotonic() - started > 0.4
    killer.join()


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "run"):
        raise KeyError
    assert not (tmp_path / "run").exists()
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "file").write_text("")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_renames_are_made_to_last(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file)) or fsync(file))
    write_atomically(tmp_path / "file", b"content")
    assert os.path.samestat(synced[-1], tmp_path.stat())


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as threads:
        reader = threads.submit(pipe.read_bytes)
        write_atomically(pipe, b"content")
        assert reader.result() == b"content"
    assert pipe.is_fifo()


def test_drafts_of_killed_processes_are_removed(tmp_path):
    (tmp_path / "graph").mkdir()
    drafts = (".last.json.77.draft", "graph/.index.json.77.draft", ".tmpjCNv2k")
    for name in (*drafts, "kept.draft"):
        (tmp_path / name).write_text("half")
    remove_drafts(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["graph", "kept.draft"]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"[" * 10**6, b"1e999"])
def test_what_is_no_object_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"file\.json is damaged: [^\n]*$"):
        read_object(tmp_path / "file.json")


@pytest.mark.parametrize("place", range(3, 40, 4))
def test_an_altered_object_is_refused(tmp_path, place):
    path, content = tmp_path / "file.json", {"mrr": 0.4123, "rows": [{"1": None}, "name"], "2": 1}
    write_object(path, content)
    assert read_object(path) == content
    altered = bytearray(path.read_bytes())
    altered[place] ^= 1
    path.write_bytes(altered)
    with pytest.raises(DamagedFileError, match=r"file\.json is damaged: [^\n]*$"):
        read_object(path)


def test_one_at_a_time_holds_a_folder_that_comes_and_goes(tmp_path):
    holders = []

    def hold(worker):
        for _ in range(30):
            with locked(tmp_path / "draft", wait=True):
                holders.append(worker)
                time.sleep(0.001)
                assert holders == [worker]
                holders.remove(worker)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(hold, range(8))) == [None] * 8
    assert not list(tmp_path.rglob(LOCK))


@pytest.mark.slow
def test_a_full_disk_is_an_error_of_the_system_that_names_the_file(tmp_path):
    """In a process of its own, where no file may grow beyond a size."""
    code = (
        "import resource, signal, sys, torch; from pathlib import Path; "
        "from sparring.files import write_tensors; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "write_tensors(Path(sys.argv[1]), {'zeros': torch.zeros(1000)})"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "zeros")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert f"OSError: [Errno {errno.EFBIG}]" in done.stderr
    assert done.stderr.strip().endswith(f"'{tmp_path / 'zeros'}'")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError), locked(tmp_path / name):
            pass


def test_a_lock_that_is_a_link_changes_no_other_file(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("content")
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=LOCK), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "content"
