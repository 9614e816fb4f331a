"""Negatives drawn for a few queries, variant by variant."""

from collections.abc import Mapping, Sequence
from typing import Any

from sparring.experiments.report.formats import MINUS, count
from sparring.experiments.report.records import Variant

QUERY = ("anchor", "relation", "answer", "asked")
SAYINGS = {
    "withheld": "in truth a fact, withheld from training",
    "known": "a training fact",
    "answer": "the answer itself",
    "": "nothing known",
}


def examples(variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """One entry per query, with what each variant offered for it."""
    drawn: dict[tuple, list[dict[str, Any]]] = {}
    for variant in variants:
        for query in variant.negatives:
            key = tuple(query[name] for name in QUERY)
            drawn.setdefault(key, []).append(_draw(variant, query))
    return [{**dict(zip(QUERY, key)), "draws": draws} for key, draws in drawn.items()]


def _draw(variant: Variant, query: Mapping[str, Any]) -> dict[str, Any]:
    told = [f"{count(query['drawn'])} drawn"]
    told += [f"{count(query[name])} {name}" for name in ("withheld", "known") if query[name]]
    return {"variant": variant, "told": ", ".join(told), "chips": _chips(query["candidates"])}


def _chips(candidates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Candidates in their order, repeats as one."""
    times: dict[tuple, int] = {}
    for one in candidates:
        key = (one["entity"], one["mark"], one["counts"], one["score"])
        times[key] = times.get(key, 0) + 1
    return [
        {
            "label": label,
            "kind": f"{mark}{'' if counts else ' hidden'}".strip(),
            "times": repeats,
            "said": f"{SAYINGS[mark]}{'' if counts else ', not counted'}; "
            f"score {score:.2f}".replace("-", MINUS),
        }
        for (label, mark, counts, score), repeats in times.items()
    ]
