"""Every method tuned and trained for the same processor seconds, on many graphs and models.

    python research/scripts/equal_budgets.py ../shared/data [--only GRAPH:MODEL:METHOD ...]
        [--trials 4] [--seeds 1 2]

A cell is a graph, a model and a method. Each of its trials trains for the seconds of its graph,
with settings that Optuna proposes. The first four have the same rates, penalties and dropouts with
every method, so none is lucky; only the number of negatives is a method's own. Validation facts
choose the best trial, whose settings then train under further seeds; the test facts are ranked by
these runs alone. From the fifth on, proposals follow the results, and a trial that falls behind may
end early.

All trials and runs are rows of research/results/trials.parquet, written as each cell ends. Cells
whose rows are there are not made again; an interrupted one goes on in runs/equal-budgets.
`cpu_seconds` are those of training and validation. `curve` holds pairs of seconds and validation
MRR of the best trial. `mrr_without_reverse` leaves out queries that a training triple from the
answer to the anchor gives away, a third of those of WN18RR.
"""

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import generator_variants  # noqa: F401, registers them
import numpy as np
import polars as pl
import torch

import sparring
from sparring.data.graph import KnowledgeGraph
from sparring.experiments.config import PARTS
from sparring.experiments.environment import provenance
from sparring.experiments.run_folder import Run
from sparring.experiments.search import Choice, Log, Range
from sparring.files import locked

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "research" / "results" / "trials.parquet"
STUDIES = ROOT / "runs" / "equal-budgets"
DIM, BATCH = 64, 1024
SEED = 74  # its first rates and penalties are spread well over their ranges
LABEL = "method"  # of every method, since what is proposed depends on the label
EPOCHS = 10_000  # never reached: the seconds end a training
KEY = ("graph", "model", "method")

# CPU seconds of a trial, and facts of each validation
GRAPHS = {
    "fb15k-237": (40, 3000),
    "wn18rr": (40, 3000),
    "codex-m": (40, 3000),
    "wiki27k": (30, 3000),
    "nell-995": (40, 543),
    "fb13": (60, 2000),
    "wordnet30": (60, 1000),
    "human-bio": (90, 1000),
    "debian-kg": (120, 1000),
    # pieces with so many entities
    "debian-kg/1000": (10, 0),
    "debian-kg/3000": (15, 1000),
    "debian-kg/10000": (25, 1000),
    "debian-kg/30000": (45, 1000),
}
BILINEAR = {"dim": DIM, "init": 0.1}
PENALTY: dict[str, Range] = {"model.n3": Log(5e-3, 0.2), "model.dropout": Choice((0.0, 0.1))}
DROPOUT: dict[str, Range] = {
    "model.n3": Choice((0.0,)),
    "model.dropout": Choice((0.0, 0.1)),
}
# options and ranges
MODELS: dict[str, tuple[dict[str, Any], dict[str, Range]]] = {
    "transe": ({"dim": DIM, "norm": 2, "init": 0.1}, DROPOUT),
    "rote": ({"dim": DIM}, DROPOUT),
    "distmult": ({**BILINEAR, "n3": 5e-2}, PENALTY),
    "complex": ({**BILINEAR, "n3": 5e-2, "reciprocal_relations": True}, PENALTY),
    "rescal": (BILINEAR, DROPOUT),
}


@dataclass(frozen=True)
class Method:
    """Negatives and loss; `ranges` come on top of those of all methods.

    A share of the training facts, `hold_out`, is not trained on: an estimate of false negatives is
    calibrated by them.
    """

    sampler: dict[str, Any]
    ranges: dict[str, Range] = field(default_factory=dict)
    loss: dict[str, Any] = field(
        default_factory=lambda: {"name": "sampled-softmax", "correction": "both"}
    )
    hold_out: float = 0.0


OWN = Choice((16, 64, 256))
NSSA: dict[str, Range] = {
    "loss.margin": Log(0.5, 24.0),
    "loss.adversarial_temperature": Log(0.25, 2.0),
}
METHODS = {
    "uniform": Method({"name": "uniform-filtered", "k": 64}, {"sampler.k": OWN}),
    "shared uniform": Method(
        {"name": "mask-known", "inner": {"name": "uniform", "k": 512, "groups": 1}},
        {"sampler.inner.k": Choice((256, 512, 1024))},
    ),
    "self-adversarial": Method(
        {"name": "uniform-filtered", "k": 64},
        {"sampler.k": OWN, **NSSA},
        {"name": "nssa", "margin": 3.0},
    ),
    "1vsAll": Method({"name": "all-entities"}),
    "nscaching": Method(
        {"name": "nscaching", "k": 8, "drop_known": True},
        {"sampler.k": Choice((4, 8, 16))},
        {"name": "sampled-softmax", "correction": "none"},
    ),
    "generator": Method({"name": "generator", "k": 32}, {"sampler.k": Choice((16, 32, 64))}),
    "generator, grouped": Method(
        {"name": "generator", "k": 256, "group_size": 64},
        {"sampler.k": Choice((128, 256, 512)), "sampler.group_size": Choice((32, 64, 128))},
    ),
}
# further methods, for the cells that --only names them for
FEW = {"sampler.k": Choice((16, 32, 64))}
FEW_INNER = {"sampler.inner.k": FEW["sampler.k"]}
LOSSES: dict[str, tuple[dict[str, Any], dict[str, Range]]] = {
    "uncorrected softmax": ({"name": "sampled-softmax", "correction": "none"}, {}),
    "self-adversarial": ({"name": "nssa", "margin": 3.0}, NSSA),
    "margin ranking": ({"name": "margin-ranking"}, {"loss.margin": Log(0.25, 8.0)}),
    "cross-entropy": ({"name": "bce"}, {}),
}


