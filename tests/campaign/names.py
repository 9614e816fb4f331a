"""Hostile names of entities, relations and types go through every output, and do no harm there.

No control character reaches a terminal or a cell of CSV raw, no cell is a formula, no name becomes
markup of a report or notebook, JSON gives names back as they are, exported tables keep their rows.
"""

import csv
import io
import json
import random
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from campaign.fuzz import captured, fault_of
from campaign.world import World

from sparring.printing import CONTROL

HOSTILE = (
    *("\x1b[2J\x1b[31mred", "a\x9b31m", "bell\x07", "back\b\bspace", "nul\0nul", "a\rb", "a\nb"),
    *("a\tb", "\u202edesrever", "\u2066isolated\u2069", "\u200f\u061c", "\u2028line", "\x7f"),
    *("<script>alert(1)</script>", "</script><script>alert(1)</script>", "<!--", "-->", "]]>"),
    *('"><img src=x onerror=alert(1)>', "<svg/onload=alert(1)>", "&lt;b&gt;", "{{7*7}}", "{% x %}"),
    *("=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "=1", '=HYPERLINK("http://x")'),
    *(
        "[bold]markup[/bold]",
        "[/]",
        "[link=http://x]y[/link]",
        "`code`",
        "$(touch x)",
        "; rm -rf x",
    ),
    *("../../etc/passwd", "C:\\con", "n" * 20_000, "e\u0301" * 500, "\U0001f600", "مرحبا", "عربي"),
    *("%s%n", "${jndi:x}", "'; DROP TABLE x; --", "nan", "None", "true", "1e999", " ", "?", "#"),
    *("javascript:alert(1)", "\ufeffbom", "\ufffe", "a,b", 'a"b', "a;b", "\x85next", "\x1c\x1d"),
)
HARMLESS = tuple(f"name {i:02}" for i in range(len(HOSTILE)))


def names(world: World, rng: random.Random, name: str) -> str:
    """Give a graph hostile names, train on it, and show it in all ways."""
    folder = world.fresh("hostile")
    asked = {"folder": str(folder), "seed": rng.randrange(2**30)}
    done = world.do("campaign.names:outputs", json.dumps(asked), timeout=300)
    return done.fault() or "; ".join(done.value)[:500]


def outputs(folder: str, seed: int) -> list[str]:
    """What is wrong with the outputs of a graph with hostile names, but not with harmless ones."""
    counts, found = [], []
    for kind, pool in (("hostile", HOSTILE), ("harmless", HARMLESS)):
        rng = random.Random(seed)
        place = Path(folder, kind)
        place.mkdir(parents=True)
        rows = write(place / "graph", pool, rng)
        faults, tags = shown(place, rows, rng)
        counts.append(tags)
        found += [f"{kind}: {fault}" for fault in faults]
    if counts[0] != counts[1]:
        more = (counts[0] - counts[1]) + (counts[1] - counts[0])
        found.append(f"names change the markup: {dict(more.most_common(5))}")
    return found


def write(folder: Path, pool: tuple[str, ...], rng: random.Random) -> list[tuple[str, str, str]]:
    """Write splits as JSON lines, which can hold any text; half of the names are of the pool."""
    folder.mkdir()
    chosen = rng.sample(range(len(pool)), 12)
    entities = [pool[i] for i in chosen[:10]] + [f"e{i}" for i in range(10)]
    relations = [pool[i] for i in chosen[10:]] + ["r"]
    rows = [
        (entities[i], relations[j], entities[(i * (j + 1) + step) % 20])
        for i in range(20)
        for j in range(3)
        for step in (1, 4)
    ]
    random.Random(0).shuffle(rows)
    splits = {"valid": rows[:12], "test": rows[12:24], "train": rows[24:]}
    for split, part in splits.items():
        keys = ("head", "relation", "tail")
        lines = [json.dumps(dict(zip(keys, row))) for row in part]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return rows


def shown(
    place: Path, rows: list[tuple[str, str, str]], rng: random.Random
) -> tuple[list[str], Counter[str]]:
    """Faults of all outputs, and how often each tag is in the pages."""
    import sparring

    head, relation, tail = rng.choice(rows)
    run, graph = str(place / "runs" / "uniform" / "seed-0"), str(place / "graph")
    config, triples = place / "experiment.toml", place / "triples.jsonl"
    config.write_text(CONFIG.format(graph=json.dumps(graph)))
    triples.write_text(json.dumps({"head": head, "relation": relation, "tail": tail}) + "\n")
    asked = ["--head", head, "--relation", relation]
    commands = [
        ["data", "check", graph],
        ["data", "describe", graph],
        ["data", "describe", graph, "--json"],
        ["compare", str(config), "--folder", str(place / "runs"), "-q"],
        ["evaluate", run],
        ["evaluate", run, "--json"],
        ["audit", run],
        ["audit", run, "--json"],
        ["predict", run, *asked],
        ["calibrate", run],
        ["predict", run, *asked, "--format", "csv", "--keep-known"],
        ["predict", run, *asked, "--format", "json", "--keep-known"],
        ["score", run, str(triples), "--probability"],
        ["explain", run, *asked, "--tail", tail],
        ["explain", run, *asked, "--tail", tail, "--json"],
        ["predict", run, "--head", head + "x", "--relation", relation],
        ["export", run, "--to", "dgl-ke", "--folder", str(place / "export")],
        ["init", graph, str(place / "init.toml")],
    ]
    faults, tags = [], Counter[str]()
    for words in commands:
        code, said = captured(words)
        fault = fault_of(code, said, words) or raw(said)
        if words[-1] == "--json" and not code:
            fault = fault or valid_json(said)
        if code and len(said.strip().splitlines()) > 1 and "Usage" not in said:
            fault = fault or f"more than a line: {said[:100]!r}"
        if "csv" in words and not code:
            fault = fault or formulas(said)
        if "json" in words and not code:
            fault = fault or changed_names(said, rows)
        if fault:
            faults.append(f"{words[0]} {words[-1][:20]}: {fault}")
    if (place / "export" / "entities.tsv").exists():
        entities = {entity for row in rows for entity in (row[0], row[2])}
        lines = (place / "export" / "entities.tsv").read_text(encoding="utf-8").split("\n")
        if len(lines) != len(entities) + 1:
            faults.append("export: names break rows")
    if not (place / "runs" / "report.html").exists():
        return [*faults, "no report"], tags
    predictor = sparring.load(run)
    pages = [
        (place / "runs" / "report.html").read_text(encoding="utf-8"),
        predictor.predict(head=head, relation=relation)._repr_html_(),
        predictor.explain((head, relation, tail))._repr_html_(),
        predictor.negatives([(head, relation, tail)])._repr_html_(),
        predictor._repr_html_(),
    ]
    for page in pages:
        tags += markup(page)
    return faults, tags


CONFIG = """
seed = 1
threads = 1
graph = {{ path = {graph} }}
model = {{ name = "distmult", dim = 4 }}
sampler = {{ name = "uniform", k = 4 }}
loss = {{ name = "nssa", margin = 0.0 }}
train = {{ epochs = 2, batch_size = 32, validate_every = 1 }}
evaluate = {{ bootstrap = 2 }}
[compare]
seeds = [0]
[compare.variants.uniform]
"""


def raw(said: str) -> str:
    """Control characters that would reach a terminal."""
    found = {character for character in CONTROL.findall(said) if character not in "\n\t"}
    return f"raw {sorted(found)}" if found else ""


def formulas(said: str) -> str:
    """Cells that a spreadsheet would run."""
    body = said[said.index('"query"') :]
    cells = [cell for row in csv.reader(io.StringIO(body)) for cell in row]
    found = [cell for cell in cells if cell[:1] in ("=", "+", "-", "@") and not number(cell)]
    return f"formula {found[0][:30]!r}" if found else ""


def number(cell: str) -> bool:
    """Whether a cell is a plain number."""
    try:
        return bool(float(cell)) or True
    except ValueError:
        return False


def changed_names(said: str, rows: list[tuple[str, str, str]]) -> str:
    """Names that JSON gives back otherwise than they were."""
    known = {entity for row in rows for entity in (row[0], row[2])}
    found = {answer["name"] for answer in json.loads(said[said.index("[") :])} - known
    return f"another name {sorted(found)[0][:30]!r}" if found else ""


def valid_json(said: str) -> str:
    """Whether JSON follows, possibly after a note."""
    try:
        json.loads(said[said.index("{") :])
    except ValueError as error:
        return f"no JSON: {error}"
    return ""


def markup(page: str) -> Counter[str]:
    """How often each tag, and each attribute that runs code, is in a page."""
    tags = Counter[str]()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags[tag] += 1
            tags.update(f"{tag} {name}" for name, _ in attrs if name.startswith("on"))

    Parser().feed(page)
    return tags
