"""Fingerprints of many short runs: does a refactoring leave every number as it was?

    python research/scripts/fingerprints.py record research/results/fingerprints.json
    python research/scripts/fingerprints.py compare research/results/fingerprints.json

`record` trains some seventy small experiments through the command line and writes hashes of what
they leave. `compare` does so again, prints what is equal, and exits with 1 on any difference. Names
may change in between: tensors are known by their content, and figures by their value.

Both records have to come from one machine with the same libraries. The processor's instructions and
the version of PyTorch decide in which order sums are taken. Compiled loops are built without
vector instructions here: with them, a loop may first look at where its arrays lie in memory and
round otherwise where these are close, so that equal runs differ in the last digit.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

REPOSITORY = Path(__file__).resolve().parents[2]
METRICS = (
    *("k", "scored_per_query", "epochs", "best_epoch", "valid_mrr"),
    *("mrr", "hits@1", "hits@3", "hits@10", "mr", "amri"),
)

# What a case does not say itself; DATA stands for the folder of graphs.
DEFAULTS = {
    "seed": "7",
    "threads": "1",
    "graph": '{ path = "DATA/umls" }',
    "model": '{ name = "transe", dim = 16, init = 0.1 }',
    "sampler": '{ name = "uniform", k = 8 }',
    "loss": '{ name = "softmax", correction = "both" }',
    "optimizer": '{ name = "adam", lr = 1e-2 }',
    "train": "{ epochs = 2, batch = 256, validate_every = 1, log_every = 4 }",
    "evaluate": "{ bootstrap = 20 }",
}

# Commands that ask a finished run; RUN stands for its folder.
QUESTION = ["--head", "acquired_abnormality", "--relation", "location_of"]
QUESTIONS = {
    "audit": ["audit", "RUN", "--json"],
    "evaluate": ["evaluate", "RUN", "--split", "valid", "--json"],
    "guided": ["evaluate", "RUN", "--guide", "0.5", "--json"],
    "predict": ["predict", "RUN", *QUESTION, "--format", "json"],
    "retrieve": ["predict", "RUN", *QUESTION, "--retrieve", "20", "--format", "json"],
}


@dataclass(frozen=True)
class Case:
    """One experiment.

    Attributes:
        config: lines of TOML, one table each; `DEFAULTS` fill in the others.
        asked: of `QUESTIONS`, and "export", once the run is done.
        needs: a case whose run must be there before.
        stop_at: end the run politely once this step is logged, and go on with `--resume`.
        kernels: False trains without compiled loops.
    """

    config: str = ""
    asked: tuple[str, ...] = ("audit",)
    needs: str = ""
    stop_at: int = 0
    kernels: bool = True


SAMPLERS = {
    "uniform": Case(asked=("audit", "evaluate", "predict", "export")),
    "uniform, shared lists": Case("""
        graph = { path = "DATA/kinship" }
        model = { name = "transe", dim = 16, norm = 2, init = 0.1, dropout = 0.1 }
        sampler = { name = "uniform", k = 32, groups = 4 }
        schedule = { name = "linear", warmup = 0.1 }
    """),
    "uniform-unknown": Case("""
        model = { name = "rotate", dim = 16 }
        sampler = { name = "uniform-unknown", k = 8 }
        loss = { name = "self-adversarial", margin = 4.0 }
        sides = { name = "chosen", subsampling = 0.5 }
        schedule = { name = "drop" }
    """),
    "popular": Case("""
        model = { name = "complex", dim = 16, n3 = 1e-4 }
        sampler = { name = "popular", k = 16, groups = 2 }
        loss = { name = "softmax", correction = "negatives" }
        sides = { name = "both", subsampling = 0.5, kind = "freq" }
        optimizer = { name = "adagrad", lr = 0.1 }
        schedule = { name = "cosine", floor = 0.1 }
    """),
    "in-batch": Case("""
        model = { name = "distmult", dim = 16, sparse = true, own_inverse = true }
        sampler = { name = "in-batch", k = 32 }
        optimizer = { name = "rowwise-adagrad", lr = 0.1 }
    """),
    "all-entities": Case("""
        model = { name = "complex", dim = 16, dropout = 0.1 }
        sampler = { name = "all-entities" }
        loss = { name = "smoothed-softmax" }
    """),
    "kvs-all": Case("""
        graph = { path = "DATA/nations" }
        model = { name = "conve", dim = 20, height = 4, filters = 4 }
        sampler = { name = "kvs-all" }
        loss = { name = "smoothed-logistic" }
    """),
    "hide-known": Case("""
        graph = { path = "DATA/kinship" }
        model = { name = "transe", dim = 16, norm = 2 }
        sampler = { name = "hide-known", inner = { name = "popular", k = 8, power = 0.5 } }
        loss = { name = "logistic", margin = 2.0, temperature = 0.5 }
    """),
    "redraw-known": Case("""
        graph = { path = "DATA/kinship" }
        model = { name = "rescal", dim = 8 }
        sampler = { name = "redraw-known", rounds = 2, inner = { name = "typed", k = 8 } }
        loss = { name = "nce" }
    """),
    "typed": Case("""
        model = { name = "transh", dim = 16 }
        sampler = { name = "typed", k = 8, floor = 0.3 }
        loss = { name = "margin" }
        sides = { name = "bernoulli" }
    """),
    "typed by answer": Case("""
        graph = { path = "DATA/countries-s1" }
        model = { name = "transd", dim = 16 }
        sampler = { name = "typed", k = 8, kind = "answer" }
        loss = { name = "double-margin" }
        train = { epochs = 3, batch = 128, validate_every = 2, log_every = 4 }
    """),
    "typed by relation": Case("""
        graph = { path = "DATA/countries-s2" }
        sampler = { name = "typed", k = 8, kind = "relation" }
        loss = { name = "softmax", correction = "refined", learn_temperature = true }
    """),
    "positional": Case("""
        graph = { path = "DATA/nations" }
        model = { name = "rescal", dim = 8, l2 = 1e-4 }
        sampler = { name = "positional", k = 8 }
        loss = { name = "softmax", temperature = 0.5 }
    """),
    "relational": Case("""
        model = { name = "distmult", dim = 16, l2 = 1e-4 }
        sampler = { name = "relational", k = 8, floor = 0.2 }
        loss = { name = "pairwise-logistic", margin = 1.0 }
        sides = { name = "pooled" }
    """),
    "k-hop": Case("""
        graph = { path = "DATA/countries-s1" }
        sampler = { name = "k-hop", k = 8, floor = 0.2 }
        sides = { name = "one-side", floor = 0.2 }
    """),
    "random-walk": Case("""
        graph = { path = "DATA/nations" }
        model = { name = "tucker", dim = 12 }
        sampler = { name = "random-walk", k = 8 }
        loss = { name = "hard-debiased" }
    """),
    "walk-ends": Case("""
        graph = { path = "DATA/countries-s1" }
        sampler = { name = "walk-ends", k = 8, walks = 50, floor = 0.2 }
        loss = { name = "debiased", prior = 0.01 }
    """),
    "cached": Case("""
        model = { name = "transe", dim = 16, own_inverse = true }
        sampler = { name = "cached", k = 2, size = 20, fresh = 20, drop_known = true }
        loss = { name = "margin", margin = 2.0 }
        sides = { name = "sharpened" }
    """),
    "cached, as published": Case("""
        model = { name = "complex", dim = 16 }
        sampler = { name = "cached", size = 20, fresh = 20, draw = "importance", compat = true }
        loss = { name = "logistic" }
        sides = { name = "bernoulli" }
    """),
    "cached, few rows, top": Case("""
        sampler = { name = "cached", size = 20, fresh = 20, draw = "top", keep = "top", rows = 99 }
        loss = { name = "logistic", margin = 3.0 }
    """),
    "hardest-of": Case("""
        model = { name = "rotate", dim = 16, norm = 2 }
        sampler = { name = "hardest-of", k = 4, rank = 2, inner = { name = "uniform", k = 32 } }
        loss = { name = "logistic", margin = 3.0 }
    """),
    "until-wrong": Case("""
        sampler = { name = "until-wrong", by_rank = true, inner = { name = "uniform", k = 16 } }
        loss = { name = "margin" }
    """),
    "metropolis-hastings": Case("""
        graph = { path = "DATA/countries-s3" }
        loss = { name = "self-adversarial", margin = 3.0 }
        [sampler]
        name = "metropolis-hastings"
        steps = 4
        inner = { name = "k-hop", k = 8, hops = 1, floor = 0.5 }
    """),
    "near-miss": Case(
        """
        sampler = { name = "near-miss", k = 8, teacher = { name = "run", folder = "uniform" } }
        loss = { name = "hasa" }
        """,
        needs="uniform",
    ),
    "nearest-neighbour": Case(
        """
        loss = { name = "hard-debiased", hardness = 0.5 }
        [sampler]
        name = "nearest-neighbour"
        k = 8
        pool = 64
        vectors = { name = "run", folder = "uniform" }
        """,
        needs="uniform",
    ),
    "neighbourhood": Case("""
        sampler = { name = "neighbourhood", k = 8, width = 20.0, clusters = 10, every = 15 }
        loss = { name = "logistic", margin = 3.0 }
    """),
    "mix": Case("""
        sampler = { name = "mix", parts = [{ name = "uniform", k = 4 }, { name = "typed", k = 4 }] }
    """),
    "discount by cardinality": Case("""
        loss = { name = "true-negative-softmax" }
        [sampler]
        name = "discount"
        doubt = { name = "cardinality", missing = 0.2 }
        inner = { name = "uniform", k = 8 }
    """),
    "discount by distance": Case("""
        loss = { name = "hasa" }
        [sampler]
        name = "discount"
        weigh = false
        doubt = { name = "distance", hops = 1 }
        inner = { name = "uniform", k = 8 }
    """),
    "curriculum": Case("""
        loss = { name = "softmax", correction = "negatives" }
        [sampler]
        name = "curriculum"
        option = "floor"
        start = 1.0
        end = 0.1
        steps = 30
        inner = { name = "typed", k = 8 }
    """),
    "show-known": Case("""
        sampler = { name = "show-known", answers = 2, inner = { name = "uniform", k = 8 } }
        loss = { name = "true-negative-softmax", doubt = "count" }
    """),
    "without-replacement": Case("""
        sampler = { name = "without-replacement", k = 8, inner = { name = "popular", k = 24 } }
        loss = { name = "softmax", correction = "negatives" }
    """),
}

GENERATORS = {
    "sparring": Case(
        'sampler = { name = "sparring", k = 8 }',
        asked=("audit", "guided", "retrieve", "export"),
    ),
    "sparring, shared": Case(
        """
        model = { name = "rotate", dim = 16 }
        sampler = { name = "sparring", k = 48, shared = true, floor = 0.2 }
        """,
        asked=("audit", "retrieve"),
    ),
    "sparring, missing": Case("""
        graph = { path = "DATA/umls", hold_out = 0.05 }
        loss = { name = "true-negative-softmax" }
        [sampler]
        name = "sparring"
        k = 8
        missing = 0.1
        weigh = false
        tolerate = 0.9
    """),
    "sparring, discounting": Case("""
        graph = { path = "DATA/kinship", hold_out = 0.02 }
        model = { name = "complex", dim = 16 }
        sampler = { name = "sparring", k = 8, missing = 0.2, avoid = false, others = 16 }
    """),
    "sparring, hard": Case("""
        graph = { path = "DATA/kinship" }
        model = { name = "distmult", dim = 16 }
        loss = { name = "self-adversarial", margin = 3.0 }
        [sampler]
        name = "sparring"
        k = 8
        difficulty = 0.2
        others = 32
        every = 1
        learn_from = 0.25
        floor = 0.02
        codes = 32
        dim = 16
        temperature = 0.5
        likelihood = 0.3
    """),
    "sparring, no others": Case("""
        graph = { name = "atlas" }
        model = { name = "rescal", dim = 8 }
        sampler = { name = "sparring", k = 8, others = 0, sharpness = 0.5, every = 3, visits = 64 }
        sides = { name = "chosen" }
        train = { epochs = 1, batch = 512, log_every = 4 }
    """),
    "kbgan": Case("""
        model = { name = "transd", dim = 16 }
        sampler = { name = "kbgan", k = 2, model = { name = "distmult", dim = 8, l2 = 1e-3 } }
        loss = { name = "margin" }
        sides = { name = "bernoulli" }
    """),
    "kbgan, as published": Case("""
        sampler = { name = "kbgan", compat = true, epoch = 999, model = { name = "complex" } }
        loss = { name = "margin" }
    """),
    "midx": Case("""
        sampler = { name = "midx", k = 8, codes = 6, every = 12 }
    """),
    "adversarial-tree": Case("""
        model = { name = "distmult", dim = 16 }
        sampler = { name = "adversarial-tree", k = 8 }
        loss = { name = "nce", mean = true }
    """),
    "flow": Case("""
        sampler = { name = "flow", k = 8, groups = 9 }
    """),
    "neural-gan": Case("""
        sampler = { name = "neural-gan", k = 8, pool = 32 }
        loss = { name = "logistic", margin = 3.0 }
    """),
    "softmax-generator": Case("""
        sampler = { name = "softmax-generator", k = 8 }
    """),
}

MODELS = {
    "compgcn": Case(
        """
        graph = { path = "DATA/nations" }
        model = { name = "compgcn", dim = 16, fact_dropout = 0.1 }
        loss = { name = "tans", margin = 3.0 }
        """,
        asked=("evaluate",),
    ),
    "rgcn": Case(
        """
        graph = { path = "DATA/nations" }
        model = { name = "rgcn", dim = 16, decoder = { name = "complex" } }
        sampler = { name = "sparring", k = 8 }
        """,
        asked=("evaluate", "audit"),
    ),
    "nbfnet": Case(
        """
        graph = { path = "DATA/nations" }
        model = { name = "nbfnet", dim = 8, layers = 2 }
        train = { epochs = 1, batch = 64, log_every = 4 }
        """,
        asked=("evaluate",),
    ),
    "rules": Case(
        """
        model = { name = "rules", agreement = "noisy-or", anchors = 50 }
        train = { epochs = 0 }
        """,
        asked=("predict",),
    ),
    "text": Case(
        """
        graph = { name = "atlas" }
        model = { name = "text", dim = 32, hidden = 64, encoder = { name = "trigrams" } }
        sampler = { name = "hide-known", inner = { name = "uniform", k = 64, groups = 1 } }
        train = { epochs = 1, batch = 512, log_every = 4 }
        """,
        asked=(),
    ),
    "mutated": Case(
        """
        loss = { name = "emu" }
        [model]
        name = "mutated"
        inner = { name = "distmult", dim = 16 }
        mutator = { name = "coordinate-mask", rate = 0.4 }
        """,
        asked=("evaluate",),
    ),
    "non-negative": Case('loss = { name = "non-negative" }', asked=()),
    "patience": Case(
        """
        model = { name = "complex", dim = 16 }
        sampler = { name = "all-entities" }
        loss = { name = "smoothed-logistic", compat = true }
        optimizer = { name = "adam", lr = 0.5 }
        train = { epochs = 19, batch = 256, validate_every = 1, validate_on = 99, patience = 1 }
        """,
        asked=(),
    ),
    "many rows": Case(
        """
        graph = { path = "DATA/kg20c" }
        model = { name = "transe", dim = 64, sparse = true, dropout = 0.1 }
        sampler = { name = "uniform", k = 64 }
        optimizer = { name = "adam", lr = 1e-3, beta2 = 0.99 }
        train = { epochs = 1, batch = 4096, log_every = 4 }
        """,
        asked=(),
    ),
    "many rows, shared": Case(
        """
        graph = { path = "DATA/kg20c" }
        model = { name = "distmult", dim = 64, sparse = true, n3 = 1e-5 }
        sampler = { name = "sparring", k = 512, shared = true }
        optimizer = { name = "rowwise-adagrad", lr = 0.05 }
        train = { epochs = 1, batch = 4096, log_every = 4 }
        """,
        asked=("audit",),
    ),
}

# Each is run twice: in one go, and stopped half way and resumed.
LONG = {
    "long": """
        graph = { path = "DATA/kinship" }
        model = { name = "transe", dim = 16, dropout = 0.1 }
        sampler = { name = "sparring", k = 8, difficulty = 0.2 }
        schedule = { name = "linear", warmup = 0.1 }
        train = { epochs = 8, batch = 64, validate_every = 3, save_every = 2, log_every = 1 }
    """,
    "long, cached": """
        model = { name = "conve", dim = 20, height = 4, filters = 4 }
        loss = { name = "logistic" }
        sides = { name = "chosen" }
        train = { epochs = 8, batch = 64, validate_every = 3, save_every = 3, log_every = 1 }
        [sampler]
        name = "curriculum"
        option = "temperature"
        start = 2.0
        end = 0.5
        steps = 500
        inner = { name = "cached", k = 4, size = 20, fresh = 20 }
    """,
}
RESUMED = ", resumed"
LONG_CASES = {
    name + end: Case(config, asked=(), stop_at=stop)
    for name, config in LONG.items()
    for end, stop in (("", 0), (RESUMED, 300))
}

KERNELS = SAMPLERS | GENERATORS | MODELS | LONG_CASES
BARE = ", no kernels"
PLAIN = {
    name + BARE: Case(KERNELS[name].config, asked=KERNELS[name].asked[:1], kernels=False)
    for name in (
        *("uniform", "uniform-unknown", "popular", "in-batch", "hide-known", "typed", "mix"),
        *("sparring", "sparring, shared", "sparring, missing", "many rows"),
    )
}
CASES = KERNELS | PLAIN

# Starts the command; where compiled loops are chosen by a function, it is made to refuse them.
WITHOUT_KERNELS = """
import importlib.metadata, sys
try:
    import sparring.compiled as compiled
