"""Curves over K: every method tuned with equally many trials, then trained at every K.

    python research/scripts/curve.py research/studies/fb15k-237.toml
    python research/scripts/curve.py research/studies/fb15k-237.toml --only transe:uniform

For each model and method of the file, every trial trains at `tuned_at` negatives and is evaluated
on validation; the settings of the best one train at every K, and these runs are evaluated on test.
Where `tuned_at` lists several numbers, each holds from there to the next. A method may have `ks` of
its own, and a model or a method `tuned_at`. Each run is written to
research/results/curve/<file>-<model>.json as it ends, or, where the file lists `graphs`, to
<file>-<graph>-<model>.json. A run that is there is not made again unless
its settings in the study have changed, so an interrupted study continues where it stopped.
`cpu_seconds` are those of training.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path

from sparring.experiments.config import check_config, merged, override_value, read_tables
from sparring.experiments.environment import provenance
from sparring.experiments.graphs import load_graph
from sparring.experiments.run import run
from sparring.experiments.run_folder import Run
from sparring.files import write_json

RESULTS = Path(__file__).parents[1] / "results" / "curve"
KEPT = (
    "dataset",
    "valid_mrr",
    "mrr",
    "hits@1",
    "hits@10",
    "cpu_seconds",
    "scored_per_query",
    "shared_per_query",
    "commit",
    "cpu",
)
PLANNED = ("width", "trials", "ks", "tuned_at")  # not part of a run's settings
SHOWN = ("method", "k", "changed", "split", "valid_mrr", "mrr", "cpu_seconds")


class Study:
    """One file of models and methods.

    Args:
        graph: one of those that the file lists; "" for the first, or that of its table `[graph]`.
    """

    def __init__(self, path: Path, graph: str = ""):
        self.name, self.base = path.stem, read_tables(path)
        plan = self.base.pop("curve")
        graph = graph or plan.get("graphs", [""])[0]
        if graph:
            self.name, self.base["graph"] = f"{self.name}-{graph}", {"name": graph}
        self.plan, self.ks = plan, plan["ks"]
        self.models, self.methods = plan["models"], plan["methods"]
        self.graph = cache(load_graph)

    def lines(self, only: str = "") -> list[tuple[str, str]]:
        """Pairs of model and method, method by method."""
        pairs = [(model, method) for method in self.methods for model in self.models]
        wanted_model, _, wanted_method = only.partition(":")
        return [
            (model, method)
            for model, method in pairs
            if wanted_model in ("", model) and wanted_method in ("", method)
        ]

    def trials(self, model: str, method: str) -> list[dict]:
        """The trials of the method, or else of the model."""
        return self.methods[method].get("trials") or self.models[model]["trials"]

    def tuned_at(self, model: str, method: str, k: int) -> int:
        """The number of negatives at which the settings for k are chosen."""
        places = (self.methods[method], self.models[model], self.plan)
        at = next(place["tuned_at"] for place in places if "tuned_at" in place)
        at = at if isinstance(at, list) else [at]
        return max((one for one in at if one <= k), default=at[0])

    def settings(self, model: str, method: str, trial: int, k: int) -> dict:
        """The experiment of one run."""
        spec, model_spec = (
            {name: value for name, value in given.items() if name not in PLANNED}
            for given in (self.methods[method], self.models[model])
        )
        # a copy, so that the overrides of one trial do not reach the next
        tables = deepcopy(merged(merged(self.base, {"model": model_spec}), spec))
        for path, value in self.trials(model, method)[trial].items():
            override_value(tables, f"{path}={json.dumps(value)}")
        for path, factor in self.methods[method]["width"].items():
            override_value(tables, f"{path}={k * factor}")
        return tables

    def digest(self, model: str, method: str, trial: int, k: int) -> str:
        """A hash of the settings of one run."""
        settings = json.dumps(self.settings(model, method, trial, k), sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()[:12]

    def asks_for(self, model: str, row: dict) -> bool:
        """Whether a run has the study's settings; old records hold only their trial."""
        method, trial = row["method"], row["trial"]
        trials = self.trials(model, method)
        if trial >= len(trials) or row["changed"] != trials[trial]:
            return False
        now = self.digest(model, method, trial, row["k"])
        return row.get("settings", now) == now

    def train(self, model: str, method: str, trial: int, k: int, split: str) -> dict:
        """One run, and what is kept of it."""
        config = check_config(
            merged(self.settings(model, method, trial, k), {"evaluate": {"split": split}})
        )
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "run"
            result = run(config, made, graph=self.graph(config.graph))
            if result is None:
                sys.exit("stopped; start again to continue")
            overall = Run(made).breakdown().rows[0]
        settings = self.digest(model, method, trial, k)
        about = {"method": method, "k": k, "trial": trial, "split": split, "settings": settings}
        changed = self.trials(model, method)[trial]
        interval = {"mrr_low": overall.mrr_low, "mrr_high": overall.mrr_high}
        return {**about, "changed": changed, **{name: result[name] for name in KEPT}, **interval}


def best_trial(rows: list[dict], method: str, k: int) -> int:
    """The trial of highest validation MRR at k negatives."""
    tried = [row for row in rows if (row["method"], row["k"], row["split"]) == (method, k, "valid")]
    return max(tried, key=lambda row: row["valid_mrr"])["trial"]


def finish(study: Study, model: str, method: str) -> None:
    """Make the missing runs of one model and method."""
    path = RESULTS / f"{study.name}-{model}.json"
    rows = json.loads(path.read_text())["runs"] if path.exists() else []
    rows = [row for row in rows if row["method"] != method or study.asks_for(model, row)]
    done = {(row["method"], row["k"], row["trial"], row["split"]) for row in rows}

    def ensure(k: int, trial: int, split: str) -> None:
        if (method, k, trial, split) in done:
            return
        rows.append(study.train(model, method, trial, k, split))
        done.add((method, k, trial, split))
        content = {"study": study.name, "model": model}
        write_json(path, {**content, **provenance(), "runs": rows})
        print(study.name, model, {name: rows[-1][name] for name in SHOWN}, flush=True)

    trials = range(len(study.trials(model, method)))
    for k in study.methods[method].get("ks", study.ks):
        if len(trials) == 1:
            ensure(k, 0, "test")
            continue
        at = study.tuned_at(model, method, k)
        for trial in trials:
            ensure(at, trial, "valid")
        ensure(k, best_trial(rows, method, at), "test")


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("study", type=Path, help="file of models and methods")
    words.add_argument("--only", default="", help="MODEL:METHOD, MODEL or :METHOD")
    words.add_argument("--graph", default="", help="one of the graphs that the file lists")
    given = words.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for graph in graphs(given.study):
        if given.graph in ("", graph):
            study = Study(given.study, graph)
            for model, method in study.lines(given.only):
                finish(study, model, method)


def graphs(path: Path) -> list[str]:
    """The graphs that a file lists; "" for the one of its table `[graph]`."""
    return read_tables(path)["curve"].get("graphs", [""])


if __name__ == "__main__":
    main()