def changing(start: float, end: float, steps: int) -> Method:
    """The generator with a share of uniform draws that changes over some steps."""
    how = {"option": "uniform_mix", "start": start, "end": end, "steps": steps}
    return Method({"name": "curriculum", **how, "inner": {"name": "generator", "k": 32}}, FEW_INNER)


ESTIMATE = {"missing_rate": 0.1, "max_p_false_negative": 0.1}
BLOCKS = [{"name": "generator", "k": 16}, {"name": "uniform", "k": 512, "groups": 1}]
QUESTIONS = {
    "blocks": Method({"name": "blocks", "parts": BLOCKS}),
    **{
        f"generator, {what}": Method({"name": name, "k": 32}, FEW)
        for what, name in (
            ("averaged", "averaged-generator"),
            ("pairwise", "pairwise-generator"),
            ("all entities", "softmax-generator"),
            ("all entities, squared", "squared-generator"),
        )
    },
    "generator, estimate": Method(
        {"name": "generator", "k": 32, "false_negatives": ESTIMATE}, FEW, hold_out=0.02
    ),
    "generator, hard later": changing(0.999, 0.1, 500),
    "generator, hard first": changing(0.1, 0.9, 2000),
    **{
        f"generator, temperature {value}": Method(
            {"name": "generator", "k": 32, "temperature": value}, FEW
        )
        for value in (0.5, 2.0, 4.0)
    },
    **{
        f"{name}, {title}": Method({"name": name, "k": 32}, FEW | ranges, loss)
        for name in ("generator", "uniform-filtered")
        for title, (loss, ranges) in LOSSES.items()
    },
}
COMMON: dict[str, Range] = {
    "optimizer.lr": Log(8e-3, 0.08),
    "model.dim": Choice((DIM,)),
    "train.batch_size": Choice((BATCH,)),
}


def load(name: str, data: Path) -> KnowledgeGraph:
    """A graph, or a piece of one, as the keys of `GRAPHS` say."""
    folder, _, size = name.partition("/")
    graph = sparring.load_graph(data / folder)
    return piece(graph, int(size), name) if size else graph


def piece(graph: KnowledgeGraph, size: int, name: str) -> KnowledgeGraph:
    """All facts among the entities that a random walk meets first, split anew."""
    triples = torch.cat([graph.train, graph.valid, graph.test]).numpy()
    ends = np.concatenate([triples[:, [0, 2]], triples[:, [2, 0]]])
    ends = ends[ends[:, 0].argsort(kind="stable")]
    first = np.searchsorted(ends[:, 0], np.arange(len(graph.entities) + 1))
    rng = np.random.default_rng(SEED)
    entity = ends[rng.integers(len(ends)), 0]
    met = {entity}
    while len(met) < size:
        entity = ends[rng.integers(first[entity], first[entity + 1]), 1]
        met.add(entity)
    inside = np.isin(triples[:, [0, 2]], list(met)).all(1)
    named = [
        (graph.entities[head], graph.relations[relation], graph.entities[tail])
        for head, relation, tail in triples[inside].tolist()
    ]
    return sparring.load_graph(named, name=name.replace("/", "-"))


def tuned(graph: KnowledgeGraph, cell: dict[str, str], trials: int, folder: Path) -> list[dict]:
    """Rows of the trials of a cell; the best one is ranked on the test facts."""
    seconds, validated = GRAPHS[cell["graph"]]
    model, ranges = MODELS[cell["model"]]
    method = (METHODS | QUESTIONS)[cell["method"]]
    study = sparring.tune(
        graph,
        {LABEL: {"sampler": method.sampler, "loss": method.loss}},
        model={"name": cell["model"], **model},
        trials=trials,
        trial_minutes=seconds / 60,
        ranges={**COMMON, **ranges, **method.ranges},
        seed=SEED,
        folder=folder,
        threads=1,
        progress=False,
        epochs=EPOCHS,
        validate_every=1,
        validate_on=validated,
        patience=0,
    )
    found = study.numbers["methods"][LABEL]
    rows = []
    for trial in found["trials"]:
        row = {**trial, "settings": json.dumps(trial["settings"]), "seed": SEED, "best": False}
        if trial["number"] == found["number"]:
            row |= {"best": True, **measured(Run(study.best))}
        rows.append(row)
    return rows


