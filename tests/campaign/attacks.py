"""What can go wrong for a user, provoked on purpose: each attack makes cases from seeds.

A case returns what it found, or nothing if the command survived: it did what was asked for, bit for
bit, or refused in one line.
"""

import json
import random
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from campaign.commands import Server

CLOCKS = {"cpu_seconds", "commit"}
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
ODD = (
    *("nan", "inf", "-inf", "-1", "0", "1", "2", "0.5", "-0.5", "1e308", "1e-320", "3.5", "1_000"),
    *("9223372036854775807", "9223372036854775808", "100000000000", "1" * 400, "true", "false"),
    *('""', '"x"', "[]", "[1]", "{}", '{ name = "uniform" }', '{ name = "uniform", k = 1 }'),
    *("1979-05-27", "07:32:00", "[{}]", "[[1]]", r'"\u0000"', '"../.."', "{ name = 1 }"),
    *('{ name = "os:getcwd" }', '{ name = ":" }', '{ name = "a:b" }', '{ name = "complex" }'),
)
PATHS = (
    *("seed", "threads", "device", "start", "model", "model.dim", "model.name", "model.dropout"),
    *("sampler", "sampler.k", "sampler.name", "sampler.num_uniform", "sampler.x", "loss.name"),
    *("loss.correction", "loss.margin", "optimizer.lr", "optimizer.name", "optimizer.betas"),
    *("schedule.name", "schedule.warmup", "corruption", "corruption.name", "train.epochs"),
    *("train.batch_size", "train.validate_every", "train.validate_on", "train.patience"),
    *("train.log_every", "train.save_every", "train.max_scores", "evaluate.split"),
    *("evaluate.max_scores", "evaluate.bootstrap", "graph.path", "graph.unseen", "graph.hold_out"),
)
WORDS = (
    *("--json", "--set", "a=b", "=", "a.b=1", "model.dim=1", "--resume", "--folder", "--quiet"),
    *("/", "/dev/null", ".", "", "-", "--", "-k", "0", "-1", "99999999999999999999", "--head"),
    *("--tail", "--relation", "e1", "r1", "\x1b[31m", "é", "--queries", "--format", "nosuch"),
    *("os:system", "json:loads", ":", "uniform", "generator", "--to", "dicee", "--guide", "nan"),
    *("-h", "--version", "--relations", "models", "describe", "check", "--trust", "x" * 5000),
)
COMMANDS = ("run", "evaluate", "audit", "export", "predict", "check", "data", "list", "score")


