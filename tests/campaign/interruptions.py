"""Attacks that interrupt a workflow: continued, it leaves what it would have left, bit for bit.

Each case returns what it found, or nothing if the workflow survived.
"""

import os
import random
from pathlib import Path
from typing import Any

from campaign.server import Call, Done, Setup
from campaign.world import WORKFLOWS, World, differences, downloads, serving

GENTLE = ("SIGTERM", "SIGINT", "SIGHUP", "SIGPIPE")
LONGEST = 10**8  # seconds before or after now that files are said to be from


def kill(world: World, rng: random.Random, name: str) -> str:
    """Kill a workflow up to three times: at some time, before it changes a file, or in the middle
    of one."""
    folder, killed = begin(world, name), 0
    for again in range(rng.randint(1, 3)):
        how = rng.choice(("time", "operation", "half"))
        setup: tuple[Setup, ...] = ()
        signals: tuple[tuple[float, str], ...] = ()
        if how == "time":
            signals = ((rng.uniform(0.01, world.whole(name).seconds), "SIGKILL"),)
        elif how == "operation":
            at = rng.randint(1, world.whole(name).operations)
            setup = (("at_file_operation", {"folder": str(folder), "how": "kill", "at": at}),)
        else:
            size = int(2 ** rng.uniform(4, 16))
            setup = (("limit_file_size", {"size": size, "deadly": True}),)
        done = disturbed(world, name, folder, bool(again), setup, signals=signals)
        killed += done.code in (-9, -25)
        if fault := ended(world, name, folder, done, accepted=(-9, -25)):
            return fault
    return continued(world, name, folder)


def full_disk(world: World, rng: random.Random, name: str) -> str:
    """No file can be made from some moment on, or grow beyond a size; then there is room again.

    What the process says is such a file too, so there is room for an error in it.
    """
    folder = begin(world, name)
    if rng.random() < 0.5:
        at = rng.randint(1, world.whole(name).operations)
        setup: Setup = ("at_file_operation", {"folder": str(folder), "how": "full", "at": at})
    else:
        setup = ("limit_file_size", {"size": int(2 ** rng.uniform(11, 17))})
    done = disturbed(world, name, folder, False, (setup,))
    return ended(world, name, folder, done) or continued(world, name, folder)


def little_memory(world: World, rng: random.Random, name: str) -> str:
    """Memory is limited, or short at one moment; then it is not.

    PyTorch, Polars and what they call may abort the process. With less than some 64 MiB, Polars may
    wait for its threads for ever, so there is more.
    """
    folder = begin(world, name)
    kind = rng.choice(("AS", "DATA", "step", "file"))
    setup: Setup = ("limit_memory", {"kind": kind, "extra": int(2 ** rng.uniform(26, 30))})
    if kind == "step":
        setup = ("no_memory_in_step", {"at": rng.randint(1, 20)})
    elif kind == "file":
        at = rng.randint(1, world.whole(name).operations)
        setup = ("at_file_operation", {"folder": str(folder), "how": "memory", "at": at})
    done = disturbed(world, name, folder, False, (setup,))
    return ended(world, name, folder, done, accepted=(-6, -11)) or continued(world, name, folder)


def signals(world: World, rng: random.Random, name: str) -> str:
    """Terminal closed, Ctrl-C, stopped for a while, reader gone."""
    folder, seconds = begin(world, name), world.whole(name).seconds
    moment = rng.uniform(0.01, seconds)
    kind = rng.choice((*GENTLE, "twice", "STOP", "nobody reads"))
    setup: tuple[Setup, ...] = (("nobody_reads", {}),) if kind == "nobody reads" else ()
    sent = {
        "twice": ((moment, "SIGINT"), (moment + rng.uniform(0, 0.1), "SIGINT")),
        "STOP": ((moment, "SIGSTOP"), (moment + 0.1, "SIGCONT")),
        "nobody reads": (),
    }.get(kind, ((moment, kind),))
    done = disturbed(world, name, folder, False, setup, signals=sent)
    deaths = {"SIGTERM": (-15,), "SIGHUP": (-1,)}.get(kind, ())
    silent = kind == "nobody reads" and not done.said.strip()
    fault = "" if silent else ended(world, name, folder, done, accepted=deaths)
    if not fault and kind in ("SIGPIPE", "STOP") and done.code:
        fault = f"exit code {done.code}: {done.said[-200:]}"
    return fault or continued(world, name, folder)


