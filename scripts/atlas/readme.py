"""The counts in the README of the atlas."""

from collections import Counter
from collections.abc import Mapping

from atlas.atlas import RELATIONS, Triple

START, END = "<!-- counts: written by scripts/build_atlas.py -->\n", "<!-- end of counts -->\n"


def with_counts(text: str, parts: Mapping[str, list[Triple]], labels: Mapping[str, str]) -> str:
    """The text with fresh tables between the two marks."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return (
        before + START + "\n".join([*_relations(parts, labels), "", *_types(labels)]) + END + after
    )


def _relations(parts: Mapping[str, list[Triple]], labels: Mapping[str, str]) -> list[str]:
    """One row per relation, with the train fact between the best known entities."""
    count = {name: Counter(r for _, r, _ in facts) for name, facts in parts.items()}
    degree = Counter(end for head, _, tail in parts["train"] for end in (head, tail))
    sizes = " | ".join(f"{len(facts):,}" for facts in parts.values())
    rows = ["| relation | example | train | valid | test |", "|---|---|---:|---:|---:|"]
    for relation in sorted(count["train"]):
        facts = [fact for fact in parts["train"] if fact[1] == relation]
        head, _, tail = max(facts, key=lambda fact: (degree[fact[0]] + degree[fact[2]], fact))
        example = f"{labels[head]} {RELATIONS[relation]} {labels[tail]}"
        shares = " | ".join(f"{count[name][relation]:,}" for name in parts)
        rows.append(f"| `{relation}` | {example} | {shares} |")
    return [*rows, f"| all {len(count['train'])} relations | | {sizes} |"]


def _types(labels: Mapping[str, str]) -> list[str]:
    kinds = Counter(entity.split(":")[0] for entity in labels)
    rows = [f"| `{kind}` | {number:,} |" for kind, number in kinds.most_common()]
    total = f"| all {len(kinds)} types | {len(labels):,} |\n"
    return ["| type | entities |", "|---|---:|", *rows, total]
