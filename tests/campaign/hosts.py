"""Training on two hosts, of which one is lost: network namespaces joined by a bridge."""

import json
import random
from collections.abc import Callable

from campaign.world import World
from distributed.hosts import Network, wait_until, why_not

from sparring.experiments.run_folder import Run

LOSE: dict[str, Callable[[Network], None]] = {
    "killed": lambda network: network.kill(1),
    "cut": lambda network: network.cut(1),
}
EPOCHS, CLOSE = 12, 1e-3


def lost(world: World, rng: random.Random, how: str) -> str:
    """Lose a host after some epoch; what the other one makes of it differs from a whole run."""
    if reason := why_not():
        return reason
    whole, folder = world.folder / "two-hosts-whole", world.fresh("two-hosts")
    words = [
        *("fit", str(world.graph), "--sampler", "uniform", "--epochs", str(EPOCHS), "--quiet"),
        *("--set", "distributed.virtual_workers=4", "--set", "distributed.timeout=8"),
        *("--set", "train.validate_every=4", "--set", "model.dim=8", "--folder"),
    ]
    with Network(2) as network:
        start = lambda place: [
            network.torchrun(number, [*words, str(place)], world.folder / f"host{number}.txt")
            for number in range(2)
        ]
        if not whole.exists():
            assert [job.wait(300) for job in start(whole)] == [0, 0]
        jobs, after = start(folder), rng.randrange(1, EPOCHS // 2)
        wait_until(lambda: epochs_done(folder) >= after, jobs)
        LOSE[how](network)
        if jobs[0].wait(300):
            return f"the job ended after a host was lost in epoch {after}"
    found, expected = Run(folder).result(), Run(whole).result()
    wrong = [name for name in ("mrr", "mr") if abs(found[name] / expected[name] - 1) > CLOSE]
    return ", ".join(f"{name} is {found[name]}, not {expected[name]}" for name in wrong)


def epochs_done(folder) -> int:
    """The last epoch in the log of a run."""
    log = folder / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return max((json.loads(line)["epoch"] for line in lines), default=0)
