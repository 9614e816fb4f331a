"""Tables of metrics by group of queries."""

from sparring.evaluation.breakdown import Breakdown, Row
from sparring.experiments.console import line, table

GROUPS = ("overall", "side", "cardinality", "degree", "reverse triple")
NAMED = ("degree", "reverse triple")  # whose names say little alone


def show(parts: Breakdown, title: str, relations: int = 0) -> None:
    """Print all groups but relations, then the relations with the most queries."""
    often = sorted(
        (row for row in parts.rows if row.group == "relation"), key=lambda row: -row.queries
    )
    rows = [row for row in parts.rows if row.group in GROUPS] + often[:relations]
    columns = ("", "queries", "MRR", f"{parts.level:.0%} interval", "H@1", "H@3", "H@10", "MR")
    table(title, columns, map(cells, rows))
    if 0 < relations < len(often):
        line(f"and {len(often) - relations} relations with fewer queries; see --relations")


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    name = f"{row.group} {row.name}" if row.group in NAMED else row.name
    interval = "" if row.mrr_low is None else f"{row.mrr_low:.3f}-{row.mrr_high:.3f}"
    shares = (f"{share:.3f}" for share in (row.hits1, row.hits3, row.hits10))
    return (name, f"{row.queries:,}", f"{row.mrr:.4f}", interval, *shares, f"{row.mr:,.1f}")
