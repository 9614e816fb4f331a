"""All attacks by name: how many cases each has, and what runs some of them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from campaign import hosts, interruptions
from campaign.damage import flip
from campaign.fuzz import fuzz
from campaign.names import names
from campaign.world import World

Case = Callable[[World, random.Random, str], str]
BATCH = 50  # cases of a fuzzed kind that share a process


@dataclass(frozen=True)
class Attack:
    """A kind of attack.

    Attributes:
        cases: how many there are in the whole campaign.
        run: what cases of some seeds found, an empty string for nothing.
        few: cases that `make test` runs.
        batch: cases that are run at once.
    """

    cases: int
    run: Callable[[World, Sequence[int]], list[str]]
    few: int
    batch: int = 1


def one_by_one(case: Case, name: str, of: str) -> Callable[[World, Sequence[int]], list[str]]:
    """Run the cases of one attack, each under its own random numbers."""
    return lambda world, seeds: [
        case(world, random.Random(f"{name} {of} {seed}"), of) for seed in seeds
    ]


INTERRUPTIONS: dict[str, tuple[Case, dict[str, int]]] = {
    "killed": (
        interruptions.kill,
        {"run": 60, "fit": 20, "compare": 40, "tune": 40, "download": 20, "report": 20},
    ),
    "disk full": (
        interruptions.full_disk,
        {"run": 20, "compare": 10, "tune": 10, "download": 5, "report": 5},
    ),
    "little memory": (interruptions.little_memory, {"run": 20, "compare": 10, "tune": 10}),
    "two at once": (
        interruptions.two_at_once,
        {"run": 15, "compare": 10, "tune": 10, "download": 10, "report": 5},
    ),
    "signals": (interruptions.signals, {"run": 40, "compare": 20, "tune": 20}),
    "clock jumps": (interruptions.clock, {"run": 20, "compare": 10, "tune": 10}),
}
FEW = {"killed: run": 1, "killed: report": 1, "killed: download": 1, "killed: tune": 1}
FEW |= {f"{name}: run": 1 for name in INTERRUPTIONS if name != "killed"}
ATTACKS: dict[str, Attack] = {
    f"{name}: {of}": Attack(cases, one_by_one(case, name, of), few=FEW.get(f"{name}: {of}", 0))
    for name, (case, counts) in INTERRUPTIONS.items()
    for of, cases in counts.items()
}
ATTACKS |= {
    f"host lost: {how}": Attack(6, one_by_one(hosts.lost, "host", how), few=0) for how in hosts.LOSE
}
ATTACKS |= {
    "bad downloads": Attack(20, one_by_one(interruptions.download, "bad", "download"), few=2),
    "flipped bits": Attack(500, one_by_one(flip, "flip", "comparison"), few=2),
    "hostile names": Attack(60, one_by_one(names, "names", "outputs"), few=1),
    "broken data files": Attack(4000, partial(fuzz, name="broken data files"), batch=BATCH, few=20),
    "odd configurations": Attack(
        4000, partial(fuzz, name="odd configurations"), batch=BATCH, few=20
    ),
    "odd command lines": Attack(2000, partial(fuzz, name="odd command lines"), batch=BATCH, few=20),
}
