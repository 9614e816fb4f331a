"""Broken data files, odd configurations and odd command lines: done, or refused in a line.

Many cases share a process, so that ten thousand take minutes.
"""

import faulthandler
import io
import json
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from campaign.server import HUNG
from campaign.world import World

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
    *("/dev/null/x", "/dev/null", "", "-", "--", "-k", "0", "-1", "99999999999999999999", "--head"),
    *("--tail", "--relation", "e1", "r1", "\x1b[31m", "é", "--queries", "--format", "nosuch"),
    *("os:system", "json:loads", ":", "uniform", "generator", "--to", "dicee", "--guide", "nan"),
    *("-h", "--version", "--relations", "models", "describe", "check", "--trust", "x" * 5000),
    *(
        "--probability",
        "--triples",
        "--split",
        "valid",
        "csv",
        "json",
        "--type",
        "\udcff",
        "\u202e",
    ),
)
COMMANDS = (
    *("run", "evaluate", "audit", "export", "predict", "check", "data", "list", "score", "explain"),
    *("calibrate", "init", "fit"),  # `compare` alone trains for minutes
)
MEMORY = 6 << 30
SLOW = 60  # seconds that a case may take


def data(scratch: Path, rng: random.Random, places: dict[str, str]) -> list[str]:
    """Check or describe broken data files."""
    folder = scratch / "data"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(places["graph"], folder)
    path = rng.choice(sorted(folder.iterdir()))
    path.write_bytes(mutated(path.read_bytes(), rng))
    if rng.random() < 0.3:
        path.rename(path.with_suffix(rng.choice(SUFFIXES)))
    return ["data", rng.choice(("check", "describe")), str(folder)]


SUFFIXES = (".txt", ".csv", ".tsv.gz", ".parquet", ".jsonl", ".nt", ".ttl", ".db", ".x")


def configuration(scratch: Path, rng: random.Random, places: dict[str, str]) -> list[str]:
    """Run with an odd value in the experiment, or broken bytes in its file."""
    folder = scratch / "odd"
    shutil.rmtree(folder, ignore_errors=True)
    words = ["--folder", str(folder), "-q", "--set", "train.epochs=1"]
    if rng.random() < 0.4:
        return ["run", places["config"], *words, *part(rng)]
    if rng.random() < 0.7:
        odd = f"{rng.choice(PATHS)}={rng.choice(ODD)}"
        return ["run", places["config"], *words, "--set", odd]
    path = scratch / "odd.toml"
    path.write_bytes(mutated(Path(places["config"]).read_bytes(), rng))
    return ["run", str(path), *words]


def part(rng: random.Random) -> list[str]:
    """Any registered part, as its example, with an odd value for one of its options."""
    from sparring.experiments.config import PARTS
    from sparring.registry import options_of

    table = rng.choice(("sampler", "sampler", "loss", "model", "corruption", "schedule"))
    registry = PARTS[table][0]
    entry = registry.entries[name := rng.choice(sorted(registry.entries))]
    options = {"name": name, **(entry.example or {})}
    odd = [f"{table}={toml(options)}"]
    if known := sorted(options_of(entry.make)):
        odd.append(f"{table}.{rng.choice(known)}={rng.choice(ODD)}")
    return [word for each in odd for word in ("--set", each)]


def toml(value: Any) -> str:
    """A value of an example as TOML."""
    if isinstance(value, Mapping):
        entries = (f"{key} = {toml(item)}" for key, item in value.items() if item is not None)
        return "{ " + ", ".join(entries) + " }"
    return json.dumps(value)


def words(scratch: Path, rng: random.Random, places: dict[str, str]) -> list[str]:
    """A good command line with odd words in it, or one of odd words only."""
    choice = (*WORDS, places["run"], places["config"], places["graph"], str(scratch / "out"))
    odd = [rng.choice(choice) for _ in range(rng.randrange(4))]
    if rng.random() < 0.3:
        return [rng.choice(COMMANDS), *odd]
    line = [places.get(word, word) for word in rng.choice(GOOD).split()]
    at = rng.randrange(1, len(line) + 1)
    return [*line[:at], *odd, *line[at + (rng.random() < 0.3) :]]


