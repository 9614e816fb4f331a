"""One experiment, end to end: train, judge, and leave a record."""

import ctypes
import json
import platform
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sparring.evaluation import Evaluation, evaluate
from sparring.experiments.build import build
from sparring.experiments.config import PARTS, Config, check_config
from sparring.experiments.graphs import load_graph
from sparring.experiments.listeners import JsonLines, Listener
from sparring.graph.knowledge_graph import KnowledgeGraph
from sparring.seeds import Seeds
from sparring.training import Fit, TrainingStep, checkpoint
from sparring.training.checkpoint import write_atomically


class RunError(RuntimeError):
    """A run folder that cannot be used as asked."""


@dataclass(frozen=True)
class Run:
    """A run folder: `config.json`, `log.jsonl`, checkpoints, ranks and `result.json`.

    Raises:
        RunError: where a file is asked for that is not there.
    """

    folder: Path

    def config(self) -> Config:
        """The resolved configuration the run was started with."""
        return check_config(self._json("config.json"))

    def result(self) -> dict[str, Any]:
        """What the finished run reported."""
        return self._json("result.json")

    def log(self) -> list[dict[str, Any]]:
        """The records of training, in order."""
        return [json.loads(line) for line in self._path("log.jsonl").read_text().splitlines()]

    def ranks(self) -> Evaluation:
        """The filtered ranks behind the result."""
        self._path("ranks.json")
        return Evaluation(**checkpoint.load(self.folder, "ranks"))

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise RunError(f"{self.folder} has no {name}: it is not the folder of a finished run")
        return path

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads(self._path(name).read_text())


def assemble(config: Config, graph: KnowledgeGraph) -> tuple[TrainingStep, Seeds]:
    """Model, sampler, loss and sides of an experiment, initialised under its seed.

    They see the training view of the graph, and nothing else.
    """
    device = torch.device(config.general.device)
    seeds = Seeds(config.general.seed)
    torch.manual_seed(seeds.number("parameters"))
    training = graph.training.to(device)
    made = {
        name: build(config.parts[name], PARTS[name][0], name, graph=training)
        for name in ("model", "sampler", "loss", "sides")
    }
    return TrainingStep(**made).to(device), seeds


def prepare(config: Config, graph: KnowledgeGraph, folder: Path) -> Fit:
    """Everything that trains, ready to run or to resume."""
    device = torch.device(config.general.device)
    step, seeds = assemble(config, graph)
    optimizer = build(
        config.parts["optimizer"], PARTS["optimizer"][0], "optimizer", params=step.trained()
    )
    return Fit(
        step,
        optimizer,
        build(config.parts["schedule"], PARTS["schedule"][0], "schedule"),
        seeds,
        config.train,
        triples=graph.train.to(device),
        valid=graph.valid.to(device),
        known=graph.known.to(device),
        folder=folder,
    )


def run(
    config: Config,
    folder: Path,
    *,
    graph: KnowledgeGraph | None = None,
    resume: bool = False,
    listeners: Callable[[Fit], Sequence[Listener]] = lambda fit: (),
) -> dict[str, Any] | None:
    """Train and judge one experiment in its folder.

    Args:
        graph: the graph, if it is loaded already.
        resume: go on from the folder's last checkpoint, if there is one.
        listeners: who is told of progress, given what trains.

    Returns:
        The result, also written to `result.json`; None if training was stopped early.

    Raises:
        RunError: if the folder holds a run that must not be overwritten or continued.
    """
    _claim(config, folder, resume)
    keep_freed_memory()
    if config.general.threads:
        torch.set_num_threads(config.general.threads)
    graph = load_graph(config.graph) if graph is None else graph
    fit = prepare(config, graph, folder)
    if resume and checkpoint.exists(folder, "last"):
        fit.resume()
    told = [JsonLines(folder / "log.jsonl", after=fit.progress.step), *listeners(fit)]
    try:
        with stopped_by_signals(fit.stop):
            for record in fit.run():
                for listener in told:
                    listener(record)
    finally:
        for listener in told:
            listener.close()
    if not fit.progress.finished:
        return None
    best = fit.load_best()
    ranks = judge(fit.step, graph, config)
    result = {**summary(config, graph, fit, best), **measures(ranks)}
    checkpoint.save(folder, "ranks", vars(ranks))
    write_json(folder / "result.json", result)
    return result


def judge(step: TrainingStep, graph: KnowledgeGraph, config: Config) -> Evaluation:
    """Filtered ranks on the split that the experiment is judged on."""
    device = torch.device(config.general.device)
    triples = getattr(graph, config.evaluate.split).to(device)
    return evaluate(
        step.model, triples, graph.known.to(device), max_scores=config.evaluate.max_scores
    )


def measures(ranks: Evaluation) -> dict[str, float]:
    """The numbers that a result is quoted by."""
    hits = {f"hits@{k}": ranks.hits(k) for k in (1, 3, 10)}
    return {"mrr": ranks.mrr(), **hits, "mr": ranks.mr(), "amri": ranks.amri()}


def summary(config: Config, graph: KnowledgeGraph, fit: Fit, best: int) -> dict[str, Any]:
    """What was run, on what, at what price."""
    sampler = fit.step.sampler
    return {
        "dataset": graph.name,
        "content_hash": graph.content_hash,
        "split": config.evaluate.split,
        "model": config.parts["model"]["name"],
        "dim": config.parts["model"].get("dim"),
        "sampler": config.parts["sampler"]["name"],
        "loss": config.parts["loss"]["name"],
        "k": sampler.k,
        "scored_per_query": sampler.k + sampler.extra_scores,
        "seed": config.general.seed,
        "epochs": fit.progress.step // fit.steps_per_epoch,
        "best_epoch": best,
        "valid_mrr": fit.progress.best_mrr,
        "cpu_seconds": round(fit.progress.cpu_seconds, 1),
        "threads": torch.get_num_threads(),
        "resolved": config.as_dict(),
        **provenance(),
    }


def provenance() -> dict[str, Any]:
    """Which code ran where: commit, versions and processor."""
    return {
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "sparring": version("sparring"),
        },
        "cpu": _processor(),
    }


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and a polite kill end training after the step under way.

    A second Ctrl-C interrupts at once.
    """

    def handle(number, frame):
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_freed_memory() -> None:
    """Ask glibc to reuse big blocks instead of returning them to the system after every use.

    Steps allocate and free the same few big tensors; fresh pages for each cost up to a quarter
    of a step's time. Elsewhere than on glibc this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, mmap_threshold = -1, -3
    mallopt(mmap_threshold, 2**30)
    mallopt(trim_threshold, 2**31 - 1)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that people can read, in one atomic step."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def _claim(config: Config, folder: Path, resume: bool) -> None:
    path = folder / "config.json"
    if path.exists():
        before, now = json.loads(path.read_text()), config.as_dict()
        if not resume:
            raise RunError(
                f"{folder} holds a run already; add --resume to go on with it, or name "
                "another folder"
            )
        changed = sorted(key for key in now if before.get(key) != now[key])
        if changed:
            raise RunError(
                f"{folder} was started with another configuration: {', '.join(changed)} differ; "
                "resume with the old one, or name another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, config.as_dict())


def _commit() -> str | None:
    """The commit of the source tree, marked where files differ from it; None outside of git."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
