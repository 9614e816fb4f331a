"""Fill the tables of README, docs and research/tables from the committed results.

    python research/scripts/tables.py            rewrite what stands between the markers
    python research/scripts/tables.py --check    fail if that would change anything

The kind of a table is in its marker, which ends with `<!-- end of KIND -->`:

- `<!-- table: research/results/<study> -->`: one row per record;
- `<!-- figures: all -->`, `costs` or `peers`: audits of samplers, their cost, that of others';
- `<!-- conformance: <library> -->`: violations by the samplers of a library;
- `<!-- curve: <study> -->`: a study of `research/scripts/curve.py`, by K;
- `<!-- methods: <K> <study> ... -->`: models by methods at one K;
- `<!-- trials: <study> ... -->`: all trials;
- `<!-- auto: <file> -->`: a record of `research/scripts/auto.py`, and of `pykeen_pipeline.py`;
- `<!-- budgets: <file> -->`: a record of `research/scripts/equal_budgets.py`, by graph and model;
- `<!-- variants: <file> -->`: methods of that record that differ from the generator in one thing;
- `<!-- reverse: <file> -->`: WN18RR with and without queries that a reverse triple gives away;
- `<!-- hidden: <graph> -->`: a record of `research/scripts/withheld.py`;
- `<!-- example: <library> -->`: the example of a library and what it printed.
"""

import json
import re
import sys
from pathlib import Path

import polars as pl
from sampler_figures import current_name, figures, markdown

from sparring.losses import LOSSES
from sparring.samplers import SAMPLERS

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"(<!-- (\w+): (.+?) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)
FORMER_CLASSES = {"UniformUnknown": "UniformFiltered", "SparringGenerator": "NSGenerator"}
COLUMNS = {
    "data set": lambda r: r["dataset"],
    "model": lambda r: r["model"],
    "dim": lambda r: r["dim"],
    "sampler": lambda r: current_name(r["sampler"], SAMPLERS),
    "K": lambda r: r["k"],
    "scores a query": lambda r: r["scored_per_query"],
    "loss": lambda r: current_name(r["loss"], LOSSES),
    "MRR": lambda r: f"{r['mrr']:.4f}",
    "Hits@1": lambda r: f"{r['hits@1']:.4f}",
    "Hits@3": lambda r: f"{r['hits@3']:.4f}",
    "Hits@10": lambda r: f"{r['hits@10']:.4f}",
    "epochs": lambda r: r["epochs"],
    "CPU s": lambda r: f"{r['cpu_seconds']:,.0f}",
    "config": lambda r: f"`{r['config']}`",
}


def table(folder: str) -> str:
    """One Markdown row per result file, in order of file names."""
    results = [json.loads(path.read_text()) for path in sorted((ROOT / folder).glob("*.json"))]
    rows = [[str(cell(result)) for cell in COLUMNS.values()] for result in results]
    return markdown([list(COLUMNS), *rows])


def conformance(host: str) -> str:
    """One row for each sampler of a library that the kit checked, with its violations."""
    path = ROOT / "research" / "results" / "conformance" / f"{host}.json"
    found = json.loads(path.read_text())
    rows = [["sampler", "errors", "warnings"]]
    for one in found.get("samplers") or found["judged"]:
        name = f"`{today(one['sampler'].rpartition(':')[2])}`"
        options = ", ".join(f"{key}={value}" for key, value in one["options"].items())
        messages = {"error": [], "warning": []}
        for violation in one["violations"]:
            messages[violation["severity"]].append(f"{violation['check']}: {violation['message']}")
        cells = ["<br>".join(words) or "none" for words in messages.values()]
        rows.append([f"{name}<br>{options}" if options else name, *cells])
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return f"{markdown(rows)}\nBy `{found['command']}` at {found['commit']}: {versions}.\n"


def today(name: str) -> str:
    """The name that a sampler of a record has now."""
    for old, new in FORMER_CLASSES.items():
        name = name.replace(old, new)
    return current_name(name, SAMPLERS)


