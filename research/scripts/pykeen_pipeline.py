"""PyKEEN's `pipeline()` with its defaults, for the processor time that `auto.py` gave to `fit`.

    python research/scripts/pykeen_pipeline.py ../shared/data [--only GRAPH ...]

Each graph of `auto.py` is trained with `pipeline(model=...)`, all else by default but the number of
epochs: training ends after the epoch in which the processor time of `auto` is spent. There is no
default model; TransE and ComplEx are run. PyKEEN lives in an environment of its own under
.cache/peers, which is made where it is missing, and receives the same ids in the same splits. Test
facts are ranked once, with all splits as known facts, ties at their expectation. A row is written
to research/results/pykeen-pipeline.json as each run ends; rows that are there are not made again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import auto
import numpy as np

from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.experiments.environment import provenance
from sparring.files import write_json

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from sampler_peers import environment  # noqa: E402  (in benchmarks)

RESULT = ROOT / "research" / "results" / "pykeen-pipeline.json"
MODELS = ("TransE", "ComplEx")
WORKER = """
import json, sys, time, logging
import numpy as np, torch
from pykeen.evaluation import RankBasedEvaluator
from pykeen.pipeline import pipeline
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory

logging.disable(logging.WARNING)
torch.set_num_threads(1)
path, model, seconds, seed = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
given = np.load(path)
sizes = {"num_entities": int(given["entities"]), "num_relations": int(given["relations"])}
train, valid, test = (
    CoreTriplesFactory(torch.from_numpy(given[split]).long(), **sizes)
    for split in ("train", "valid", "test")
)

class UntilSpent(TrainingCallback):
    begun = None
    epochs = 0

    def post_batch(self, **kwargs):
        self.begun = time.process_time() if self.begun is None else self.begun

    def post_epoch(self, epoch, epoch_loss, **kwargs):
        self.epochs, self.spent = epoch, time.process_time() - self.begun
        if self.spent >= seconds:
            self.training_loop._should_stop = True

until = UntilSpent()
found = pipeline(
    training=train, validation=valid, testing=test, model=model, random_seed=seed, device="cpu",
    training_kwargs={"num_epochs": 10**6, "use_tqdm": False, "callbacks": [until]},
    evaluation_kwargs={"use_tqdm": False},
)
on_valid = RankBasedEvaluator().evaluate(
    found.model, valid.mapped_triples, additional_filter_triples=[train.mapped_triples],
    use_tqdm=False,
)
metric = lambda results, name: results.get_metric(f"both.realistic.{name}")
print("answer:" + json.dumps({
    "mrr": metric(found.metric_results, "inverse_harmonic_mean_rank"),
    "hits@1": metric(found.metric_results, "hits_at_1"),
    "hits@10": metric(found.metric_results, "hits_at_10"),
    "valid_mrr": metric(on_valid, "inverse_harmonic_mean_rank"),
    "epochs": until.epochs,
    "cpu_seconds": until.spent,
}))
"""


def trained(python: Path, graph: KnowledgeGraph, model: str, seconds: float) -> dict[str, Any]:
    """What PyKEEN reaches."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.npz"
        splits = {split: getattr(graph, split).numpy() for split in SPLITS}
        np.savez(path, entities=len(graph.entities), relations=len(graph.relations), **splits)
        words = [str(python), "-c", WORKER, str(path), model, str(seconds), str(auto.SEED)]
        done = subprocess.run(words, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("answer:")]
    if not lines:
        raise RuntimeError((done.stderr.strip().splitlines() or ["PyKEEN failed"])[-1])
    return json.loads(lines[-1].removeprefix("answer:"))


def main() -> None:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("data", type=Path, help="folder with a folder for each graph")
    words.add_argument("--only", nargs="*", default=list(auto.BUDGETS))
    given = words.parse_args()
    python, version = environment(ROOT / ".cache" / "peers", "pykeen")
    rows = json.loads(RESULT.read_text())["runs"] if RESULT.exists() else []
    for name in given.only:
        graph = auto.load(name, given.data)
        for model in MODELS:
            about = {"graph": name, "content_hash": graph.content_hash, "model": model}
            about |= {"budget_seconds": auto.BUDGETS[name], "seed": auto.SEED, "pykeen": version}
            if auto.done(rows, about):
                continue
            made = trained(python, graph, model, auto.BUDGETS[name])
            rows = [row for row in rows if (row["graph"], row["model"]) != (name, model)]
            origin = provenance()
            rows.append({**about, **made, "commit": origin["commit"], "cpu": origin["cpu"]})
            write_json(RESULT, {"runs": rows})
            print(
                {key: rows[-1][key] for key in ("graph", "model", "mrr", "cpu_seconds")}, flush=True
            )


if __name__ == "__main__":
    main()
