"""Samplers and losses on one screen: what the registry, docstrings and records say of them."""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import sparring.generators  # noqa: F401  (registers its parts)
from sparring.losses import LOSSES
from sparring.option_types import in_words
from sparring.registry import Registry
from sparring.samplers import SAMPLERS
from sparring.testing import tiny_graph

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "research" / "results"
CHARTS = ROOT / "docs" / "_generated" / "charts"
DATASETS = {"fb15k-237": "FB15k-237", "wn18rr": "WN18RR"}


def arguments(kind: type | Callable, heading: str = "Args") -> dict[str, str]:
    """What a docstring says of each argument, by name; those of base classes too."""
    found: dict[str, str] = {}
    for base in reversed(getattr(kind, "__mro__", (kind,))):
        text = inspect.cleandoc(base.__doc__ or "")
        block = re.search(rf"^{heading}:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
        if base is object or block is None:
            continue
        entries = re.findall(r"^    (\S.*?): ((?:.*\n)(?:     .*\n)*)", block[1], re.MULTILINE)
        for names, words in entries:
            found |= dict.fromkeys(re.split(r",\s*", names), " ".join(words.split()))
    return found


def cell(text: str) -> str:
    """Text that can stand in a table."""
    return text.replace("|", "\\|")


def options_table(maker: Callable) -> str:
    """Options of a part: type, default, meaning."""
    meaning = arguments(maker)
    options = {
        key: option
        for key, option in inspect.signature(maker).parameters.items()
        if key not in ("graph", "params")
        and option.kind not in (option.VAR_POSITIONAL, option.VAR_KEYWORD)
    }
    if not options:
        return "No options."
    rows = ["| option | type | default | |", "|---|---|---|---|"]
    for key, option in options.items():
        if is_dataclass(option.default):
            rows += group_rows(key, type(option.default))
            continue
        default = "" if option.default is option.empty else f"`{option.default!r}`"
        kind = cell(f"`{in_words(option.annotation)}`")
        rows.append(f"| `{key}` | {kind} | {default} | {cell(meaning.get(key, ''))} |")
    return "\n".join(rows)


def group_rows(key: str, group: type) -> list[str]:
    """Rows of the options that a table inside the table of a part holds."""
    meaning = arguments(group, "Attributes") | arguments(group)
    return [
        f"| `{key}.{entry.name}` | {cell(f'`{in_words(entry.type)}`')} | `{entry.default!r}` "
        f"| {cell(meaning.get(entry.name, ''))} |"
        for entry in fields(group)
    ]


@cache
def audits(dataset: str) -> dict[str, dict]:
    """Records of the audit of samplers, by row of the study."""
    return json.loads((RESULTS / "audit" / f"{dataset}.json").read_text())["samplers"]


@cache
def timings() -> list[dict]:
    """Measurements of the time of a batch."""
    rows = json.loads((RESULTS / "benchmarks" / "samplers.json").read_text())["measurements"]
    return [row for row in rows if row["peer_name"] == "uniform draw"]


def current(name: str, registry: Registry) -> str:
    """Today's name of a part in a record."""
    return registry.aliases[name][0] if name in registry.aliases else name


def cost(name: str) -> str:
    """Time of a batch as a multiple of that of a uniform draw, at K = 64 and N = 100,000."""
    found = {}
    for row in timings():
        case = re.fullmatch(r"(.+), N = 100,000, K = 64: time", row["name"])
        if case and current(case[1], SAMPLERS) == name:
            found[case[1]] = row["ours"] / row["peer"]
    return ", ".join(f"{times:.3g} times a uniform draw" for times in found.values())


def audited(name: str) -> list[tuple[str, str]]:
    """Hardness and false negatives on two data sets."""
    rows = []
    for dataset, called in DATASETS.items():
        for row, stats in audits(dataset).items():
            if current(stats["sampler"]["name"], SAMPLERS) == name:
                exact = f" ({row.partition(', ')[2] or row})" if row != name else ""
                rows.append((f"{called}{exact}", hardness(stats)))
    return rows


def hardness(stats: dict) -> str:
    """The figures of one audit in a line."""
    shares = {"training facts": stats["known_counted"], "held-out facts": stats["withheld_counted"]}
    words = [f"mean percentile of the score {stats['percentile']:.2f}"]
    words += [f"{share:.2%} {what}" for what, share in shares.items() if share is not None]
    return ", ".join(words)


def density(name: str) -> tuple[str, str]:
    """What a sampler knows of its draws, and what it asks of the model."""
    maker = SAMPLERS[name]
    try:
        known = SAMPLERS.example(name, graph=tiny_graph()).capabilities
    except Exception:  # an example that needs more than options: what its class says
        known = maker.capabilities
    where = [
        words
        for words, has in (
            ("at its candidates", known.has_log_q),
            ("at the answer", known.has_answer_log_q),
            ("at any entity", known.has_log_prob),
        )
        if has
    ]
    scores = f"{known.num_extra_scores:g} per query" if known.num_extra_scores else ""
    asks = f"yes, {scores}".rstrip(", ") if known.needs_scores else "no"
    return ", ".join(where) or "not known", asks


class Part(SphinxDirective):
    """`{part} uniform`: class, density, cost, audit, picture and options of a sampler or loss."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A table of facts, a picture and a table of options."""
        name = self.arguments[0]
        registry = SAMPLERS if name in SAMPLERS and "samplers" in self.env.docname else LOSSES
        maker = registry[name]
        home = maker.__module__.rsplit(".", 1)[0]
        rows = [("Class", f"{{py:class}}`~{home}.{maker.__name__}`")]
        if registry is SAMPLERS:
            exact, asks = density(name)
            rows += [("Density known", exact), ("Scores candidates itself", asks)]
            rows += [("Cost of a batch", cost(name))] * bool(cost(name))
            rows += [(f"Draws on {where}", words) for where, words in audited(name)]
        former = [old for old, (new, _) in registry.aliases.items() if new == name]
        rows += [("Former names", ", ".join(f"`{old}`" for old in former))] * bool(former)
        text = ":::{list-table}\n:class: facts\n"
        text += "".join(f"* - {a}\n  - {b}\n" for a, b in rows) + ":::\n"
        chart = CHARTS / f"{registry.kind}-{name}.svg"
        self.env.note_dependency(str(chart))
        if chart.exists():
            text += f"\n\n:::{{chart}} {chart.stem}\n:alt: {alternative(name, registry)}\n:::\n"
        text += f"\n\n**Options**\n\n{options_table(maker)}\n"
        return self.parse_text_to_nodes(text)


def alternative(name: str, registry: Registry) -> str:
    """What the picture of a part shows, in words."""
    if registry is LOSSES:
        return f"The loss {name} as a function of the score of one negative, the answer's being 0"
    return (
        f"Left: entities of the atlas on a map of a trained embedding, and those that {name} "
        f"draws for one query. Right: how its draws spread over the ranks of the model's scores"
    )


def setup(app: Sphinx) -> dict:
    """Register the directive."""
    app.add_directive("part", Part)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