except ImportError:
    compiled = None
choose = getattr(compiled, "can_loop", None)
if choose is not None:
    for module in list(sys.modules.values()):
        if getattr(module, "can_loop", None) is choose:
            module.can_loop = lambda over: False
(entry,) = importlib.metadata.entry_points(group="console_scripts", name="sparring")
sys.argv[0] = "sparring"
entry.load()()
"""


class Trouble(RuntimeError):
    """A command that failed."""


# Running


def environment(where: Path, kernels: bool) -> dict[str, str]:
    """The variables of a command: one thread, and compiled loops or none.

    Loops are compiled anew, into the same folder for all runs, since Numba does not ask how those
    that it finds were made.
    """
    inherited = {key: value for key, value in os.environ.items() if key != "SPARRING_KERNELS"}
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    scalar = {"NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "0"}
    cache = {"NUMBA_CACHE_DIR": str(where / "compiled")}
    return inherited | single | scalar | cache | ({} if kernels else {"SPARRING_KERNELS": "0"})


def command(words: list[str], kernels: bool) -> list[str]:
    """`sparring` of this environment, with these words."""
    if kernels:
        return [str(Path(sys.executable).with_name("sparring")), *words]
    return [sys.executable, "-c", WITHOUT_KERNELS, *words]


def sparring(words: list[str], where: Path, kernels: bool) -> str:
    """What the command prints.

    Raises:
        Trouble: if it fails.
    """
    done = subprocess.run(
        command(words, kernels),
        cwd=where, env=environment(where, kernels), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise Trouble(f"{words[0]}: {last_line(done.stderr)}")
    return done.stdout


def last_line(text: str) -> str:
    """The last line that is not blank."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def write_config(path: Path, case: Case, data: Path) -> None:
    """The experiment file of a case, with the defaults that it leaves out."""
    given = tomllib.loads(case.config)
    rest = "".join(f"{key} = {value}\n" for key, value in DEFAULTS.items() if key not in given)
    path.write_text((rest + case.config).replace("DATA", data.as_posix()), encoding="utf-8")


