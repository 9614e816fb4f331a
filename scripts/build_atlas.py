"""Builds the embedded data set: python scripts/build_atlas.py [FOLDER].

Needs the packages of the extra `data`, at exactly the pinned versions, and no network. The
same versions give the same bytes.
"""

import gzip
import sys
from pathlib import Path

from atlas.atlas import RELATIONS, Atlas
from atlas.languages import add_languages
from atlas.locales import add_locales
from atlas.places import add_places
from atlas.public_holidays import add_holidays
from atlas.readme import with_counts
from atlas.sources import check_versions
from atlas.split import split
from atlas.territories import add_territories
from atlas.zones import add_zones
from babel import Locale

FOLDER = Path(__file__).parents[1] / "src/sparring/datasets/atlas"


def build(folder: Path) -> None:
    """Writes the tables and the counts in the README; earlier sources choose their labels first."""
    check_versions()
    english = Locale("en")
    atlas = Atlas()
    codes = add_territories(atlas, english)
    add_languages(atlas, english)
    add_locales(atlas, english)
    add_zones(atlas, english)
    add_holidays(atlas, codes)
    add_places(atlas, english)

    facts = atlas.core()
    labels = atlas.labels(facts)
    used = {relation for _, relation, _ in facts}
    parts = split(facts)
    for name, part in parts.items():
        write(folder / f"{name}.tsv.gz", part)
    write(folder / "labels.tsv.gz", sorted(labels.items()))
    write(folder / "relation_labels.tsv.gz", sorted((r, RELATIONS[r]) for r in used))
    write(folder / "entity_types.tsv.gz", [(e, e.split(":")[0]) for e in sorted(labels)])
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(with_counts(readme, parts, labels), encoding="utf-8")


def write(path: Path, rows: list[tuple[str, ...]]) -> None:
    """Tab-separated lines, compressed with an empty header, so equal rows give equal bytes."""
    text = "".join("\t".join(row) + "\n" for row in rows)
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.encode())


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
