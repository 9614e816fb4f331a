"""What `fit` chooses by itself vs. what `tune` finds in ten times the processor time.

    python research/scripts/auto.py ../shared/data [--only GRAPH ...]

For ten graphs of a folder and three from the packages of this machine (`package_graphs.py`), small
ones first: `auto` is `sparring.fit(graph, minutes=...)`, `tune` is `sparring.tune` of the generator
with ten times the minutes, whose first trial has the settings of `auto`. Both choose on validation
facts alone; test facts are ranked once by each. A row is written to
research/results/auto.json as each run ends; rows that are there are not made again, and a study
that was interrupted goes on in runs/auto.

`cpu_seconds` are those of training and validation; ranking the test facts comes on top.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import package_graphs

import sparring
from sparring.data.graph import KnowledgeGraph
from sparring.experiments.environment import provenance
from sparring.files import write_json

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "research" / "results" / "auto.json"
STUDIES = ROOT / "runs" / "auto"
TIMES, SEED = 10, 0
# CPU seconds of `auto`, by graph; names with a suffix are made by package_graphs.py
BUDGETS = {
    "nations": 5,
    "umls": 10,
    "kinship": 10,
    "packages.tsv": 12,
    "debian.csv": 15,
    "codex-s": 20,
    "kg20c": 25,
    "fb15k-237-n": 30,
    "wiki27k": 30,
    "imports.nt": 30,
    "wn18rr": 40,
    "dbpedia-music": 45,
    "debian-kg": 60,
}


def load(name: str, data: Path) -> KnowledgeGraph:
    """One of the graphs; those of packages are split at random under a fixed seed."""
    if "." not in name:
        return sparring.load_graph(data / name)
    made = ROOT / ".cache" / "package-graphs"
    package_graphs.make(made)
    options: dict[str, Any] = {"separator": ";"} if name.endswith(".csv") else {}
    return sparring.load_graph(made / name, **options)


def auto(graph: KnowledgeGraph, seconds: float) -> dict[str, Any]:
    predictor = sparring.fit(graph, minutes=seconds / 60, seed=SEED, threads=1, progress=False)
    config = predictor.config.as_dict()
    return {
        **measured(predictor),
        "settings": {name: config[name] for name in ("model", "sampler", "optimizer", "train")},
    }


def tuned(graph: KnowledgeGraph, seconds: float, folder: Path) -> dict[str, Any]:
    study = sparring.tune(
        graph,
        ["generator"],
        minutes=TIMES * seconds / 60,
        seed=SEED,
        threads=1,
        folder=folder,
        progress=False,
    )
    method = study.numbers["methods"]["generator"]
    row = {
        **measured(sparring.load(study.best)),
        "study_cpu_seconds": round(method["cpu_seconds"], 1),
        "trials": len(method["trials"]),
        "settings": method["settings"],
    }
    shutil.rmtree(folder)
    return row


def measured(predictor: sparring.Predictor) -> dict[str, Any]:
    """Metrics and cost of a finished run."""
    result = predictor.run.result()
    names = ("mrr", "hits@1", "hits@10", "valid_mrr", "best_epoch", "epochs", "cpu_seconds")
    return {name: result[name] for name in names}


def done(rows: list[dict[str, Any]], wanted: dict[str, Any]) -> bool:
    """Whether there is a row of the same graph, run and budget."""
    return any(all(row[key] == value for key, value in wanted.items()) for row in rows)


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("data", type=Path, help="folder with a folder for each graph")
    words.add_argument("--only", nargs="*", default=list(BUDGETS))
    given = words.parse_args()
    rows = json.loads(RESULT.read_text())["runs"] if RESULT.exists() else []
    sparring.fit("atlas", epochs=1, progress=False)  # compiles the loops, which no budget pays for
    for name in given.only:
        seconds = BUDGETS[name]
        graph = load(name, given.data)
        for run, budget in (("auto", seconds), ("tune", TIMES * seconds)):
            about = {"graph": name, "content_hash": graph.content_hash, "run": run}
            about |= {"budget_seconds": budget, "seed": SEED}
            if done(rows, about):
                continue
            made = auto(graph, seconds) if run == "auto" else tuned(graph, seconds, STUDIES / name)
            sizes = {
                "entities": len(graph.entities),
                "relations": len(graph.relations),
                "train": len(graph.train),
            }
            kept = ("commit", "cpu", "versions")
            origin = {key: value for key, value in provenance().items() if key in kept}
            rows = [row for row in rows if (row["graph"], row["run"]) != (name, run)]
            rows.append({**about, **sizes, **made, **origin})
            write_json(RESULT, {"runs": rows})
            shown = ("graph", "run", "valid_mrr", "mrr", "cpu_seconds")
            print({key: rows[-1][key] for key in shown}, flush=True)


if __name__ == "__main__":
    main()
