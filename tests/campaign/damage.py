"""Bits of files flip. What reads them gives what it gave before, or one line that names the file.

Anything else is a silent difference: another number, name, configuration, log, report or resumed
run than without the flip, whatever the exit code.
"""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaign.world import MADE_FROM_RUNS, World, essence

RUN = Path("generator/seed-0")  # within the folder of the comparison


def flip(world: World, rng: random.Random, name: str) -> str:
    """Flip bits in one file of a comparison, then read it, continue it, and resume its run."""
    whole = damaged_world(world)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    file = files[rng.randrange(len(files))]
    folder = world.fresh("flipped")
    shutil.copytree(whole, folder)
    content = bytearray((folder / file).read_bytes())
    for _ in range(rng.choice((1, 1, 1, 30))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    (folder / file).write_bytes(content)
    found = read(world, folder)
    where = f"bits of {file}: "
    if isinstance(found, str):
        return where + found
    for view, right in views(world).items():
        if fault := fault_of(found[view], right, file.name):
            return f"{where}{view} {fault}"
    for name, left_out in (("continued", ()), ("resumed", MADE_AT_THE_END)):
        for each in left_out:
            (folder / each).unlink(missing_ok=True)
        done = world.do("compare", world.comparison, "--folder", folder, "-q")
        if done.fault() or (done.code and not refuses(done.said, file.name)):
            return f"{where}{name}: {done.fault() or done.said.strip()[-300:]}"
        if done.code:
            continue
        now = essence(folder)
        different = [
            each
            for each, digest in world.whole("compare").essence.items()
            if now.get(each) != digest and not (Path(each) == file and unread(each))
        ]
        if different:
            return f"{where}{name} with another {', '.join(different)}"
    return ""


MADE_AT_THE_END = (*MADE_FROM_RUNS, str(RUN / "result.json"))


def unread(file: str) -> bool:
    """Whether a finished run is shown without reading this file; `read` tries it."""
    return True


def fault_of(found: Any, right: Any, file: str) -> str:
    """What is wrong with what was read: it must be right, or refused in a line with the file."""
    if found == right:
        return ""
    if not isinstance(found, dict) or "refused" not in found:
        return "differs in silence"
    return "" if refuses(found["refused"], file) else f"says {found['refused'][:200]!r}"


def refuses(said: str, file: str) -> bool:
    """Whether this is one line that names the file."""
    return len(said.strip().splitlines()) == 1 and file in said


def damaged_world(world: World) -> Path:
    """The folder that bits are flipped in: a comparison with a calibrated run."""
    folder = world.folder / "to-damage"
    if not folder.exists():
        shutil.copytree(world.whole("compare").folder, folder)
        done = world.do("calibrate", folder / RUN)
        assert done.code == 0, done.said
    return folder


def views(world: World) -> dict[str, Any]:
    """What is read from the folder without damage."""
    path = world.folder / "views.json"
    if not path.exists():
        found = read(world, damaged_world(world))
        assert isinstance(found, dict), found
        assert not any(isinstance(view, dict) for view in found.values()), found
        path.write_text(json.dumps(found))
    return json.loads(path.read_text())


def read(world: World, folder: Path) -> dict[str, Any] | str:
    """What each reader of a folder gives, in a process of its own; or how that one failed."""
    done = world.do("campaign.damage:read_all", json.dumps({"folder": str(folder)}))
    return done.fault() or done.value


def read_all(folder: str) -> dict[str, Any]:
    """The hash of what each reader gives, or the error of those that are expected."""
    import sparring
    from sparring.experiments.console import exit_code, sentence
    from sparring.experiments.run_folder import Run

    place = Run(Path(folder, RUN))
    predictor = lambda: sparring.load(place.folder)
    facts = [("e1", "r0", "e2"), ("e3", "r1", "e4")]
    readers: dict[str, Callable[[], Any]] = {
        "config": lambda: (
            place.config().as_dict() if place.load_step(place.config(), place.graph()) else 0
        ),
        "result": place.result,
        "log": place.log,
        "breakdown": lambda: place.breakdown().to_dict(),
        "ranks": lambda: vars(place.ranks()),
        "calibration": lambda: vars(place.required_calibration()),
        "metrics": lambda: predictor().metrics,
        "evaluation": lambda: predictor().evaluate("test"),
        "prediction": lambda: predictor().predict(head="e1", relation="r0").json(),
        "scores": lambda: predictor().score(facts).tolist(),
        "negatives": lambda: predictor().negatives(facts).to_polars().rows(),
        "resumed from": lambda: sparring.training.checkpoint.load(place.folder, "last"),
    }
    found: dict[str, Any] = {}
    for name, reader in readers.items():
        try:
            found[name] = hashlib.sha256(repr(reader()).encode()).hexdigest()
        except Exception as error:
            if exit_code(error) is None:
                raise
            found[name] = {"refused": sentence(error)}
    return found