def train(name: str, case: Case, where: Path) -> None:
    """Run the experiment in a folder of the case's name; break it off in between if asked to.

    Raises:
        Trouble: if it fails, or ends before it could be stopped.
    """
    words = ["run", f"{name}.toml", "--folder", name, "--quiet"]
    if case.stop_at:
        stop_half_way(words, where, case, where / name)
        words.append("--resume")
    sparring(words, where, case.kernels)


def stop_half_way(words: list[str], where: Path, case: Case, folder: Path) -> None:
    """Start a run and end it with SIGTERM once the step is logged."""
    log, quiet = folder / "log.jsonl", subprocess.DEVNULL
    started = subprocess.Popen(
        command(words, case.kernels),
        cwd=where, env=environment(where, case.kernels), stdout=quiet, stderr=quiet,
    )  # fmt: skip
    while started.poll() is None:
        if log.exists() and log.read_text().count('"progress"') >= case.stop_at:
            started.terminate()
            break
        time.sleep(0.02)
    started.wait()
    if not log.exists() or (folder / "result.json").exists():
        raise Trouble("the run was not stopped half way")


# Fingerprints


def digest(content: bytes) -> str:
    """A short hash."""
    return hashlib.sha256(content).hexdigest()[:12]


def tensor_digest(tensor: torch.Tensor) -> str:
    """The hash of a tensor's kind, shape and bytes."""
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return digest(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + raw)


