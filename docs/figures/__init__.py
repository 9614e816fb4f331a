"""The charts of the site: each module draws some from committed records, without a network.

`make docs` draws what is missing or older than the scripts, the records or the losses.
"""

from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def all_charts() -> dict[str, Callable[[Path], None]]:
    """Name of every chart, and what draws it to a path."""
    from figures import audits, budgets, curves, diagrams, hidden, parts, speed, theory

    rooms = (audits, budgets, curves, diagrams, hidden, parts, speed, theory)
    return {name: draw for room in rooms for name, draw in room.CHARTS.items()}


def newest() -> float:
    """When anything that charts are made of was last changed."""
    results = ROOT / "research" / "results"
    watched = [(HERE, "*.py"), (results, "**/*.json"), (results, "*.parquet")]
    watched.append((ROOT / "src" / "sparring" / "losses", "*.py"))
    return max(path.stat().st_mtime for where, form in watched for path in where.glob(form))


def draw_all(folder: Path) -> None:
    """Draw every chart into a folder, unless it is up to date."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = newest()
    for name, draw in all_charts().items():
        path = folder / f"{name}.svg"
        if not path.exists() or path.stat().st_mtime < changed:
            draw(path)
