"""A graph of millions of entities: reading, an epoch, and exact filtered ranks, with peak memory.

    python benchmarks/taxonomy.py FOLDER [--share 1.0]

FOLDER holds ncbi-taxonomy (2.7 million entities, 8.6 million triples). Writes
research/results/benchmarks/taxonomy.json. One thread; processor time; peaks are of the whole
process in
each phase. The model is ComplEx with sparse gradients and row-wise Adagrad, so that a step touches
the rows of its batch only. Scale is all that is measured: nothing was tuned, and one epoch is no
result.
"""

import json
import time
from pathlib import Path

import torch
from record import words

from sparring.corruption import CorruptBoth
from sparring.data.read import read_graph
from sparring.evaluation.ranking import evaluate
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.losses import SampledSoftmax
from sparring.models import ComplEx
from sparring.samplers import MaskKnown, Uniform
from sparring.training import OPTIMIZERS, TrainingStep

RESULTS = Path(__file__).parents[1] / "research" / "results" / "benchmarks" / "taxonomy.json"
CONFIG = {"dim": 64, "k": 64, "batch": 4096, "lr": 0.1, "init": 0.1, "seed": 0}
RANKED = 500  # test triples, each of which asks two queries


class Phases:
    """Processor seconds, seconds and peak memory of one thing after the other."""

    def __init__(self):
        self.rows: list[dict] = []

    def __call__(self, name, work, **about):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        processor, wall = time.process_time(), time.perf_counter()
        result = work()
        self.rows.append(
            {
                "name": name,
                **about,
                "processor_seconds": round(time.process_time() - processor, 1),
                "seconds": round(time.perf_counter() - wall, 1),
                "peak_gb": round(_status("VmHWM") * 1024 / 1e9, 2),
            }
        )
        print(self.rows[-1], flush=True)
        return result


def _status(field: str) -> int:
    return int(Path("/proc/self/status").read_text().partition(f"{field}:")[2].split()[0])


def trained(step, optimizer, triples, steps, rng):
    """The mean loss of the last tenth of these steps."""
    order = torch.randperm(len(triples), generator=rng)[: steps * CONFIG["batch"]]
    losses = [step(triples[rows], optimizer, rng)["loss"] for rows in order.split(CONFIG["batch"])]
    return torch.stack(losses[-max(1, steps // 10) :]).mean().item()


def main() -> None:
    parser = words(__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the epoch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    phases = Phases()
    graph = phases("reading", lambda: read_graph(options.folder))
    training = graph.training
    known = phases("facts, of training and of all splits", lambda: (training.known, graph.known)[1])
    torch.manual_seed(CONFIG["seed"])
    rng = torch.Generator().manual_seed(CONFIG["seed"])
    model = ComplEx(
        training, dim=CONFIG["dim"], init=CONFIG["init"], reciprocal_relations=True, sparse=True
    )
    sampler = MaskKnown(training, inner=Uniform(training, k=CONFIG["k"]))
    step = TrainingStep(model, sampler, SampledSoftmax(), CorruptBoth(training))
    optimizer = OPTIMIZERS["rowwise-adagrad"](step.trainable_parameters(), lr=CONFIG["lr"])
    trained(step, optimizer, graph.train, 2, rng)  # loops are compiled
    steps = round(options.share * len(graph.train) / CONFIG["batch"])
    loss = phases(
        "training",
        lambda: trained(step, optimizer, graph.train, steps, rng),
        steps=steps,
        share_of_epoch=options.share,
    )
    chosen = torch.randperm(len(graph.test), generator=rng)[:RANKED]
    ranks = phases(
        "exact filtered ranks",
        lambda: evaluate(model, graph.test[chosen], known),
        queries=2 * RANKED,
    )
    report = {
        "entities": len(graph.entities),
        "triples": len(graph.train),
        **CONFIG,
        "queries_per_step": 2 * CONFIG["batch"],
        "phases": phases.rows,
        "loss": round(loss, 4),
        "mrr": round(ranks.mrr(), 4),
        **provenance(),
        "threads": 1,
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
