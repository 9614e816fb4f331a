"""The client in docs/howto/explore.md works as it is printed."""

import json
import re
import threading
import time
from pathlib import Path

import uvicorn

from sparring.serve.app import create_app
from sparring.serve.safety import Access

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "explore.md"
RESULTS = ROOT / "research" / "results" / "reviewing"


ORDERS = {
    "probability": "probability (the queue)",
    "score": "plain score (top-k)",
    "random": "random",
}
HIDDEN = {"extra_true": "fb15k-237: FB15k", "withheld": "fb15k-237: withheld"}


def record(graph):
    return json.loads((RESULTS / f"{graph}.json").read_text())


def test_the_numbers_are_those_of_the_study():
    text = PAGE.read_text()
    shown = {title: record("fb15k-237")["precision"][which] for which, title in HIDDEN.items()}
    for graph, precision in {"codex-m": record("codex-m")["precision"], **shown}.items():
        for order, title in ORDERS.items():
            shares = (f"{100 * share:.1f} %" for share in precision[order].values())
            assert f"| {graph} | {title} | {' | '.join(shares)} |" in text
    found = record("codex-m")
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