def clock(world: World, rng: random.Random, name: str) -> str:
    """The wall clock jumps, and files are from the past or the future."""
    folder = begin(world, name)
    jumping: Setup = ("jump_clock", {"seed": rng.randrange(2**30)})
    at = rng.randint(1, world.whole(name).operations)
    killing: Setup = ("at_file_operation", {"folder": str(folder), "how": "kill", "at": at})
    done = disturbed(world, name, folder, False, (jumping, killing))
    if fault := ended(world, name, folder, done, accepted=(-9,)):
        return fault
    for path in folder.rglob("*"):
        moment = path.stat().st_mtime + rng.uniform(-LONGEST, LONGEST)
        os.utime(path, (moment, moment))
    return continued(world, name, folder, jumping)


def two_at_once(world: World, rng: random.Random, name: str) -> str:
    """Two processes do the same in one folder: each does it, or is refused."""
    folder = begin(world, name)
    with WORKFLOWS[name].surroundings(world, folder) as setup:
        words = WORKFLOWS[name].words(world, folder, again=True)
        late: Setup = (
            "sleep",
            {"seconds": rng.choice((0, rng.uniform(0, world.whole(name).seconds)))},
        )
        both = world.sparring.together(
            Call(words, (*world.always, *setup)), Call(words, (*world.always, *setup, late))
        )
    refused = [done for done in both if done.code and "is in use by process" not in done.said]
    fault = next((done.fault() or done.said.strip() for done in refused), "")
    return fault or continued(world, name, folder)


def download(world: World, rng: random.Random, name: str) -> str:
    """A server that sends something else; then a good one; then a file in the store changes."""
    folder = begin(world, name)
    how = rng.choice(("short", "altered", "endless", "missing", "cut off"))
    with serving(world.graph, how) as host:
        setup: Setup = ("downloads_from", downloads(world, host, folder))
        done = world.do(*WORKFLOWS[name].words(world, folder), setup=(setup, ("few_bytes", {})))
    if fault := done.fault() or ("" if done.code else "accepted in silence"):
        return f"{how}: {fault}"
    if left := [path.name for path in folder.rglob("*") if path.is_file()]:
        return f"{how}: left {', '.join(left)}"
    if fault := continued(world, name, folder):
        return f"{how}: {fault}"
    file = rng.choice(sorted(path for path in folder.rglob("*.txt")))
    file.write_bytes(file.read_bytes() + b"e1\tr1\te2\n")
    done = disturbed(world, name, folder, True, ())
    if done.code and file.name in done.said:
        return done.fault()
    return f"changed {file.name}: {done.fault() or done.said.strip()[-200:]}"


def begin(world: World, name: str) -> Path:
    """A folder where a workflow can begin."""
    world.whole(name)
    return WORKFLOWS[name].begin(world, world.fresh(f"attacked-{name}"))


def disturbed(
    world: World, name: str, folder: Path, again: bool, faults: tuple[Setup, ...], **options: Any
) -> Done:
    """Do a workflow under faults."""
    workflow = WORKFLOWS[name]
    with workflow.surroundings(world, folder) as setup:
        words = workflow.words(world, folder, again)
        return world.do(*words, setup=(*setup, *faults), **options)


def ended(world: World, name: str, folder: Path, done: Done, accepted: tuple[int, ...] = ()) -> str:
    """What is wrong with how a disturbed workflow ended: it must be done, killed, or refused in a
    line. One that says it is done has done all."""
    if done.code in accepted:
        return ""
    wrong = differences(WORKFLOWS[name].essence(folder), world.whole(name).essence)
    if done.code == 0 and wrong:
        return f"said to be done, but {wrong}"
    errors = [line for line in done.said.splitlines() if line.startswith("error: ")]
    if done.code in (1, 2) and len(errors) != 1:
        return f"not one line of an error: {done.said.strip()[-300:]}"
    return done.fault()


def continued(world: World, name: str, folder: Path, *faults: Setup) -> str:
    """What is wrong with a workflow after it was continued to its end."""
    done = disturbed(world, name, folder, True, faults)
    if done.fault() or done.code:
        return done.fault() or f"refused to continue: {done.said.strip()[-300:]}"
    return differences(WORKFLOWS[name].essence(folder), world.whole(name).essence)