def repeated(graph: KnowledgeGraph, run: Run, seed: int) -> dict[str, Any]:
    """A row of the settings of a run under another seed."""
    config = run.config().as_dict()
    parts = {name: config[name] for name in PARTS}
    with tempfile.TemporaryDirectory() as folder:
        again = sparring.fit(
            graph, **parts, **config["train"], seed=seed, threads=1, folder=folder, progress=False
        ).run
        return {"state": "repeated", "seed": seed, "best": True, **measured(again)}


def measured(run: Run) -> dict[str, Any]:
    """Metrics and cost of a finished run."""
    result = run.result()
    kept = ("valid_mrr", "mrr", "hits@1", "hits@10", "epochs", "cpu_seconds")
    log = [json.loads(line) for line in (run.folder / "log.jsonl").read_text("utf-8").splitlines()]
    curve = [[row["cpu_seconds"], row["mrr"]] for row in log if row["kind"] == "validation"]
    cost = {name: result[name] for name in ("scored_per_query", "shared_per_query")}
    reverse = {row.name: row.mrr for row in run.breakdown().rows if row.group == "reverse triple"}
    return {
        **{name: result[name] for name in kept},
        "mrr_without_reverse": reverse["not in train"],
        **cost,
        "curve": json.dumps(curve),
    }


def cells(only: list[str]) -> Iterator[dict[str, str]]:
    """The cells that are asked for, each as `KEY` has it; an empty part stands for all."""
    wanted = [dict(zip(KEY, one.split(":"))) for one in only]
    named = {
        one["method"]: QUESTIONS[one["method"]] for one in wanted if one["method"] in QUESTIONS
    }
    for graph, model, method in product(GRAPHS, MODELS, METHODS | named):
        cell = dict(zip(KEY, (graph, model, method)))
        if not wanted or any(
            all(value in ("", cell[name]) for name, value in one.items()) for one in wanted
        ):
            yield cell


def rows_of(path: Path, **where: Any) -> pl.DataFrame:
    """The rows of a table with these values; none if there is no table."""
    rows = pl.read_parquet(path) if path.exists() else pl.DataFrame()
    return rows.filter(**where) if len(rows) else rows


def replace_rows(path: Path, found: list[dict], key: tuple[str, ...]) -> None:
    """Write rows instead of those with the same key; several processes may."""
    made = pl.DataFrame(found, infer_schema_length=None)
    with locked(STUDIES, wait=True):
        rows = pl.read_parquet(path) if path.exists() else made.clear()
        others = rows.join(made, on=list(key), how="anti")
        pl.concat([others, made], how="diagonal_relaxed").write_parquet(path)


def kept_rows(cell: dict[str, str]) -> pl.DataFrame:
    """The rows of a cell that are kept."""
    return rows_of(RESULT, **cell)


def keep(found: list[dict]) -> None:
    """Write the rows of a cell instead of those that are kept of it."""
    replace_rows(RESULT, found, KEY)


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("data", type=Path, help="folder with a folder for each graph")
    words.add_argument("--only", nargs="*", default=[], metavar="GRAPH:MODEL:METHOD")
    words.add_argument("--trials", type=int, default=4)
    words.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    given = words.parse_args()
    sparring.fit("atlas", epochs=1, progress=False)  # compiles the loops, which no budget pays for
    kept = ("commit", "cpu")
    graphs: dict[str, KnowledgeGraph] = {}
    for cell in cells(given.only):
        if len(kept_rows(cell)) >= given.trials + len(given.seeds):
            continue
        name, method = cell["graph"], (METHODS | QUESTIONS)[cell["method"]]
        graphs = {name: graphs.get(name) or load(name, given.data)}
        graph = replace(graphs[name], hold_out=method.hold_out)
        folder = STUDIES / re.sub(r"\W+", "-", "-".join(cell.values()))
        found = tuned(graph, cell, given.trials, folder)
        found += [repeated(graph, Run(folder / "best"), seed) for seed in given.seeds]
        about = {"seconds": float(GRAPHS[name][0]), "entities": len(graph.entities)}
        about |= {"facts": len(graph.train)}
        about |= {one: value for one, value in provenance().items() if one in kept}
        keep([{**cell, **about, **row} for row in found])
        shutil.rmtree(folder)
        found = [(row["seed"], row["valid_mrr"], row["mrr"]) for row in found if row["best"]]
        print(cell, found, flush=True)


if __name__ == "__main__":
    main()
