"""Runs `sparring` commands and functions in forked processes, which start at once and can be hurt.

The server is a process of its own. It imports everything and trains a little, so that no child has
to, but never uses Polars, whose threads do not outlive a fork. Its processor clock stands still, so
that all files of two equal runs are equal.
"""

import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HUNG = "hung"
WARM = (
    *("torch.utils.tensorboard.writer", "plotly.graph_objects", "optuna.visualization", "pooch"),
    *("sqlalchemy.dialects.sqlite.pysqlite", "alembic.command", "sparring.api"),
    *("sparring.experiments.report.page", "sparring.experiments.report.tuning"),
    *("sparring.experiments.tune", "sparring.experiments.compare", "sparring.experiments.fit"),
)
Setup = tuple[str, dict[str, Any]]  # a function in `campaign.faults`, and its arguments


@dataclass(frozen=True)
class Done:
    """How a command or function ended.

    Attributes:
        code: exit code; negative for a signal, "hung" if it had to be stopped.
        said: standard output and error.
        seconds: the time it took.
        value: what the function gave, as JSON; None for a command.
    """

    code: int | str
    said: str
    seconds: float
    value: Any = None

    def fault(self) -> str:
        """What must not happen, whatever was asked for; empty if it did not."""
        if self.code == HUNG:
            return f"no end after {self.seconds:.0f} s: {self.said[-1500:]}"
        if "Traceback (most recent call last)" in self.said:
            return f"traceback: {self.said.strip().splitlines()[-1][:200]}"
        return "" if self.code in (0, 1, 2, 130) else f"exit code {self.code}: {self.said[-200:]}"


@dataclass(frozen=True)
class Call:
    """What to run in a process of its own.

    Attributes:
        words: of a `sparring` command; or "module:function" and its arguments as JSON.
        setup: what is done to the process first.
        signals: seconds and names of signals to send.
        timeout: seconds after which it counts as hung.
    """

    words: tuple[Any, ...]
    setup: tuple[Setup, ...] = ()
    signals: tuple[tuple[float, str], ...] = ()
    timeout: float = 300

    def as_json(self) -> dict[str, Any]:
        """As the server reads it."""
        return {**vars(self), "words": [str(word) for word in self.words]}


class Server:
    """Answers calls, one at a time or several at once.

    Args:
        folder: the working directory of all commands.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "campaign.server"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: Any, **options: Any) -> Done:
        """Run `sparring` with these words; options are those of `Call`."""
        return self.together(Call(words, **options))[0]

    def together(self, *calls: Call) -> list[Done]:
        """Run several at the same time."""
        pipes = self.process.stdin, self.process.stdout
        assert pipes[0] is not None and pipes[1] is not None
        asked = {"folder": str(self.folder), "calls": [call.as_json() for call in calls]}
        pipes[0].write(json.dumps(asked) + "\n")
        pipes[0].flush()
        return [Done(**answer) for answer in json.loads(pipes[1].readline())]

    def close(self) -> None:
        """End the server."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve() -> None:
    """Answer requests on standard input until it ends."""
    warm()
    for request in sys.stdin:
        asked = json.loads(request)
        places = [Path(asked["folder"], f".said-{i}") for i in range(len(asked["calls"]))]
        children = [start(call, place) for call, place in zip(asked["calls"], places)]
        ends = wait(children, asked["calls"])
        answers = [answer(end, place) for end, place in zip(ends, places)]
        print(json.dumps(answers), flush=True)


def warm() -> None:
    """Import what commands need, load compiled loops, and stop the clock of the processor."""
    for module in WARM:
        importlib.import_module(module)
    import torch

    import sparring.experiments.environment
    from sparring.data.graph import TrainGraph
    from sparring.evaluation.ranking import evaluate
    from sparring.experiments.config import PARTS
    from sparring.registry import build
    from sparring.training import TrainingStep

    torch.set_num_threads(1)
    sparring.experiments.environment._commit = lambda: None  # asks git each time
    time.process_time = lambda: 0.0
    triples = torch.randint(3, (40, 3), generator=torch.Generator().manual_seed(0)).unique(dim=0)
    graph = TrainGraph(triples, num_entities=40, num_relations=3)
    tables = {
        "model": {"name": "complex", "dim": 8},
        "sampler": {"name": "generator", "k": 4},
        "loss": {"name": "sampled-softmax", "correction": "both"},
        "corruption": {"name": "both"},
    }
    parts = {key: build(table, PARTS[key][0], key, graph=graph) for key, table in tables.items()}
    step = TrainingStep(**parts)
    optimizer = build({"name": "adam"}, PARTS["optimizer"][0], "", params=step.parameters())
    step(triples, optimizer, torch.Generator())
    evaluate(step.model, triples, graph.known)


def start(call: dict[str, Any], said: Path) -> int:
    """Fork a process that answers a call."""
    said.with_suffix(".json").unlink(missing_ok=True)
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1), os.dup2(output, 2), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(said.parent)
        faulthandler.enable(2)
        for name, options in call["setup"]:
            getattr(importlib.import_module("campaign.faults"), name)(**options)
        code = run(call["words"], said.with_suffix(".json"))
    except KeyboardInterrupt:  # before the library began
        code = 130
    finally:
        os._exit(code)


def run(words: list[str], result: Path) -> int:
    """The exit code of a call in this process; prints the traceback of what escapes."""
    import traceback

    from sparring.experiments import console
    from sparring.experiments.cli import main

    console.out.file, console.err.file = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.stdout, sys.stderr = console.out.file, console.err.file
    code = 0
    try:
        if words and words[0].startswith("campaign."):
            module, _, function = words[0].partition(":")
            value = getattr(importlib.import_module(module), function)(**json.loads(words[1]))
            result.write_text(json.dumps(value))
        else:
            main(words)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:
        code = 70
        os.write(2, f"escaped: {type(error).__name__}\n".encode())
        traceback.print_exc()
    try:
        for file in (console.out.file, console.err.file):
            file.flush()
    except OSError:  # nobody reads, or the disk is full
        pass
    return code


def wait(children: list[int], calls: list[dict[str, Any]]) -> list[tuple[int | str, float]]:
    """Exit code and seconds of each child; it gets its signals, and is killed when it hangs."""
    begun = time.monotonic()
    found: dict[int, tuple[int | str, float]] = {}
    plans = {child: sorted(call["signals"]) for child, call in zip(children, calls)}
    while len(found) < len(children):
        seconds = time.monotonic() - begun
        for child, call in zip(children, calls):
            if child in found:
                continue
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                found[child] = (os.waitstatus_to_exitcode(status), seconds)
            elif plans[child] and plans[child][0][0] <= seconds:
                os.kill(child, getattr(signal, plans[child].pop(0)[1]))
            elif seconds > call["timeout"]:
                os.kill(child, signal.SIGABRT)  # it writes where it is
                time.sleep(1)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                found[child] = (HUNG, seconds)
        time.sleep(0.001)
    return [found[child] for child in children]


def answer(end: tuple[int | str, float], said: Path) -> dict[str, Any]:
    """What the other side makes a `Done` of."""
    result = said.with_suffix(".json")
    value = json.loads(result.read_text()) if result.exists() else None
    return {
        "code": end[0],
        "said": said.read_text(errors="replace"),
        "seconds": end[1],
        "value": value,
    }


if __name__ == "__main__":
    serve()
