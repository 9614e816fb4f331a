"""A small graph, what users do with it from start to end, and what that leaves when undisturbed."""

import functools
import hashlib
import json
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from campaign.server import Done, Server, Setup

EXPERIMENT = """
seed = 5
threads = 1
graph = {{ path = {graph} }}
model = {{ name = "complex", dim = 8 }}
sampler = {{ name = "generator", k = 4 }}
loss = {{ name = "sampled-softmax", correction = "both" }}
optimizer = {{ name = "adam", lr = 0.01 }}
train = {{ epochs = 4, batch_size = 64, validate_every = 1, log_every = 2 }}
evaluate = {{ bootstrap = 5 }}
"""
COMPARED = """
[compare]
seeds = [0]
[compare.variants.generator]
[compare.variants.uniform]
sampler = { name = "uniform", k = 4 }
"""
MADE_FROM_RUNS = {"comparison.json", "report.html"}


class World:
    """Where attacks happen.

    Args:
        folder: scratch files go here.
        broken: how the library is broken, for trying the attacks themselves; see `campaign.broken`.
    """

    def __init__(self, folder: Path, broken: str = "") -> None:
        self.folder, self.broken = folder, broken
        self.sparring = Server(folder)
        self.graph = write_graph(folder / "graph")
        self.config, self.comparison = folder / "small.toml", folder / "two.toml"
        experiment = EXPERIMENT.format(graph=json.dumps(str(self.graph)))
        self.config.write_text(experiment)
        self.comparison.write_text(experiment + COMPARED)

    def close(self) -> None:
        """End the server."""
        self.sparring.close()

    def fresh(self, name: str) -> Path:
        """A folder that is not there."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def do(self, *words: Any, setup: tuple[Setup, ...] = (), **options: Any) -> Done:
        """Run a command or function, with the library broken if this world's is."""
        return self.sparring(*words, setup=(*self.always, *setup), **options)

    @property
    def always(self) -> tuple[Setup, ...]:
        """What is done to every process."""
        return (("broken_library", {"name": self.broken}),) if self.broken else ()

    @functools.cache  # noqa: B019  a world lives as long as its process
    def whole(self, name: str) -> "Whole":
        """What a workflow leaves and how long it takes when nothing disturbs it."""
        workflow = WORKFLOWS[name]
        folder = workflow.begin(self, self.fresh(f"attacked-{name}"))  # records may hold its name
        counted = self.folder / ".operations"
        counting = ("count_file_operations", {"folder": str(folder), "to": str(counted)})
        with workflow.surroundings(self, folder) as setup:
            done = self.do(*workflow.words(self, folder), setup=(*setup, counting))
        assert done.code == 0, done.said
        found = workflow.essence(folder)
        kept = folder.rename(self.folder / f"whole-{name}")
        return Whole(kept, found, done.seconds, counted.stat().st_size)


@dataclass(frozen=True)
class Whole:
    """What an undisturbed workflow leaves.

    Attributes:
        folder: where it is kept.
        essence: name and hash of each lasting file.
        seconds: how long it took.
        operations: how often it changed a file.
    """

    folder: Path
    essence: dict[str, str]
    seconds: float
    operations: int


class Workflow:
    """Something that users do in a folder, and do again to continue it."""

    def begin(self, world: World, folder: Path) -> Path:
        """Prepare the folder."""
        del world
        return folder

    def words(self, world: World, folder: Path, again: bool = False) -> tuple[Any, ...]:
        """The command; `again` for one that continues."""
        raise NotImplementedError

    @contextmanager
    def surroundings(self, world: World, folder: Path) -> Iterator[tuple[Setup, ...]]:
        """What the command needs around it."""
        yield ()

    def essence(self, folder: Path) -> dict[str, str]:
        """What it leaves, by name, as far as it must be the same after an interruption."""
        return essence(folder)


class RunWorkflow(Workflow):
    """`sparring run`."""

    def words(self, world: World, folder: Path, again: bool = False) -> tuple[Any, ...]:
        return ("run", world.config, "--folder", folder, "-q", *(["--resume"] if again else []))


class FitWorkflow(Workflow):
    """`sparring fit`."""

    def words(self, world: World, folder: Path, again: bool = False) -> tuple[Any, ...]:
        more = ("--set", "threads=1", "--set", "evaluate.bootstrap=5", "--set", "model.dim=8")
        words = ("fit", world.graph, "--folder", folder, "-q", "--epochs", "2", *more)
        return (*words, *(["--resume"] if again else []))


class CompareWorkflow(Workflow):
    """`sparring compare`, with its report."""

    def words(self, world: World, folder: Path, again: bool = False) -> tuple[Any, ...]:
        return ("compare", world.comparison, "--folder", folder, "-q")


