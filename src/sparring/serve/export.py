"""Reviewed triples as TSV, N-Triples and JSON lines."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args
from urllib.parse import quote

from sparring.printing import printable, to_json_line
from sparring.serve.reviews import Reviewed

Format = Literal["tsv", "nt", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[str, str] = {
    "tsv": "text/tab-separated-values",
    "nt": "application/n-triples",
    "jsonl": "application/x-ndjson",
}
IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]+")
COLUMNS = ("head", "relation", "tail", "verdict", "accepts", "rejects", "unsure")


def export(reviewed: Iterable[Reviewed], form: Format) -> Iterator[str]:
    """The lines of a file.

    - tsv: a line of column names, then head, relation, tail, verdict and counts. Control characters
      of names are written out, as `printable` does.
    - nt: only the triples. A name that is no IRI becomes `urn:sparring:NAME`, percent-encoded.
    - jsonl: all fields, one object per line.
    """
    return _WRITERS[form](reviewed)


def _tsv(reviewed: Iterable[Reviewed]) -> Iterator[str]:
    yield "\t".join(COLUMNS) + "\n"
    for each in reviewed:
        yield "\t".join(printable(str(getattr(each, name))) for name in COLUMNS) + "\n"


def _n_triples(reviewed: Iterable[Reviewed]) -> Iterator[str]:
    for each in reviewed:
        yield " ".join(map(_iri, each.triple)) + " .\n"


def _json_lines(reviewed: Iterable[Reviewed]) -> Iterator[str]:
    for each in reviewed:
        yield to_json_line(each.to_dict())


def _iri(name: str) -> str:
    return f"<{name}>" if IRI.fullmatch(name) else f"<urn:sparring:{quote(name, safe='')}>"


_WRITERS: dict[str, Callable[[Iterable[Reviewed]], Iterator[str]]] = {
    "tsv": _tsv,
    "nt": _n_triples,
    "jsonl": _json_lines,
}
