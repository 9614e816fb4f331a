"""What benchmarks are asked, and where they write what they found."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "research" / "results" / "benchmarks"


def words(doc: str | None) -> argparse.ArgumentParser:
    """Words of a command that asks for the FOLDER of a graph."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    return parser


def load() -> float:
    """How many processes have wanted the machine in the last five minutes."""
    return round(os.getloadavg()[1], 1)


def write(name: str, record: dict[str, Any], table: str) -> None:
    """The record NAME.json, and the same for readers, NAME.md."""
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(table)