class ReportWorkflow(CompareWorkflow):
    """Only the audit of a comparison's last run and its report are left to make."""

    def begin(self, world: World, folder: Path) -> Path:
        shutil.copytree(world.whole("compare").folder, folder)
        for name in (*MADE_FROM_RUNS, "uniform/seed-0/audit.json", "uniform/seed-0/negatives.json"):
            (folder / name).unlink()
        return folder


class DownloadWorkflow(Workflow):
    """A benchmark is used for the first time."""

    def words(self, world: World, folder: Path, again: bool = False) -> tuple[Any, ...]:
        return ("data", "describe", "wn18rr", "--json")

    @contextmanager
    def surroundings(self, world: World, folder: Path) -> Iterator[tuple[Setup, ...]]:
        with serving(world.graph, "whole") as host:
            yield (("downloads_from", downloads(world, host, folder)),)


class TuneWorkflow(Workflow):
    """`sparring tune`: its trials that ended, and its best run; not how often a trial was begun."""

    def words(self, world: World, folder: Path, again: bool = False) -> tuple[Any, ...]:
        more = ("train.epochs=2", "threads=1", "evaluate.bootstrap=5")
        sets = [word for each in more for word in ("--set", each)]
        words = ("tune", world.graph, "--methods", "uniform", "--model", "distmult")
        return (*words, "--trials", "3", "--folder", folder, "-q", *sets)

    def essence(self, folder: Path) -> dict[str, str]:
        hidden = {path.name: "" for path in folder.rglob(".*")}
        if not (folder / "tuning.json").exists():
            return hidden
        found = json.loads((folder / "tuning.json").read_text())
        methods = {
            f"method {name}": json.dumps(
                [
                    *(method[key] for key in ("valid_mrr", "mrr", "settings")),
                    [
                        {key: trial[key] for key in ("state", "valid_mrr", "settings")}
                        for trial in method["trials"]
                        if trial["state"] != "fail"
                    ],
                ]
            )
            for name, method in found["methods"].items()
        }
        best = json.loads((folder / "best" / "result.json").read_text())
        return {**hidden, **methods, "best run": json.dumps([best["mrr"], best["valid_mrr"]])}


WORKFLOWS: dict[str, Workflow] = {
    "run": RunWorkflow(),
    "fit": FitWorkflow(),
    "compare": CompareWorkflow(),
    "report": ReportWorkflow(),
    "download": DownloadWorkflow(),
    "tune": TuneWorkflow(),
}


def downloads(world: World, host: str, cache: Path) -> dict[str, Any]:
    """Arguments of `downloads_from`: the world's graph is a benchmark."""
    files = {path.stem: path.read_bytes() for path in world.graph.glob("*.tsv")}
    sums = {split: hashlib.sha256(content).hexdigest() for split, content in files.items()}
    about = {"repository": "somebody/graphs", "commit": "1", "folder": ""}
    return {"host": host, "cache": str(cache), "table": {"wn18rr": {**about, **sums}}}


@contextmanager
def serving(graph: Path, how: str) -> Iterator[str]:
    """The address of a server that has the splits of a graph, and sends them in small pieces.

    Args:
        how: "whole", or what is wrong: "short", "altered", "endless", "missing", "cut off".
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = (graph / Path(self.path).with_suffix(".tsv").name).read_bytes()
            self.send_response(404 if how == "missing" else 200)
            if how != "endless":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            sent = {
                "short": content[: len(content) // 2],
                "cut off": content[: len(content) // 2],
                "altered": content.replace(b"e1\t", b"e2\t", 1),
                "endless": content * 3000,
            }.get(how, content)
            try:
                for at in range(0, len(sent), size := max(1, len(sent) // 5)):
                    self.wfile.write(sent[at : at + size])
                    threading.Event().wait(0.002)
            except OSError:  # the reader was killed, or has enough
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def essence(folder: Path) -> dict[str, str]:
    """Name and hash of each lasting file; all but the event files of TensorBoard last."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "tensorboard" not in path.parts
    }


def differences(found: dict[str, str], whole: dict[str, str]) -> str:
    """How what a workflow left differs from what an undisturbed one leaves."""
    wrong = [f"{name} is left" for name in found if name not in whole]
    wrong += [f"{name} is missing" for name in whole if name not in found]
    wrong += [f"{name} differs" for name in found if found[name] != whole.get(name, found[name])]
    return ", ".join(wrong)


def write_graph(folder: Path, entities: int = 40, relations: int = 3) -> Path:
    """A small graph in which tails follow from heads and relations."""
    rows = [
        f"e{head}\tr{relation}\te{(head * (relation + 1) + 7 * relation + step) % entities}\n"
        for head in range(entities)
        for relation in range(relations)
        for step in (0, 3, 11)
    ]
    random.Random(0).shuffle(rows)
    folder.mkdir()
    cut = len(rows) // 10
    splits = {"valid": rows[:cut], "test": rows[cut : 2 * cut], "train": rows[2 * cut :]}
    for split, part in splits.items():
        (folder / f"{split}.tsv").write_text("".join(part))
    return folder