GOOD = (
    *("evaluate run", "evaluate run --json --split valid", "audit run --relations 2", "data list"),
    *("predict run --head e1 --relation r1 -k 3", "predict run --tail e1 --relation r1 --guide 1"),
    *("score run graph/test.tsv", "explain run --head e1 --relation r1 --tail e2", "calibrate run"),
    *("check uniform", "list samplers --json", "data describe graph", "init graph out.toml"),
    *("export run --to dicee --folder out", "audit config", "predict run --head e1 --tail e2"),
    *("fit graph --epochs 0 --folder out", "data check graph --columns 1,2,3 --separator tab"),
)


KINDS: dict[str, Callable[[Path, random.Random, dict[str, str]], list[str]]] = {
    "broken data files": data,
    "odd configurations": configuration,
    "odd command lines": words,
}


def fuzz(world: World, seeds: Sequence[int], name: str) -> list[str]:
    """What each case found; empty if nothing."""
    found: dict[int, str] = {}
    results = world.folder / ".fuzzed"
    places = {
        "graph": str(world.graph),
        "config": str(world.config),
        "run": str(world.whole("run").folder),
    }
    limit = ("limit_memory", {"kind": "AS", "extra": MEMORY})
    while left := [seed for seed in seeds if seed not in found]:
        results.write_text("")
        asked = {
            "kind": name,
            "seeds": left,
            "places": places,
            "scratch": str(world.folder),
            "results": str(results),
        }
        done = world.do(
            "campaign.fuzz:cases", json.dumps(asked), setup=(limit,), timeout=SLOW * len(left)
        )
        rows = [json.loads(row) for row in results.read_text().splitlines()]
        found |= {seed: fault for seed, fault in rows}
        if len(rows) < len(left):
            end = f"exit code {done.code}: {done.said[:300]}"
            found[left[len(rows)]] = "no end" if done.code == HUNG else end
    return [found[seed] for seed in seeds]


def cases(kind: str, seeds: list[int], places: dict[str, str], scratch: str, results: str) -> None:
    """Run cases one after the other in this process, and write what each found."""
    with open(results, "a") as file:
        for seed in seeds:
            rng = random.Random(f"{kind} {seed}")
            line = KINDS[kind](Path(scratch), rng, places)
            faulthandler.dump_traceback_later(SLOW, exit=True)  # says where, and ends the process
            code, said = captured(line)
            faulthandler.cancel_dump_traceback_later()
            fault = fault_of(code, said, line)
            shown = [word[:60] for word in line]
            file.write(json.dumps([seed, f"{shown}: {fault}" if fault else ""]) + "\n")
            file.flush()


def fault_of(code: int, said: str, line: list[str]) -> str:
    """What is wrong with the end of a command; only `data check` may have several errors."""
    if "Traceback (most recent call last)" in said:
        return f"traceback: {said.strip().splitlines()[-1][:200]}"
    if code not in (0, 1, 2, 130):
        return f"exit code {code}: {said.strip()[-200:]}"
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    several = len(errors) > 1 and line[:2] != ["data", "check"]
    return f"{len(errors)} lines of errors" if several else ""


def captured(line: list[str]) -> tuple[int, str]:
    """Exit code and output of a command in this process."""
    import traceback

    from sparring.experiments import console
    from sparring.experiments.cli import app

    before = (console.out.file, console.err.file, sys.stdout, sys.stderr, sys.stdin)
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    console.out.file = console.err.file = sys.stdout = sys.stderr = said
    sys.stdin = io.StringIO("")
    code = 0
    try:
        app(list(line))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        code = 70
        traceback.print_exc()
    finally:
        console.out.file, console.err.file, sys.stdout, sys.stderr, sys.stdin = before
    said.flush()
    return code, said.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


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
