"""The client in docs/howto/explore.md works as it is printed."""

import json
import re
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from sparring.serve.app import create_app
from sparring.serve.safety import Access

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "explore.md"
RESULTS = ROOT / "research" / "results" / "reviewing"


ROWS = {  # graph and hidden truth by title
    "codex-m": ("codex-m", "curated"),
    "fb15k-237: FB15k": ("fb15k-237", "extra_true"),
    "fb15k-237: withheld": ("fb15k-237", "withheld"),
    "debian-kg": ("debian-kg", "later_true"),
}


def record(graph):
    return json.loads((RESULTS / f"{graph}.json").read_text())


def test_the_numbers_are_those_of_the_study():
    text = PAGE.read_text()
    for title, (graph, hidden) in ROWS.items():
        precision = record(graph)["precision"][hidden]
        shares = {
            order: " | ".join(f"{100 * share:.1f} %" for share in precision[order].values())
            for order in ("probability", "score")
        }
        assert (
            f"| {title} (random: {100 * precision['random']['2000']:.1f} %) "
            f"| probability (the queue) | {shares['probability']} |\n"
            f"| | plain score (top-k) | {shares['score']} |"
        ) in text


@pytest.mark.parametrize("graph", ["codex-m", "debian-kg", "fb15k-237"])
def test_what_reviews_taught_is_that_of_the_study(graph):
    text, found = PAGE.read_text(), record(graph)
    taught = found["trained with reviews"]
    mrr = [found["mrr without reviews"], found["mrr with another seed"]]
    mrr += [taught[order]["mrr"] for order in ("probability", "random")]
    assert all(f"{value:.4f}".removeprefix("0") in text for value in mrr)


def test_the_client(workspace, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    config = uvicorn.Config(create_app(workspace, Access()), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    query = '"head": "Iceland", "relation": "spoken_language"'
    assert query in code
    code = code.replace("8642", str(port)).replace(query, '"head": "e005", "relation": "next"')
    try:
        exec(code, {})
    finally:
        server.should_exit = True
        thread.join()
    assert len(capsys.readouterr().out.splitlines()) == 3