def studied(study: str) -> list[dict]:
    """The records of a study, one for each model."""
    paths = sorted((ROOT / "research" / "results" / "curve").glob(f"{study}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


def curve(study: str) -> str:
    """Test MRR by model, method and K, and the training time at the greatest K and the least."""
    found = studied(study)
    ks = sorted({run["k"] for one in found for run in one["runs"] if run["split"] == "test"})
    rows = [["model", "method", *(f"K = {k}" for k in ks), "CPU s", "chosen"]]
    for one in found:
        tested = [run for run in one["runs"] if run["split"] == "test"]
        for method in dict.fromkeys(run["method"] for run in tested):
            by_k = {run["k"]: run for run in tested if run["method"] == method}
            seconds = sorted(run["cpu_seconds"] for run in by_k.values())
            rows.append(
                [
                    one["model"],
                    method,
                    *(f"{by_k[k]['mrr']:.4f}" if k in by_k else "" for k in ks),
                    f"{seconds[0]:,.0f} to {seconds[-1]:,.0f}",
                    chosen(by_k),
                ]
            )
    return markdown(rows)


def settings(run: dict) -> str:
    """The changes of a trial."""
    return ", ".join(f"`{name} = {value}`" for name, value in run["changed"].items())


def trials(studies: str) -> str:
    """Validation MRR and training time of every trial of studies."""
    runs = [
        (one, run) for study in studies.split() for one in studied(study) for run in one["runs"]
    ]
    rows = [
        [
            run["dataset"],
            one["model"],
            run["method"],
            str(run["k"]),
            settings(run),
            f"{run['valid_mrr']:.4f}",
            f"{run['cpu_seconds']:,.0f}",
        ]
        for one, run in runs
        if run["split"] == "valid"
    ]
    return markdown(
        [["data set", "model", "method", "K", "settings", "validation MRR", "CPU s"], *rows]
    )


def chosen(by_k: dict[int, dict]) -> str:
    """The settings of runs by K, and from which K on there are others."""
    parts = []
    for k in sorted(by_k):
        changed = settings(by_k[k])
        if not parts or parts[-1][1] != changed:
            parts.append((k, changed))
    (_, first), *later = parts
    return "; ".join([first, *(f"from K = {k}: {changed}" for k, changed in later)])


def methods(k_and_studies: str) -> str:
    """Test MRR at one K with its interval, in one column for each method."""
    k, *studies = k_and_studies.split()
    found = {}
    for one in [one for study in studies for one in studied(study)]:
        runs = [run for run in one["runs"] if run["split"] == "test" and run["k"] == int(k)]
        for run in runs:
            cell = f"{run['mrr']:.4f} ({run['mrr_low']:.3f} to {run['mrr_high']:.3f})"
            found.setdefault((run["dataset"], one["model"]), {})[run["method"]] = cell
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = [[*key, *(row.get(name, "") for name in names)] for key, row in found.items()]
    return markdown([["data set", "model", *names], *rows])


def example(host: str) -> str:
    """The example of a library, as its file stands, and what it printed, where that is recorded."""
    (path,) = (ROOT / "examples").glob(f"{host}_*.py")
    code = f"```python\n# examples/{path.name}\n{path.read_text()}```\n\n"
    record = ROOT / "research" / "results" / "hosts" / f"{host}.json"
    if not record.exists():
        return (
            f"{code}Not recorded yet: `python research/scripts/host_examples.py {host}` runs it.\n"
        )
    found = json.loads(record.read_text())
    printed = "\n".join(found["printed"])
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return (
        f"{code}```\n{printed}\n```\n\n"
        f"{found['cpu_seconds']} CPU seconds in all, at {found['commit']}: {versions}.\n"
    )


def auto(record: str) -> str:
    """`fit` by itself, tuning in ten times the time, and PyKEEN's pipeline, by graph."""
    folder = ROOT / "research" / "results"
    found = {(r["graph"], r["run"]): r for r in json.loads((folder / record).read_text())["runs"]}
    peers = folder / "pykeen-pipeline.json"
    rows_of_peers = json.loads(peers.read_text())["runs"] if peers.exists() else []
    rivals = {(row["graph"], row["model"]): row for row in rows_of_peers}
    title = ("graph", "facts", "CPU s", "auto, valid", "tune, valid", "auto, test", "tune, test")
    models = list(dict.fromkeys(model for _, model in rivals))
    rows = [[*title, *(f"PyKEEN {model}, test" for model in models)]]
    for graph in dict.fromkeys(graph for graph, _ in found):
        own, tuned = found.get((graph, "auto")), found.get((graph, "tune"))
        if own is None:
            continue
        cells = [graph, f"{own['train']:,}", str(own["budget_seconds"])]
        for metric in ("valid_mrr", "mrr"):
            cells += [f"{row[metric]:.4f}" if row else "" for row in (own, tuned)]
        others = (rivals.get((graph, model)) for model in models)
        rows.append([*cells, *(f"{row['mrr']:.4f}" if row else "" for row in others)])
    return markdown(rows)


# methods of research/scripts/equal_budgets.py that were tried on many graphs; others vary one thing
MAIN = (
    "generator",
    "generator, grouped",
    "uniform",
    "shared uniform",
    "1vsAll",
    "self-adversarial",
    "nscaching",
)


def budgets(record: str) -> str:
    """Mean test MRR over seeds of each method at equal processor time, by graph and model."""
    runs = pl.read_parquet(ROOT / "research" / "results" / record).filter("best")
    methods = [name for name in MAIN if len(runs.filter(method=name))]
    rows = [["graph", "model", "CPU s", *methods]]
    for (graph, model, seconds), cell in _by(runs, "graph", "model", "seconds"):
        if cells := _means(cell, methods):
            rows.append([graph, model, f"{seconds:.0f}", *cells])
    return markdown(rows)


def variants(record: str) -> str:
    """Mean test MRR over seeds of methods that differ from the generator in one thing."""
    runs = pl.read_parquet(ROOT / "research" / "results" / record).filter("best", model="complex")
    others = runs.filter(~pl.col("method").is_in(MAIN))
    graphs = others["graph"].unique(maintain_order=True).sort().to_list()
    rows = [["method", *graphs]]
    for method in ("generator", "uniform", *others["method"].unique().sort()):
        cells = [runs.filter(method=method, graph=graph)["mrr"] for graph in graphs]
        rows.append([method, *(f"{cell.mean():.4f}" if len(cell) else "" for cell in cells)])
    return markdown(rows)


def reverse(record: str) -> str:
    """Mean test MRR with and without queries that a reverse triple in train gives away."""
    runs = pl.read_parquet(ROOT / "research" / "results" / record)
    runs = runs.filter("best", pl.col("mrr_without_reverse").is_not_null(), graph="wn18rr")
    rows = [["model", "method", "all queries", "without these"]]
    for (model, method), cell in _by(runs, "model", "method"):
        means = (cell[column].mean() for column in ("mrr", "mrr_without_reverse"))
        rows.append([model, method, *(f"{mean:.4f}" for mean in means)])
    return markdown(rows)


def _by(rows: pl.DataFrame, *columns: str) -> list[tuple[tuple, pl.DataFrame]]:
    return sorted(rows.group_by(*columns), key=lambda group: group[0])


def _means(cell: pl.DataFrame, methods: list[str]) -> list[str]:
    """Mean test MRR of each method, the greatest in bold; nothing for fewer than two methods."""
    means = dict(cell.group_by("method").agg(pl.col("mrr").mean()).rows())
    texts = [f"{means[name]:.4f}" if name in means else "" for name in methods]
    best = max(texts)
    bold = [f"**{text}**" if text == best else text for text in texts]
    return bold if len(set(texts) - {""}) > 1 else []


def hidden(graph: str) -> str:
    """Hidden facts among the draws of one graph, and the hardness of these draws."""
    found = json.loads((ROOT / "research" / "results" / "withheld" / f"{graph}.json").read_text())
    rows = [["draws", "mean rank", "above the answer", "hidden facts", "times those of the pool"]]
    named = [(f"hardest 8 of {row['pool']:,}", row) for row in found["hardest-of-pool"]]
    named += [(row["sampler"], row) for row in found["others"]]
    named += [
        (
            f"generator, logits x {row['sharpness']:g}"
            + (f", at most {row['tolerate']:g} probably true" if row["tolerate"] < 1 else ""),
            row,
        )
        for row in found["generator"]
        if row["floor"]
    ]
    for name, row in named:
        less = row.get("withheld_less_at_equal_above")
        cells = [f"{row['mean_rank']:,.0f}", f"{row['above']:.2%}", f"{row['withheld']:.3%}"]
        rows.append([name, *cells, "" if less is None else f"{1 - less:.2f}"])
    return markdown(rows)


MADE = {
    "budgets": budgets,
    "variants": variants,
    "reverse": reverse,
    "hidden": hidden,
    "auto": auto,
    "table": table,
    "curve": curve,
    "methods": methods,
    "trials": trials,
    "example": example,
    "conformance": conformance,
    "figures": figures,
}


def filled(text: str) -> str:
    """The text with every marked table made anew."""
    return MARKED.sub(lambda place: place[1] + MADE[place[2]](place[3]) + place[4], text)


def main(check: bool) -> int:
    stale = 0
    pages = [
        page for folder in ("docs", "research/tables") for page in (ROOT / folder).rglob("*.md")
    ]
    for path in [ROOT / "README.md", *sorted(pages)]:
        before = path.read_text()
        after = filled(before)
        if after != before:
            stale += 1
            print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
            if not check:
                path.write_text(after)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
