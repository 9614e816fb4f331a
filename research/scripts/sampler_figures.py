"""The committed results about samplers as Markdown: cost and audits."""

import json
import re
from functools import cache
from pathlib import Path

import sparring.generators  # noqa: F401  (registers its parts)
from sparring.registry import Registry
from sparring.samplers import SAMPLERS

RESULTS = Path(__file__).parents[1] / "results"
CASE = re.compile(r"(.+), N = ([\d,]+), K = (\d+): (time|memory)")
PLAIN = "uniform draw"
DATASETS = ("fb15k-237", "wn18rr")


@cache
def costs(own: bool = True) -> dict[tuple[str, str, int, str, str], dict]:
    """Measurements by name, N, K, "time" or "memory", and peer: a uniform draw, or others."""
    path = RESULTS / "benchmarks" / "samplers.json"
    rows = json.loads(path.read_text())["measurements"] if path.exists() else []
    found = {}
    for row in rows:
        case, peer = CASE.fullmatch(row["name"]), row["peer_name"]
        if case and (peer == PLAIN) == own:
            found[case[1], case[2], int(case[3]), case[4], peer] = row
    return found


def peers() -> str:
    """How many times as long other libraries' counterparts take, by N and K."""
    found = costs(own=False)
    widths = sorted({key[2] for key in found})
    header = ["N", "ours", "theirs", *(f"K = {k}" for k in widths)]
    rows = [header]
    for what, size, peer in dict.fromkeys((key[0], key[1], key[4]) for key in found):
        times = [found.get((what, size, k, "time", peer)) for k in widths]
        rows.append([size, what, peer, *("" if x is None else f"{x['ratio']:.1f}" for x in times)])
    return markdown(rows)


@cache
def audits(dataset: str) -> dict[str, dict]:
    """Statistics of the negatives of each sampler, by row of the study."""
    path = RESULTS / "audit" / f"{dataset}.json"
    return json.loads(path.read_text())["samplers"] if path.exists() else {}


def cost() -> str:
    """Time as a multiple of a uniform draw's, and memory, by N and K."""
    own = costs()
    kinds, sizes, widths = (sorted({key[i] for key in own}, key=len_then(i)) for i in (0, 1, 2))
    rows = [["time, in uniform draws (and MiB)", *(f"K = {k}" for k in widths)]]
    for kind in kinds:
        for size in sizes:
            cells = [_cell(own, kind, size, k) for k in widths]
            if any(cells):
                rows.append([f"{kind}, N = {size}", *cells])
    return markdown(rows)


def len_then(place: int):
    """Order of names as they are, of sizes and widths by value."""
    return (lambda x: x) if place != 1 else (lambda x: int(x.replace(",", "")))


def _cell(own: dict, kind: str, size: str, k: int) -> str:
    time, memory = (own.get((kind, size, k, what, PLAIN)) for what in ("time", "memory"))
    if not time or not memory:
        return ""
    return f"{time['ours'] / time['peer']:.1f} ({memory['ours']:.1f})"


HEADER = ["", "data set", "known facts", "withheld facts", "percentile", "above the answer"]


def _audited(row: str, dataset: str, stats: dict) -> list[str]:
    known, withheld = stats["known_counted"], stats["withheld_counted"]
    shares = ["" if x is None else f"{x:.3%}" for x in (known, withheld)]
    return [row, dataset, *shares, f"{stats['percentile']:.3f}", f"{stats['above']:.1%}"]


def current_name(name: str, registry: Registry = SAMPLERS) -> str:
    """Today's name of a part in a record."""
    return registry.aliases[name][0] if name in registry.aliases else name


def overview() -> str:
    """All audits, by data set and hardness."""
    rows = []
    for dataset in DATASETS:
        found = sorted(audits(dataset).items(), key=lambda item: item[1]["percentile"])
        rows += [_audited(row, dataset, stats) for row, stats in found]
    return markdown([HEADER, *rows])


def figures(name: str) -> str:
    """All audits, all costs, or those of other libraries' samplers."""
    return {"all": overview, "costs": cost, "peers": peers}[name]()


def markdown(rows: list[list[str]]) -> str:
    """A table, of which the first row is the header."""
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