class World:
    """A small graph, an experiment on it, and its unbroken run.

    Args:
        folder: scratch files go here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sparring = Server(folder)
        self.graph = write_graph(folder / "graph")
        self.config = folder / "small.toml"
        self.config.write_text(EXPERIMENT.format(graph=json.dumps(str(self.graph))))

    @cached_property
    def whole(self) -> Path:
        """The folder of the unbroken run."""
        return self.run_in("whole")

    @cached_property
    def seconds(self) -> float:
        """How long a run takes, from start to end."""
        return self.sparring("run", self.config, "--folder", self.folder / "timed", "-q").seconds

    def run_in(self, name: str) -> Path:
        """Run the experiment, unbroken, in a folder of this name."""
        done = self.sparring("run", self.config, "--folder", self.folder / name, "-q")
        assert done.code == 0, done.said
        return self.folder / name

    def resumed(self, folder: Path) -> str:
        """What is wrong with a run after it is resumed; empty if it is the unbroken one."""
        done = self.sparring("run", self.config, "--folder", folder, "-q", "--resume")
        if done.fault() or done.code:
            return done.fault() or f"refused to resume: {done.said.strip()}"
        left = [path.name for path in folder.rglob(".*")]
        different = [
            name
            for name, content in essence(self.whole).items()
            if essence(folder).get(name) != content
        ]
        return ", ".join([*(f"{name} differs" for name in different), *(f"left {x}" for x in left)])


def kill(world: World, rng: random.Random) -> str:
    """Kill a run up to three times, then resume it."""
    folder, resume = fresh(world, "killed"), []
    for _ in range(rng.randint(1, 3)):
        moment = rng.uniform(0.01, world.seconds)
        words = ("run", world.config, "--folder", folder, "-q", *resume)
        fault = ended(world.sparring(*words, kill_after=moment))
        if fault:
            return fault
        resume = ["--resume"]
    return world.resumed(folder)


def full_disk(world: World, rng: random.Random) -> str:
    """No file can grow beyond some size; then there is room again."""
    folder = fresh(world, "full")
    size = int(2 ** rng.uniform(6, 17))
    done = world.sparring("run", world.config, "--folder", folder, "-q", file_size=size)
    return done.fault() or world.resumed(folder)


def two_at_once(world: World, rng: random.Random) -> str:
    """Two runs into one folder: one is made, and the other one refused or resumed after it."""
    folder = fresh(world, "two")
    words = ("run", world.config, "--folder", folder, "-q", "--resume")
    both = world.sparring.together([(words, {}), (words, {})])
    refused = [done for done in both if done.code and "is in use by process" not in done.said]
    return next((done.fault() or done.said for done in refused), "") or world.resumed(folder)


def flip(world: World, rng: random.Random) -> str:
    """Flip bits in one file of a run, then evaluate, and resume it from its last checkpoint."""
    folder = fresh(world, "flipped")
    shutil.copytree(world.whole, folder)
    lasting = [path for path in folder.rglob("*") if "tensorboard" not in str(path)]
    path = rng.choice(sorted(path for path in lasting if path.is_file()))
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 30))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    where = f"bits of {path.relative_to(folder)}: "
    right = world.sparring("evaluate", world.whole, "--json").said.replace(str(world.whole), "")
    done = world.sparring("evaluate", folder, "--json")
    if done.fault() or (done.code == 0 and done.said.replace(str(folder), "") != right):
        return where + (done.fault() or "evaluates to something else in silence")
    (folder / "result.json").unlink()
    done = world.sparring("run", world.config, "--folder", folder, "-q", "--resume")
    if done.fault() or done.code:
        return done.fault() and where + done.fault()
    mrr = [json.loads((each / "result.json").read_text())["mrr"] for each in (world.whole, folder)]
    return "" if mrr[0] == mrr[1] else f"{where}resumes to something else in silence"


def data(world: World, rng: random.Random) -> str:
    """Check and read broken data files."""
    folder = fresh(world, "data")
    shutil.copytree(world.graph, folder)
    path = rng.choice(sorted(folder.iterdir()))
    path.write_bytes(mutated(path.read_bytes(), rng))
    if rng.random() < 0.3:
        path.rename(path.with_suffix(rng.choice((".txt", ".csv", ".tsv.gz", ".parquet", ".x"))))
    done = world.sparring("data", rng.choice(("check", "describe")), folder)
    return done.fault()


def configuration(world: World, rng: random.Random) -> str:
    """Run with an odd value in the experiment."""
    folder, path, value = fresh(world, "odd"), rng.choice(PATHS), rng.choice(ODD)
    tiny = ("--set", "train.epochs=1", "--set", f"{path}={value}")
    words = ("run", world.config, "--folder", folder, "-q", *tiny)
    fault = world.sparring(*words, memory=6 << 30).fault()
    return fault and f"{path} = {value[:40]}: {fault}"


def words(world: World, rng: random.Random) -> str:
    """Odd command lines."""
    choice = (*WORDS, str(world.whole), str(world.config), str(world.graph))
    line = [rng.choice(COMMANDS), *(rng.choice(choice) for _ in range(rng.randrange(6)))]
    if "\0" in "".join(line):
        return ""
    fault = world.sparring(*line, memory=6 << 30).fault()
    return fault and f"{line}: {fault}"


ATTACKS: dict[str, tuple[int, Callable[[World, random.Random], str]]] = {
    "killed, then resumed": (200, kill),
    "disk full, then resumed": (50, full_disk),
    "two at once": (20, two_at_once),
    "flipped bits": (500, flip),
    "broken data files": (4000, data),
    "odd configurations": (4000, configuration),
    "odd command lines": (2000, words),
}


def essence(folder: Path) -> dict[str, Any]:
    """The content of the lasting files of a run, without what the clock decides."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or "tensorboard" in name:
            continue
        if path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            rows = map(json.loads, path.read_text().splitlines())
            found[name] = [timeless(row) for row in rows if row["kind"] != "end"]
        else:
            found[name] = path.read_bytes()
    return found


def timeless(value: Any) -> Any:
    """JSON without clocks, and without digests of what holds clocks."""
    if isinstance(value, dict):
        dropped = CLOCKS | ({"digest"} if "tensors" in value else set())
        return {key: timeless(item) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        return [timeless(item) for item in value if not (is_pair(item) and item[0] in CLOCKS)]
    return value


def is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def fresh(world: World, name: str) -> Path:
    """A folder that is not there."""
    shutil.rmtree(world.folder / name, ignore_errors=True)
    return world.folder / name


def ended(done: Any) -> str:
    """What is wrong with a command that may have been killed."""
    return "" if done.code == -9 else done.fault()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Some bytes replaced, inserted, removed or repeated."""
    parts = bytearray(content)
    for _ in range(rng.choice((1, 2, 20))):
        at = rng.randrange(len(parts) + 1)
        odd = rng.choice((b"\t", b"\n", b"\r", b"\0", b'"', b"\xff", b"\xef\xbb\xbf", b",", b"e1"))
        match rng.randrange(4):
            case 0:
                parts[at:at] = odd
            case 1:
                del parts[at : at + rng.randrange(1, 40)]
            case 2:
                parts[at : at + 1] = odd
            case _:
                parts[at:at] = parts[at : at + rng.randrange(1, 200)]
    return bytes(parts)


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
