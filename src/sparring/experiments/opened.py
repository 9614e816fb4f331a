"""A run opened for evaluation, in one process or on all ranks that were launched.

A run that was trained sharded is opened sharded, also in one process, so that its numbers are the
same to the last bit on any number of processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from sparring.data import store
from sparring.data.graph import KnowledgeGraph
from sparring.distributed import checkpoint, conversion, world
from sparring.distributed.ranking import evaluate
from sparring.distributed.table import ask_alike
from sparring.evaluation.ranking import RankingResult
from sparring.experiments import assembly
from sparring.experiments.assembly import device_of
from sparring.experiments.config import Config
from sparring.experiments.graphs import load_graph
from sparring.experiments.run import ensemble, evaluate_split
from sparring.experiments.run_folder import GRAPH, Run, check_graph
from sparring.experiments.sharded import Work, assemble, foreseen
from sparring.experiments.trust import check_config_digest
from sparring.files import read_object
from sparring.training import TrainingStep
from sparring.training.trainer import load_state


@dataclass(frozen=True, eq=False)
class OpenRun:
    """A trained step with what it is evaluated on.

    Attributes:
        config: of the run, perhaps with overrides.
        step: as the best epoch left it.
        read_graph: gives the whole graph.
    """

    config: Config
    step: TrainingStep
    read_graph: Callable[[], KnowledgeGraph]

    @cached_property
    def graph(self) -> KnowledgeGraph:
        """The whole graph of the run."""
        return self.read_graph()

    def ranks(self, guide: float) -> RankingResult:
        """Filtered ranks of the evaluated split.

        Args:
            guide: weight of the generator's log-probability.
        """
        return evaluate_split(ensemble(self.step, guide), self.graph, self.config)


@dataclass(frozen=True, eq=False)
class OpenShardedRun(OpenRun):
    """The same on several ranks, all of which do the same.

    Attributes:
        work: triples to evaluate and facts to leave out, of this rank.
    """

    work: Work

    def ranks(self, guide: float) -> RankingResult:
        work, device = self.work, device_of(self.config)
        return evaluate(
            ensemble(self.step, guide),
            work.evaluated.to(device),
            work.known.to(device),
            work.facts.layout,
            max_scores=self.config.evaluate.max_scores,
        )


@contextmanager
def opened(run: Run, config: Config, *, draws: bool = False) -> Iterator[OpenRun]:
    """A run with its trained step.

    Args:
        config: the run's own, perhaps with overrides.
        draws: whether negatives are drawn, for which each rank needs the facts of all queries.

    Raises:
        LaunchError: if several processes were launched for a run of one process, or the tables of
            a sharded run do not fit into memory.
        RunError, CheckpointError, UntrustedError: as `Run.load_step`.
    """
    if not conversion.exists(run.folder):
        if world.is_launched():
            raise world.LaunchError(
                f"{run.folder} was trained in one process, without virtual workers; evaluate it "
                "in one process too"
            )
        graph = run.graph(config)
        yield OpenRun(config, run.load_step(config, graph), lambda: graph)
        return
    with world.process_group(device_of(config), config.distributed.timeout):
        yield _opened_sharded(run, config, draws)


@contextmanager
def untrained(config: Config) -> Iterator[OpenRun]:
    """An experiment as it is before training, in one process."""
    graph = load_graph(config.graph)
    yield OpenRun(config, assembly.assemble(config, graph)[0], lambda: graph)


def _opened_sharded(run: Run, config: Config, draws: bool) -> OpenShardedRun:
    kept = store.exists(run.folder / GRAPH)
    work = Work.of(config, run.graph(config) if kept else None)
    if work.graph is not None:
        check_graph(run.folder, work.graph)
    foreseen(config, work.facts, training=False).check_memory(device_of(config))
    graph = work.graph or (run.graph(config) if draws else None)
    known = graph.training.known if graph is not None and draws else None
    step, _ = assemble(config, work.facts, known)
    name, layout = checkpoint.best_name(run.folder), work.facts.layout
    state = checkpoint.load(run.folder, name, layout, leave_out=checkpoint.FOR_TRAINING)
    path = run.folder / "config.json"
    check_config_digest(state, read_object(path), path)
    load_state(step, state, run.folder)
    step = step.to(device_of(config)).eval()
    ask_alike(step)
    read_graph = lambda: run.graph(config) if graph is None else graph
    return OpenShardedRun(config, step, read_graph, work)