def tensor_digests(folder: Path, name: str) -> list[str]:
    """The sorted hashes of all tensors of a checkpoint; empty where there is none."""
    files = sorted(folder.glob(f"{name}*.safetensors"))
    return sorted(tensor_digest(tensor) for file in files for tensor in load_file(file).values())


def leaves(content: Any) -> Iterator[str]:
    """Every number and answer in nested tables, whatever the keys are called."""
    if isinstance(content, dict):
        for value in content.values():
            yield from leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from leaves(value)
    elif isinstance(content, int | float):
        yield repr(content)


def figures(content: Any) -> str:
    """One hash of all numbers in nested tables, and how many there are."""
    found = sorted(leaves(content))
    return f"{digest(' '.join(found).encode())} of {len(found)} numbers"


def answers(printed: str) -> str:
    """One hash of what `predict` answers, in order."""
    rows = [
        (row.get("name", row.get("entity")), row["rank"], row["score"], row["known"])
        for row in json.loads(printed)
    ]
    return f"{digest(repr(rows).encode())} of {len(rows)} answers"


def arrays(folder: Path) -> list[str]:
    """The sorted hashes of all exported arrays."""
    with np.load(folder / "negatives.npz") as held:
        kept = [np.ascontiguousarray(held[name]) for name in held.files]
    return sorted(digest(f"{one.dtype} {one.shape} ".encode() + one.tobytes()) for one in kept)


