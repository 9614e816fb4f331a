"""Which facts are withheld for validation and test."""

import hashlib
from collections import Counter, defaultdict

from atlas.atlas import Triple

SEED = 7
SHARE = 0.05  # of each relation, for validation and for test
SMALL = 60  # relations with fewer facts stay in train
KEPT = 2  # train facts that every entity of a withheld fact keeps


def split(facts: list[Triple]) -> dict[str, list[Triple]]:
    """Withholds pairs of entities, never single facts.

    All facts that join the same two entities, in either direction and by any relation, go into
    the same part; so no withheld pair is linked in train.
    """
    pairs = defaultdict(list)
    for fact in facts:
        pairs[min(fact[0], fact[2]), max(fact[0], fact[2])].append(fact)
    total = Counter(relation for _, relation, _ in facts)
    degree = Counter(end for head, _, tail in facts for end in (head, tail))
    filled = {"valid": Counter(), "test": Counter()}
    parts = {"train": [], "valid": [], "test": []}
    for pair in sorted(pairs, key=_lot):
        part = _part(pairs[pair], total, degree, filled)
        parts[part].extend(pairs[pair])
        if part != "train":
            degree.subtract(end for head, _, tail in pairs[pair] for end in (head, tail))
            filled[part].update(relation for _, relation, _ in pairs[pair])
    return {name: sorted(part) for name, part in parts.items()}


def _part(joined: list[Triple], total: Counter, degree: Counter, filled: dict) -> str:
    cost = Counter(end for head, _, tail in joined for end in (head, tail))
    if any(degree[end] - count < KEPT for end, count in cost.items()):
        return "train"
    relations = Counter(relation for _, relation, _ in joined)
    for part, count in filled.items():
        if all(
            total[r] >= SMALL and count[r] + more <= round(total[r] * SHARE)
            for r, more in relations.items()
        ):
            return part
    return "train"


def _lot(pair: tuple[str, str]) -> bytes:
    """A draw that depends on the seed and the names alone, not on order or Python's version."""
    return hashlib.blake2b(f"{SEED}\t{pair[0]}\t{pair[1]}".encode()).digest()
