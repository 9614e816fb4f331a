"""Real servers: what they acknowledge is kept, when they are killed and when there are two."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import pytest

from sparring.serve.reviews import Reviews

WRITES = 200


@contextmanager
def serving(run_folder, reviews):
    """A real server and its port."""
    words = ["serve", str(run_folder), "--port", "0", "--rate", "0", "--reviews", str(reviews)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sparring", *words], stdout=subprocess.PIPE, text=True
    )
    line = process.stdout.readline()
    yield process, int(line.partition("127.0.0.1:")[2].partition("/")[0])
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def server(run_folder, tmp_path):
    """A real server, its port, and its database."""
    with serving(run_folder, tmp_path / "reviews.db") as (process, port):
        yield process, port, tmp_path / "reviews.db"


def post(port, path, body):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        headers = {"content-type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        return json.loads(connection.getresponse().read())


@pytest.mark.slow
def test_no_acknowledged_review_is_lost(server, served):
    process, port, path = server
    names = list(served.graph.entities)
    pairs = [(head, tail) for head in names for tail in names if head != tail][:WRITES]
    acknowledged = []

    def write(part):
        for head, tail in pairs[part::4]:
            body = [{"head": head, "relation": "next", "tail": tail, "decision": "accept"}]
            try:
                (kept,) = post(port, f"/api/v1/reviews?reviewer=writer{part}", body)
            except OSError:
                return
            acknowledged.append((kept["head"], kept["tail"]))
            if len(acknowledged) == WRITES // 2:
                os.kill(process.pid, signal.SIGKILL)

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.wait()
    assert WRITES // 2 <= len(acknowledged) < WRITES
    reviews = Reviews(path)
    kept = {(each.head, each.tail) for each in reviews.reviewed()}
    reviews.close()
    assert set(acknowledged) <= kept


@pytest.mark.slow
def test_a_server_stops_when_it_is_asked_to(server):
    process, port, path = server
    body = [{"head": "e005", "relation": "next", "tail": "e009", "decision": "unsure"}]
    post(port, "/api/v1/reviews?reviewer=ann", body)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) in (0, 130)
    assert not path.with_name(f"{path.name}-wal").exists()  # merged into the file


@pytest.mark.slow
def test_two_servers_share_a_file(run_folder, served, tmp_path):
    path = tmp_path / "reviews.db"
    names = list(served.graph.entities)
    pairs = [(head, tail) for head in names for tail in names if head != tail][:40]
    with serving(run_folder, path) as (_, first), serving(run_folder, path) as (_, second):

        def write(part):
            for head, tail in pairs[part::4]:
                body = [{"head": head, "relation": "next", "tail": tail, "decision": "accept"}]
                post((first, second)[part % 2], f"/api/v1/reviews?reviewer=writer{part}", body)

        threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        undone = [
            post(port, "/api/v1/reviews/undo?reviewer=writer0", []) for port in (first, second)
        ]
    assert [tuple(each["undone"].values())[:3:2] for each in undone] == pairs[0::4][:-3:-1]
    reviews = Reviews(path)
    kept = {(each.head, each.tail) for each in reviews.reviewed()}
    reviews.close()
    assert kept == set(pairs) - set(pairs[0::4][-2:])