def logged(folder: Path) -> dict[str, Any]:
    """The losses of all logged steps, and all other numbers of the log but times."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    timeless = [{key: row[key] for key in row if "seconds" not in key} for row in rows]
    losses = [(row["step"], row["loss"]) for row in rows if row["kind"] == "progress"]
    shown = [losses[0][1], losses[-1][1]] if losses else []
    return {
        "losses": [f"{digest(repr(losses).encode())} of {len(losses)} steps", *map(repr, shown)],
        "log": figures(timeless),
    }


def of_run(folder: Path) -> dict[str, Any]:
    """Hashes of what a finished run left."""
    result = json.loads((folder / "result.json").read_text())
    return {
        "metrics": {name: repr(result.get(name)) for name in METRICS},
        **logged(folder),
        "ranks": tensor_digests(folder, "ranks"),
        "parts": figures(json.loads((folder / "breakdown.json").read_text())),
        "last": tensor_digests(folder, "last"),
        "best": tensor_digests(folder, "best"),
    }


def asked(question: str, name: str, case: Case, where: Path) -> Any:
    """The hash of what a command answers about a run."""
    if question == "export":
        words = ["export", name, "--to", "bess-kge", "--folder", f"{name}-export"]
        sparring(words, where, case.kernels)
        return arrays(where / f"{name}-export")
    words = [name if word == "RUN" else word for word in QUESTIONS[question]]
    printed = sparring(words, where, case.kernels)
    if QUESTIONS[question][0] == "predict":
        return answers(printed)
    return figures(json.loads(printed))


def fingerprint(name: str, case: Case, where: Path, data: Path) -> dict[str, Any]:
    """Train one case and hash everything; a failure is recorded instead."""
    try:
        write_config(where / f"{name}.toml", case, data)
        train(name, case, where)
        found = of_run(where / name)
        return found | {question: asked(question, name, case, where) for question in case.asked}
    except Trouble as trouble:
        return {"failed": str(trouble)}


def fingerprints(names: list[str], data: Path) -> dict[str, dict[str, Any]]:
    """Those of all named cases, one after the other."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="fingerprints-") as folder:
        for name in names:
            start = time.perf_counter()
            found[name] = fingerprint(name, CASES[name], Path(folder), data)
            trouble = found[name].get("failed", "")
            took = f"{time.perf_counter() - start:5.1f} s"
            print(took, name, trouble and f"failed: {trouble}", file=sys.stderr, flush=True)
    return found


