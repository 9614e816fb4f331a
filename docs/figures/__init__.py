"""The charts of the site: each module draws some from committed records, without a network.

`python docs/figures FOLDER` draws all of them, which `make docs` does by itself.
"""

from collections.abc import Callable
from pathlib import Path


def all_charts() -> dict[str, Callable[[Path], None]]:
    """Name of every chart, and what draws it to a path."""
    return {}


def draw_all(folder: Path) -> None:
    """Draw every chart into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in all_charts().items():
        draw(folder / f"{name}.svg")
