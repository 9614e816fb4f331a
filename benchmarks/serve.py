"""How `sparring serve` holds under load: response times, errors and memory.

    python benchmarks/serve.py RUN [RUN ...] [--seconds 60] [--clients 50] [--requests 10000]

Starts a server for each run, lets it finish its background work (for --settle seconds, at most),
and sends requests of many clients over loopback, each of which sends the next as soon as it has an
answer. Then it sends so many further requests, and looks at how the memory grows. Also measures
type-ahead over a million names.
Writes research/results/benchmarks/serve.json and serve.md.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from record import load, write

from sparring.data import store
from sparring.experiments.environment import provenance
from sparring.serve.labels import LabelIndex

SHARES = {"labels": 40, "predict": 30, "score": 10, "look": 10, "review": 10}  # of the requests


class Client:
    """One connection that is kept alive."""

    def __init__(self, port: int, graph, seed: int):
        self.port, self.graph, self.rng = port, graph, random.Random(seed)
        self.name = f"client {seed}"

    async def open(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def send(self, kind: str) -> int:
        """The status of the answer to one request."""
        path, body = self.request(kind)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + content)
        status = int((await self.reader.readline()).split()[1])
        length = 0
        while (line := await self.reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        await self.reader.readexactly(length)
        return status

    def request(self, kind: str) -> tuple[str, list[dict[str, str]] | None]:
        graph = self.graph
        head, relation, tail = graph.train[self.rng.randrange(len(graph.train))].tolist()
        names = {"head": graph.entities[head], "relation": graph.relations[relation]}
        triple = {**names, "tail": graph.entities[tail]}
        if kind == "labels":
            text = graph.entities.label(head)[: self.rng.randrange(1, 8)]
            return f"/api/v1/labels?{urlencode({'q': text})}", None
        if kind == "predict":
            return "/api/v1/predict?k=10", [names]
        if kind == "score":
            return "/api/v1/score", [triple]
        if kind == "look":
            return f"/look?{urlencode({'entity': triple['head']})}", None
        decision = {**triple, "decision": self.rng.choice(["accept", "reject", "unsure"])}
        return f"/api/v1/reviews?{urlencode({'reviewer': self.name})}", [decision]


def memory(process: int) -> float:
    """Resident memory in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def run_clients(port: int, graph, clients: int, stop) -> tuple[dict[str, list[float]], int]:
    """Seconds of each answer by kind of request, and the number of errors."""
    seconds: dict[str, list[float]] = defaultdict(list)
    errors = 0

    async def work(seed: int) -> None:
        nonlocal errors
        client = await Client(port, graph, seed).open()
        kinds, weights = list(SHARES), list(SHARES.values())
        while not stop(sum(map(len, seconds.values()))):
            kind = client.rng.choices(kinds, weights)[0]
            start = time.perf_counter()
            errors += await client.send(kind) != 200
            seconds[kind].append(time.perf_counter() - start)
        client.writer.close()

    await asyncio.gather(*(work(seed) for seed in range(clients)))
    return seconds, errors


def measure(run: Path, options: argparse.Namespace) -> dict:
    graph = store.load(run / "graph")
    with tempfile.TemporaryDirectory() as folder:
        words = ["serve", str(run), "--port", "0", "--rate", "0"]
        words += ["--reviews", str(Path(folder, "reviews.db"))]
        process = subprocess.Popen(
            [sys.executable, "-m", "sparring", *words], stdout=subprocess.PIPE, text=True
        )
        try:
            line = process.stdout.readline()
            port = int(line.partition("127.0.0.1:")[2].partition("/")[0])
            settled = wait_for_background(port, options.settle)
            start, ready = time.perf_counter(), memory(process.pid)
            deadline = start + options.seconds
            seconds, errors = asyncio.run(
                run_clients(port, graph, options.clients, lambda n: time.perf_counter() > deadline)
            )
            took, loaded = time.perf_counter() - start, memory(process.pid)
            more, later = asyncio.run(
                run_clients(port, graph, options.clients, lambda n: n >= options.requests)
            )
            after = memory(process.pid)
        finally:
            process.terminate()
            process.wait()
    everything = [each for own in seconds.values() for each in own]
    return {
        "graph": graph.name,
        "entities": len(graph.entities),
        "clients": options.clients,
        "background work ended before": settled,
        "requests per second": round(len(everything) / took, 1),
        "errors": errors + later,
        "milliseconds": {
            kind: quantiles(own) for kind, own in {"all": everything, **seconds}.items()
        },
        "MiB": {
            "ready": round(ready),
            "after the load": round(loaded),
            f"after {sum(map(len, more.values())):,} more requests": round(after),
        },
    }


def wait_for_background(port: int, most: float) -> bool:
    """Whether the footer of a page stops to say that something runs in the background."""
    deadline = time.perf_counter() + most
    while b"In the background" in urlopen(f"http://127.0.0.1:{port}/").read():
        if time.perf_counter() > deadline:
            return False
        time.sleep(1)
    return True


def quantiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50": round(1000 * cuts[49], 1), "p99": round(1000 * cuts[98], 1)}


def type_ahead(names: int = 1_000_000, queries: int = 500) -> dict:
    """Milliseconds of queries over so many names of several words."""
    rng = random.Random(0)
    syllables = ["ka", "lo", "mi", "ra", "ten", "ber", "an", "or", "del", "vi", "new", "york", "st"]
    word = lambda: "".join(rng.choices(syllables, k=rng.randint(1, 4)))
    label = lambda: " ".join(word() for _ in range(rng.randint(1, 4)))
    labels = [label() for _ in range(names)]
    with tempfile.TemporaryDirectory() as folder:
        index = LabelIndex(Path(folder, "labels.db"))
        start = time.perf_counter()
        index.build("1", (("entity", f"Q{n}", text) for n, text in enumerate(labels)))
        built = time.perf_counter() - start
        seconds = []
        for _ in range(queries):
            text = rng.choice(labels)[: rng.randint(1, 12)]
            start = time.perf_counter()
            index.search(text, "entity")
            seconds.append(time.perf_counter() - start)
        index.close()
    found = {"names": names, "seconds to index": round(built, 1)}
    return {**found, "milliseconds": {**quantiles(seconds), "max": round(1000 * max(seconds), 1)}}


def table(record: dict) -> str:
    rows = [
        "| graph | entities | requests/s | errors | p50 ms | p99 ms | type-ahead p99 ms | MiB |"
    ]
    rows.append("|---|---:|---:|---:|---:|---:|---:|---|")
    for each in record["runs"]:
        whole, labels = each["milliseconds"]["all"], each["milliseconds"]["labels"]
        sizes = " → ".join(map(str, each["MiB"].values()))
        rows.append(
            f"| {each['graph']} | {each['entities']:,} | {each['requests per second']} | "
            f"{each['errors']} | {whole['p50']} | {whole['p99']} | {labels['p99']} | {sizes} |"
        )
    ahead = record["type-ahead"]
    times = ", ".join(f"{name} {value} ms" for name, value in ahead["milliseconds"].items())
    rows += ["", f"Type-ahead over {ahead['names']:,} names: {times}."]
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--settle", type=float, default=900, help="seconds for background work")
    options = parser.parse_args()
    record = {
        "seconds": options.seconds,
        "shares": SHARES,
        "runs": [measure(run, options) for run in options.runs],
        "type-ahead": type_ahead(),
        "load": load(),
        **provenance(),
    }
    write("serve", record, table(record))
    print(table(record))


if __name__ == "__main__":
    main()