# Comparing


def unlike_resumed(found: dict[str, dict[str, Any]]) -> list[str]:
    """What a resumed run left otherwise than its twin in one go."""
    pairs = [(name.removesuffix(RESUMED), name) for name in found if name.endswith(RESUMED)]
    return [
        f"{name}: {part} is not that of {twin}"
        for twin, name in pairs
        for part in found[twin].keys() | found[name].keys()
        if found[twin].get(part) != found[name].get(part)
    ]


def difference(old: Any, new: Any) -> str:
    """What changed, in words; empty if nothing did."""
    if old == new:
        return ""
    if old is None or new is None:
        return "is new" if old is None else "is gone"
    if isinstance(old, list) and isinstance(new, list):
        gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
        counts = f"{gone.total()} of {len(old)} gone, {come.total()} of {len(new)} new"
        return f"{counts}: {', '.join(gone)} -> {', '.join(come)}" if len(gone) < 4 else counts
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in old | new if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in keys)
    return f"{old} -> {new}"


def compared(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[str]:
    """Print a table of what is equal, and return the differences in words."""
    lines = []
    width = max(map(len, new), default=0)
    for name, after in new.items():
        before = old.get(name, {})
        parts = {part: difference(before.get(part), after.get(part)) for part in before | after}
        lines += [f"{name}: {part}: {words}" for part, words in parts.items() if words]
        unequal = [part for part, words in parts.items() if words]
        equal = [part for part, words in parts.items() if not words]
        state = f"DIFFERENT {' '.join(unequal)}; " if unequal else ""
        print(f"{name:{width}}  {state}equal {' '.join(equal) or 'nothing'}")
    return lines


# Command line


def chosen(pattern: str) -> list[str]:
    """The cases whose names fit, with those that they need."""
    fit = {name for name in CASES if fnmatch.fnmatch(name, pattern)}
    fit |= {CASES[name].needs for name in fit} | {name.removesuffix(RESUMED) for name in fit}
    return [name for name in CASES if name in fit]


def as_text(found: dict[str, dict[str, Any]]) -> str:
    """JSON with one line per fingerprint."""
    cases = [
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(part)}: {json.dumps(value)}" for part, value in case.items())
        + "\n}"
        for name, case in found.items()
    ]
    return "{\n" + ",\n".join(cases) + "\n}\n"


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("file", type=Path, help="the record to write, or to compare with")
    parser.add_argument(
        "--data", type=Path, default=REPOSITORY.parent / "shared" / "data", help="folder of graphs"
    )
    parser.add_argument("--only", default="*", help="cases whose name fits, such as 'sparring*'")
    args = parser.parse_args()
    old = json.loads(args.file.read_text()) if args.action == "compare" else {}

    found = fingerprints(chosen(args.only), args.data.resolve())
    wrong = unlike_resumed(found)
    wrong += [f"{name}: {case['failed']}" for name, case in found.items() if "failed" in case]
    if args.action == "record":
        args.file.parent.mkdir(parents=True, exist_ok=True)
        args.file.write_text(as_text(found))
    else:
        wrong += compared(old, found)
    print(f"\n{len(found)} runs, {len(wrong)} differences or failures", *wrong, sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
