"""Imports flow one way: a room may use only the rooms listed with it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "sparring"
FOUNDATION = {"batch", "compiled", "graph"}
PLAYERS = FOUNDATION | {"generators", "losses", "models", "samplers"}
MAY_USE = {
    "batch": {"compiled"},
    "compiled": set(),
    "seeds": set(),
    "graph": {"batch", "compiled"},
    "datasets": {"graph"},
    "models": FOUNDATION,
    "samplers": FOUNDATION,
    "losses": {"batch", "compiled"},
    "optimizers": {"compiled"},
    "generators": FOUNDATION | {"models", "optimizers", "samplers"},
    "evaluation": FOUNDATION | {"models"},
    "breakdown": FOUNDATION | {"evaluation"},
    "tally": FOUNDATION | {"breakdown"},
    "audit": PLAYERS | {"evaluation", "tally"},
    "guided": FOUNDATION | {"models"},
    "predict": PLAYERS | {"evaluation", "guided"},
    "training": PLAYERS | {"evaluation", "optimizers", "seeds"},
    "testing": PLAYERS,
    "hosts": PLAYERS | {"testing"},
    "experiments": PLAYERS
    | {"audit", "breakdown", "datasets", "evaluation", "guided", "hosts", "predict", "seeds"}
    | {"tally", "testing", "training"},
}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Rooms that a file imports from, with line numbers."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            whole = node.module == "sparring"
            names = [f"sparring.{a.name}" for a in node.names] if whole else [node.module]
        for name in names:
            if name.startswith("sparring."):
                yield name.split(".")[1], node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_uses_only_those_below_it(path):
    allowed = MAY_USE[room(path)] | {room(path)}
    wrong = [
        f"{path.name}:{line} imports {used}" for used, line in imported(path) if used not in allowed
    ]
    assert not wrong


def test_no_room_leads_back_to_itself():
    TopologicalSorter(MAY_USE).prepare()  # raises CycleError


def test_models_samplers_and_losses_meet_in_the_batch_only():
    players = {"models", "samplers", "losses"}
    assert all(not MAY_USE[one] & players for one in players)
