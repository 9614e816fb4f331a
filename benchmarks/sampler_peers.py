"""How batches are measured here, and in other libraries' environments, for `samplers.py`."""

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from other_process import Process

BATCH = 1024
PACKAGES = {
    "pykeen": [["pykeen==1.11.1"]],
    "torchkge": [["--no-deps", "torchkge"], ["tqdm"]],
    # what its setup.py asks for; later ax-platform has lost what it imports
    "libkge": [
        ["numba", "pandas", "pyyaml", "path", "torchviz", "sqlalchemy<2", "igraph"],
        ["hpbandster", "ax-platform==0.4.3"],
    ],
}
EXTRA = {"pykeen": [], "torchkge": ["pandas"], "libkge": []}
# a library that is in no package index: the module, where its source is, and which commit
SOURCES = {
    "libkge": ("kge", "https://github.com/uma-pi1/kge", "9bca31fefbfc41d48fdc03396acd0cf42eee9dc4")
}
LEAST_TIME, MOST_ROUNDS, LEAST_ROUNDS = 0.3, 11, 3


def environment(folder: Path, library: str) -> tuple[Path, str]:
    """A Python that has the library, with PyTorch for the processor; and its version.

    The environment variable LIBKGE may say where to clone LibKGE from.
    """
    place = folder / library
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        told([sys.executable, "-m", "venv", str(place)])
        for wanted in [["torch==2.13.0"], *PACKAGES[library], *([e] for e in EXTRA[library])]:
            told([str(python), "-m", "pip", "install", "--quiet", *wanted])
        if library in SOURCES:
            clone(place, library)
        (place / "ready").touch()
    if library in SOURCES:
        return python, told(["git", "-C", str(place / "source"), "describe", "--always"])
    code = f"from importlib.metadata import version; print(version({library!r}))"
    return python, told([str(python), "-c", code])


def clone(place: Path, library: str) -> None:
    """Put the source of a library where this environment's Python finds it."""
    module, address, commit = SOURCES[library]
    source = place / "source"
    told(["git", "clone", "--quiet", os.environ.get(library.upper(), address), str(source)])
    told(["git", "-C", str(source), "checkout", "--quiet", commit])
    for packages in place.glob("lib/python*/site-packages"):
        (packages / f"{module}.pth").write_text(f"{source}\n")


def told(command: list[str]) -> str:
    """What a command prints; an error with its last words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["failed"])[-1])
    return done.stdout.strip()


def settle(keep: bool = True) -> None:
    """Let freed memory be used again, as training does; or give it back, to be measured."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-3, 2**30 if keep else 2**16)
    mallopt(-1, 2**31 - 1 if keep else 0)


class measured:
    """Time and memory of something that makes a `batch` and then `draw`s for it."""

    def __init__(self, what):
        self.what = what
        for _ in range(2):
            self.timed()

    def timed(self) -> float:
        """CPU seconds of one draw."""
        self.what.batch()
        start = time.process_time()
        self.what.draw()
        return time.process_time() - start

    def peak(self) -> float:
        """MiB that a draw adds at its peak."""
        settle(keep=False)
        self.what.batch()
        self.what.draw()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        self.what.batch()
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        kept = self.what.draw()
        after = _status("VmHWM")
        del kept
        settle()
        return max(after - before, 0) / 1024


def in_turns(takes: list) -> list[float]:
    """Median of each, taken in turns until enough."""
    times = [[] for _ in takes]
    while len(times[0]) < MOST_ROUNDS:
        for take, own in zip(takes, times):
            own.append(take())
        if len(times[0]) >= LEAST_ROUNDS and sum(map(sum, times)) > LEAST_TIME:
            break
    return [sorted(own)[len(own) // 2] for own in times]


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0])


class Peer(Process):
    """Another library's sampler in a process of its own."""

    def __init__(self, python: Path, library: str, file: Path, entities: int, relations: int):
        super().__init__([str(python), __file__, library, str(file), str(entities), str(relations)])

    def prepare(self, name: str, filterer: str, k: int) -> str:
        """Build a sampler; what went wrong, or nothing."""
        return self.ask("prepare", name, filterer, k)

    def timed(self) -> float:
        return self.ask("timed")

    def peak(self) -> float:
        return self.ask("peak")


class PyKEEN:
    """A sampler of PyKEEN, as its training loop calls it."""

    def __init__(self, triples, entities: int, relations: int, name: str, filterer: str, k: int):
        from pykeen.sampling import negative_sampler_resolver

        self.triples = triples
        self.sampler = negative_sampler_resolver.make(
            name.replace("-", ""), mapped_triples=triples, num_entities=entities,
            num_relations=relations, num_negs_per_pos=k, filtered=bool(filterer),
            filterer=filterer.replace("-", "") or None,
        )  # fmt: skip

    def batch(self):
        import torch

        self.some = self.triples[torch.randint(len(self.triples), (BATCH,))]

    def draw(self):
        return self.sampler.sample(self.some)


KEPT: dict = {}  # what takes long to build


class TorchKGE:
    """A sampler of TorchKGE; the positional one draws one candidate, so is asked K times over."""

    def __init__(self, triples, entities: int, relations: int, name: str, filterer: str, k: int):
        import torchkge.sampling as sampling
        from pandas import DataFrame
        from torchkge import KnowledgeGraph

        if "graph" not in KEPT:
            columns = dict(zip(("from", "rel", "to"), triples.T.numpy()))
            ids = ({i: i for i in range(size)} for size in (entities, relations))
            KEPT["graph"] = KnowledgeGraph(DataFrame(columns), None, *ids)
        self.triples, self.k, self.repeats = triples, k, name == "positional"
        kind = {
            "uniform": "UniformNegativeSampler",
            "bernoulli": "BernoulliNegativeSampler",
            "positional": "PositionalNegativeSampler",
        }[name]
        if name not in KEPT:
            KEPT[name] = getattr(sampling, kind)(KEPT["graph"])
        self.sampler = KEPT[name]

    def batch(self):
        import torch

        some = self.triples[torch.randint(len(self.triples), (BATCH,))]
        self.head, self.relation, self.tail = some.unbind(1)

    def draw(self):
        if not self.repeats:
            return self.sampler.corrupt_batch(self.head, self.tail, self.relation, n_neg=self.k)
        own = (x.repeat(self.k) for x in (self.head, self.tail, self.relation))
        return self.sampler.corrupt_batch(*own)


def serve(library: str, file: str, entities: str, relations: str) -> None:
    """Measure what standard input asks for."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    settle()
    triples = torch.from_numpy(np.load(file))
    make = {"pykeen": PyKEEN, "torchkge": TorchKGE}[library]
    one = None
    for line in sys.stdin:
        verb, *words = json.loads(line)
        if verb == "prepare":
            try:
                one, answer = measured(make(triples, int(entities), int(relations), *words)), ""
            except Exception as error:  # whatever another library may raise is recorded
                answer = f"{type(error).__name__}: {error}"
        else:
            answer = getattr(one, verb)()
        print("answer:" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    assert version("torch")
    serve(*sys.argv[1:])
