"""What each compiled loop saves of a training step, against its PyTorch twin.

    python benchmarks/kernels.py [CORE]

writes research/results/benchmarks/kernels.json and kernels.md. One thread on one core; processor
time, the median of interleaved rounds. A step is both queries of 1,024 random triples of a graph of
the size of FB15k-237, K = 8, d = 64. Each row takes the steps of one case with all loops, and with
the twin of one kernel function; "saved" is the share of the step with the twin. The last rows score
answers and negatives in one call, in place of the two of `TrainingStep`.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Int
from record import load, write
from torch import Tensor

import sparring.embedding
from sparring.batch import Feedback
from sparring.corruption import CorruptBoth
from sparring.data.graph import TrainGraph
from sparring.evaluation.ranking import evaluate
from sparring.experiments.environment import keep_freed_memory, provenance
from sparring.generators import NSGenerator
from sparring.kernels import distillation, lookup, losses, multi_index, optim, ranking
from sparring.losses import MarginRankingLoss, SampledSoftmax
from sparring.models import RESCAL, ComplEx, RotatE, TransE
from sparring.samplers import MaskKnown, Uniform, UniformFiltered
from sparring.training import OPTIMIZERS, TrainingStep

ENTITIES, RELATIONS, TRIPLES, BATCH, DIM, K = 14_541, 237, 272_115, 1024, 64, 8
STEPS, ROUNDS = 10, 9
MODULES = (distillation, lookup, losses, multi_index, optim, ranking, sparring.embedding)

GENERATOR = "TransE L2, generator, Adam"
LONG_LISTS = "ComplEx, generator, K = 32, Adam"
UNIFORM = "ComplEx, uniform, known facts masked, row-wise Adagrad"
UNKNOWN = "RotatE, uniform over unknown, Adagrad"
MARGIN = "TransE L1, uniform, known facts masked, margin, Adam"
SHARED = "ComplEx, 1,024 uniform shared by the batch, margin, Adam"
MATRICES = "RESCAL, uniform, known facts masked, Adam"
RANKING = "ComplEx, 1,024 triples ranked"
LOOPS = [
    (GENERATOR, ("bounds", "contains")),
    (UNIFORM, ("bounds", "contains")),
    (UNKNOWN, ("bounds",)),
    (UNKNOWN, ("missing_between",)),
    (GENERATOR, ("draw_from_cells",)),
    (LONG_LISTS, ("place_in_cells", "probability_of")),
    (GENERATOR, ("distill",)),
    (GENERATOR, ("fits", "forward")),
    (UNIFORM, ("fits", "forward")),
    (MARGIN, ("fits", "forward")),
    (UNKNOWN, ("fits", "forward")),
    (MARGIN, ("hinge",)),
    (SHARED, ("not_answer",)),
    (SHARED, ("hinge",)),
    (MATRICES, ("multiply",)),
    (GENERATOR, ("can_update_rows",)),
    (UNKNOWN, ("can_update_rows",)),
    (UNIFORM, ("rowwise_adagrad_step",)),
    (RANKING, ("count_greater",)),
]


class OneCall(TrainingStep):
    """A step that scores answers and negatives together; for own lists."""

    def forward(
        self, triples: Int[Tensor, "T 3"], optimizer: torch.optim.Optimizer, rng: torch.Generator
    ) -> dict[str, Tensor]:
        queries = self.corruption(triples, rng)
        score = self.model(queries)
        negatives = self.sampler.sample(queries, torch.no_grad()(score), rng)
        scores = score(torch.cat([queries.answer.unsqueeze(1), negatives.ids], 1))
        positive, negative = scores[:, 0], scores[:, 1:]
        gradients: list[Tensor] = []
        scores.register_hook(gradients.append)
        loss = self.loss(positive, negative, negatives, queries.weight)
        optimizer.zero_grad()
        (loss + self.model.regularization(queries)).backward()
        optimizer.step()
        self.model.after_step()
        gradient = gradients[0][:, 1:]
        feedback = Feedback(queries, negatives, positive.detach(), negative.detach(), gradient)
        return {"loss": loss.detach(), **self.sampler.observe(feedback)}


@contextmanager
def twins_of(functions: tuple[str, ...]) -> Iterator[None]:
    """Run the PyTorch twins of these functions, and the loops of all others."""
    enabled_for = sparring.embedding.enabled_for
    choose = lambda tensor: sys._getframe(1).f_code.co_name not in functions and enabled_for(tensor)
    for module in MODULES:
        module.enabled_for = choose
    try:
        yield
    finally:
        for module in MODULES:
            module.enabled_for = enabled_for


def graph_of() -> TrainGraph:
    """Random facts, some entities in many more than others."""
    rng = torch.Generator().manual_seed(0)
    head, tail = (torch.rand(2, TRIPLES, generator=rng) ** 2 * ENTITIES).long()
    relation = torch.randint(RELATIONS, (TRIPLES,), generator=rng)
    return TrainGraph(torch.stack([head, relation, tail], 1), ENTITIES, RELATIONS)


def cases(graph: TrainGraph) -> dict[str, tuple]:
    """Model, sampler, loss and optimizer of each case."""
    masked = lambda: MaskKnown(graph, inner=Uniform(graph, k=K))
    transe = lambda norm: lambda: TransE(graph, dim=DIM, norm=norm, sparse=True)
    return {
        GENERATOR: (transe(2), lambda: NSGenerator(graph, k=K), SampledSoftmax, "adam"),
        LONG_LISTS: (
            *(lambda: ComplEx(graph, dim=DIM), lambda: NSGenerator(graph, k=32)),
            *(SampledSoftmax, "adam"),
        ),
        UNIFORM: (
            *(lambda: ComplEx(graph, dim=DIM, sparse=True), masked),
            *(SampledSoftmax, "rowwise-adagrad"),
        ),
        UNKNOWN: (
            *(lambda: RotatE(graph, dim=DIM, sparse=True), lambda: UniformFiltered(graph, k=K)),
            *(SampledSoftmax, "adagrad"),
        ),
        MARGIN: (transe(1), masked, MarginRankingLoss, "adam"),
        MATRICES: (
            *(lambda: RESCAL(graph, dim=DIM, sparse=True), masked),
            *(SampledSoftmax, "adam"),
        ),
        SHARED: (
            *(lambda: ComplEx(graph, dim=DIM, sparse=True),),
            *(lambda: Uniform(graph, k=1024, groups=1), MarginRankingLoss, "adam"),
        ),
    }


def stepper(graph: TrainGraph, case: tuple, kind: type[TrainingStep] = TrainingStep) -> Callable:
    """Takes some steps of a case."""
    model, sampler, loss, optimizer = case
    torch.manual_seed(0)
    step = kind(model(), sampler(), loss(), CorruptBoth(graph))
    made = OPTIMIZERS[optimizer](step.trainable_parameters(), lr=1e-2)
    rng = torch.Generator().manual_seed(0)

    def run() -> None:
        for _ in range(STEPS):
            step(graph.triples[torch.randint(TRIPLES, (BATCH,), generator=rng)], made, rng)

    return run


def ranker(graph: TrainGraph) -> Callable:
    """Ranks some triples."""
    model = ComplEx(graph, dim=DIM)
    return lambda: evaluate(model, graph.triples[:BATCH], graph.known)


def compare(*ways: Callable) -> list[float]:
    """Median processor time of each way, in milliseconds, of interleaved rounds."""
    times: list[list[float]] = [[] for _ in ways]
    for round_ in range(ROUNDS + 1):
        for way, mine in zip(ways, times):
            start = time.process_time()
            way()
            if round_:  # the first one warms up
                mine.append((time.process_time() - start) * 1e3)
    return [statistics.median(mine) for mine in times]


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1]) if sys.argv[1:] else 0})
    torch.set_num_threads(1)
    keep_freed_memory()
    graph = graph_of()
    runs = {name: stepper(graph, case) for name, case in cases(graph).items()}
    runs[RANKING] = ranker(graph)
    rows = []
    for name, functions in LOOPS:

        def twin(run=runs[name], functions=functions) -> None:
            with twins_of(functions):
                run()

        loop, plain = compare(runs[name], twin)
        rows.append({"case": name, "what": " and ".join(functions), "ms": loop, "twin_ms": plain})
    for name in (GENERATOR, UNIFORM, UNKNOWN):
        two, one = compare(runs[name], stepper(graph, cases(graph)[name], OneCall))
        rows.append({"case": name, "what": "two calls for scores", "ms": two, "twin_ms": one})
    for row in rows:
        steps = 1 if row["case"] == RANKING else STEPS
        row["ms"], row["twin_ms"] = (round(row[key] / steps, 2) for key in ("ms", "twin_ms"))
        row["saved"] = round(1 - row["ms"] / row["twin_ms"], 3)
    about = {"load": load(), "threads": 1, "rounds": ROUNDS, "steps": STEPS}
    lines = [
        f"One thread; load {about['load']}; processor milliseconds of a step (or of ranking).",
        "",
        "| case | function | with the loop | with its twin | saved |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {r['case']} | {r['what']} | {r['ms']} | {r['twin_ms']} | {r['saved']:.1%} |"
            for r in rows
        ),
        "",
        "The last rows compare with one call for answers and negatives.",
    ]
    write("kernels", {**provenance(), **about, "measurements": rows}, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
