"""Three graphs from the packages of this machine: triples, RDF and a CSV export.

    python research/scripts/package_graphs.py FOLDER

- `packages.tsv`: what the metadata of installed Python packages says (importlib.metadata):
  dependencies, classifiers, keywords, licenses and files by folder;
- `imports.nt`: RDF, which module of these packages imports which, and what it lies in, with labels
  and types;
- `debian.csv`: an export with a header and a semicolon between columns, in an order of its own, of
  the packages that the system has installed (/var/lib/dpkg/status).

The same machine gives the same bytes. Other machines have other packages; the records of studies
hold the hash of each graph.
"""

import csv
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from urllib.parse import quote

Triple = tuple[str, str, str]
DEPENDENCY = re.compile(r"^([A-Za-z0-9][\w.-]*)")
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import\b|import[ \t]+(\w[\w., \t]*)$)", re.MULTILINE
)
BASE = "https://example.org/modules/"
STATUS = Path("/var/lib/dpkg/status")
FIELDS = ("Depends", "Pre-Depends", "Recommends", "Suggests", "Breaks", "Replaces", "Provides")


def installed() -> dict[str, Distribution]:
    """Installed packages by normalized name, in order."""
    found = {normal(one.metadata["Name"]): one for one in distributions()}
    return dict(sorted(found.items()))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata() -> Iterator[Triple]:
    """What the metadata of each package says."""
    for name, package in installed().items():
        for wanted in package.requires or ():
            dependency = normal(DEPENDENCY.match(wanted.strip())[1])
            relation = "suggests" if "extra ==" in wanted else "requires"
            yield name, relation, dependency
        about = package.metadata
        for classifier in about.get_all("Classifier") or ():
            kind, _, value = classifier.partition(" :: ")
            yield name, f"classified by {kind.lower()}", value
        for keyword in re.split(r"[,\s]+", about["Keywords"] or ""):
            if keyword:
                yield name, "has keyword", keyword.lower()
        if license_ := about["License-Expression"]:
            yield name, "has license", license_
        folders = {PurePosixPath(str(file)).parts[0] for file in package.files or ()}
        for folder in folders:
            if re.fullmatch(r"\w+", folder):
                yield name, "installs", folder


def imports() -> Iterator[Triple]:
    """Which module imports which, and in what it lies."""
    for name, package in installed().items():
        for file in package.files or ():
            parts = PurePosixPath(str(file)).with_suffix("").parts
            if not str(file).endswith(".py") or "tests" in parts or not all(map(plain, parts)):
                continue
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, "contains", module
            if "." in module:
                yield module, "lies in", module.rpartition(".")[0]
            for imported in imported_by(Path(str(package.locate_file(file))), module):
                yield module, "imports", imported


def plain(part: str) -> bool:
    return re.fullmatch(r"\w+", part) is not None


def imported_by(path: Path, module: str) -> Iterator[str]:
    """Names of modules that a file imports, by lines that look like it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    for dots, source, names in IMPORT.findall(text):
        if names:
            yield from (name.split()[0] for name in names.split(",") if name.split())
        else:
            lead = module.split(".")[: -len(dots)] if dots else []
            yield ".".join([*lead, source] if source else lead) or module


def system() -> Iterator[Triple]:
    """What the system's packages depend on, and their sections."""
    for text in STATUS.read_text(encoding="utf-8").split("\n\n"):
        about = dict(re.findall(r"^([\w-]+): (.*)$", text, re.MULTILINE))
        if "Package" not in about:
            continue
        name = about["Package"]
        for field in FIELDS:
            for one in re.split(r"[,|]", about.get(field, "")):
                if match := re.match(r"\s*([\w.+-]+)", one):
                    yield name, field.lower(), match[1]
        for field in ("Section", "Priority", "Source", "Architecture", "Maintainer"):
            if value := about.get(field, "").partition(" (")[0]:
                yield name, field.lower(), value


def write_tsv(path: Path, triples: list[Triple]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in triples), encoding="utf-8")


def write_rdf(path: Path, triples: list[Triple]) -> None:
    iri = lambda name: f"<{BASE}{quote(name)}>"
    rows = [f"{iri(h)} {iri(r.replace(' ', '-'))} {iri(t)} .\n" for h, r, t in triples]
    packages = {head for head, relation, _ in triples if relation == "contains"}
    schema = "http://www.w3.org/2000/01/rdf-schema#"
    for name in sorted({name for h, _, t in triples for name in (h, t)}):
        kind = "package" if name in packages else "module"
        rows.append(f'{iri(name)} <{schema}label> "{name}"@en .\n')
        rows.append(
            f"{iri(name)} <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> {iri(kind)} .\n"
        )
    path.write_text("".join(rows), encoding="utf-8")


def write_csv(path: Path, triples: list[Triple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter=";", lineterminator="\n")
        rows.writerow(["target", "source", "type"])
        rows.writerows((tail, head, relation) for head, relation, tail in triples)


WRITTEN = {
    "packages.tsv": (metadata, write_tsv),
    "imports.nt": (imports, write_rdf),
    "debian.csv": (system, write_csv),
}


def make(folder: Path) -> None:
    """Write the graphs that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (triples, write) in WRITTEN.items():
        if not (folder / name).exists():
            write(folder / name, sorted(set(triples())))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
