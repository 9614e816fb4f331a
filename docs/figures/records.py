"""The committed records that charts are drawn from."""

import json
from functools import cache
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "research" / "results"


@cache
def record(path: str) -> dict:
    """A JSON file below research/results."""
    return json.loads((RESULTS / path).read_text(encoding="utf-8"))


def study(name: str, model: str) -> dict[str, dict[int, dict]]:
    """Test runs of a study by method and K."""
    found: dict[str, dict[int, dict]] = {}
    for run in record(f"curve/{name}-{model}.json")["runs"]:
        if run["split"] == "test":
            found.setdefault(run["method"], {})[run["k"]] = run
    return found
