"""A small graph of rings, for tests that train on it: facts that a model can learn in seconds."""

import random

SIZE = 24
STEPS = {"next": 1, "second": 2, "third": 3, "fifth": 5}
ODD = ["<script>alert('x')</script>", "[bold]name[/bold]", " \tblank & co", "NULL"]


def names(size=SIZE):
    """Names of entities; the first ones are hostile."""
    return [*ODD, *(f"e{i:03}" for i in range(size - len(ODD)))]


def facts(size=SIZE):
    """Triples in random order."""
    entity = names(size)
    rows = [
        (entity[i], relation, entity[(i + step) % size])
        for relation, step in STEPS.items()
        for i in range(size)
    ]
    random.Random(0).shuffle(rows)
    return rows
