"""How `sparring serve` holds under load: response times, errors and memory.

    python benchmarks/serve.py RUN [RUN ...] [--parts load memory type-ahead]

Starts a server for each run, and sends requests of many clients over loopback, each of which sends
the next as soon as it has an answer.

- load: 50 clients for a minute, at once: rules are still being mined, and requests come first.
- memory: 10,000 requests of 50 clients. The memory of the server is looked at on the way.
- type-ahead: queries over a million names, without a server.

Writes research/results/benchmarks/serve.json and serve.md; parts that are not measured stay as they
are there. To give server and clients one core, start this with `taskset -c 0`.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from record import RESULTS, load, write

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


@contextmanager
def serving(run: Path) -> Iterator[tuple[int, int]]:
    """Process and port of a server of the run."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["serve", str(run), "--port", "0", "--rate", "0"]
        words += ["--reviews", str(Path(folder, "reviews.db"))]
        process = subprocess.Popen(
            [sys.executable, "-m", "sparring", *words], stdout=subprocess.PIPE, text=True
        )
        try:
            line = process.stdout.readline()
            yield process.pid, int(line.partition("127.0.0.1:")[2].partition("/")[0])
        finally:
            process.terminate()
            process.wait()


def measure_load(run: Path, graph, options: argparse.Namespace) -> dict:
    with serving(run) as (process, port):
        start, before = time.perf_counter(), cpu_seconds(process)
        deadline = start + options.seconds
        seconds, errors = asyncio.run(
            run_clients(port, graph, options.clients, lambda n: time.perf_counter() > deadline)
        )
        took, spent = time.perf_counter() - start, cpu_seconds(process) - before
    everything = [each for own in seconds.values() for each in own]
    return {
        "clients": options.clients,
        "seconds": options.seconds,
        "cores of server and clients": len(os.sched_getaffinity(0)),
        "requests": len(everything),
        "requests per second": round(len(everything) / took, 1),
        "CPU milliseconds of the server per request": round(1000 * spent / len(everything), 1),
        "errors": errors,
        "milliseconds": {
            kind: quantiles(own) for kind, own in {"all": everything, **seconds}.items()
        },
        "processes that want the machine": load(),
    }


def measure_memory(run: Path, graph, options: argparse.Namespace) -> dict:
    with serving(run) as (process, port):
        wait_for_background(port, options.settle)
        done, errors, sizes = 0, 0, {"0": round(memory(process))}
        enough = lambda number: number >= options.requests // 5
        while done < options.requests:
            seconds, failed = asyncio.run(run_clients(port, graph, options.clients, enough))
            done, errors = done + sum(map(len, seconds.values())), errors + failed
            sizes[str(done)] = round(memory(process))
    return {"clients": options.clients, "errors": errors, "MiB after so many requests": sizes}


def wait_for_background(port: int, most: float) -> None:
    """Until the footer of a page stops to say that something runs in the background."""
    deadline = time.perf_counter() + most
    while b"In the background" in urlopen(f"http://127.0.0.1:{port}/").read():
        if time.perf_counter() > deadline:
            return
        time.sleep(1)


def cpu_seconds(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        "| graph | entities | requests/s | errors | p50 ms | p99 ms | type-ahead p99 ms | "
        "CPU ms per request | MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, run in record["runs"].items():
        found, kept = run.get("load"), run.get("memory")
        times = ["", "", "", "", "", ""]
        if found:
            whole, labels = found["milliseconds"]["all"], found["milliseconds"]["labels"]
            errors = found["errors"] + (kept["errors"] if kept else 0)
            cpu = found["CPU milliseconds of the server per request"]
            times = [found["requests per second"], errors, whole["p50"], whole["p99"]]
            times += [labels["p99"], cpu]
        sizes = kept["MiB after so many requests"] if kept else {}
        size = ", ".join(f"{value} at {int(number):,}" for number, value in sizes.items())
        cells = " | ".join(map(str, times))
        rows.append(f"| {name} | {run['entities']:,} | {cells} | {size} |")
    if ahead := record.get("type-ahead"):
        times = ", ".join(f"{name} {value} ms" for name, value in ahead["milliseconds"].items())
        rows += ["", f"Type-ahead over {ahead['names']:,} names: {times}."]
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN")
    parser.add_argument("--parts", nargs="+", default=["load", "memory", "type-ahead"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--settle", type=float, default=900, help="seconds for background work")
    options = parser.parse_args()
    path = RESULTS / "serve.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    record = {"shares": SHARES, "runs": {}, **record, **provenance()}
    for run in options.runs:
        graph = store.load(run / "graph")
        found = record["runs"].setdefault(graph.name, {"entities": len(graph.entities)})
        for name, measure in {"load": measure_load, "memory": measure_memory}.items():
            if name in options.parts:
                found[name] = measure(run, graph, options)
                write("serve", record, table(record))
    if "type-ahead" in options.parts:
        record["type-ahead"] = type_ahead()
    write("serve", record, table(record))
    print(table(record))


if __name__ == "__main__":
    main()
