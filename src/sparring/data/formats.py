"""File formats: finds the file of a table, says what it holds, and decompresses it.

RDF is read by pyoxigraph (extra `rdf`), .zst files by zstandard (extra `benchmarks`), databases of
DuckDB by duckdb (extra `duckdb`).
"""

import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from types import ModuleType
from typing import Any

from sparring.data.diagnostics import Diagnostic, Example, GraphError, Report, shorten
from sparring.extras import MissingExtraError, install_command, optional

TEXT = {".tsv": "\t", ".txt": "\t", ".csv": ","}
RDF = {
    ".nt": "N_TRIPLES",
    ".nq": "N_QUADS",
    ".ttl": "TURTLE",
    ".trig": "TRIG",
    ".n3": "N3",
    ".rdf": "RDF_XML",
    ".xml": "RDF_XML",
    ".owl": "RDF_XML",
    ".jsonld": "JSON_LD",
}
PARQUET = ".parquet"
JSON_LINES = (".jsonl", ".ndjson")
DATABASES = (".db", ".sqlite", ".sqlite3", ".duckdb")
UNPACKED = (PARQUET, *DATABASES)
KNOWN = (*TEXT, *RDF, *JSON_LINES, *UNPACKED)
BLOCK = 1 << 22  # bytes: large enough to parse fast, small enough to reuse memory
READABLE = (
    ".tsv, .txt (tabs), .csv, .jsonl or RDF (.nt, .nq, .ttl, .trig, .n3, .rdf, .jsonld), plain, "
    ".gz or .zst; .parquet; or a database (.db, .sqlite, .duckdb)"
)


def _gzip(path: Path) -> tuple[Callable[[], Any], type[Exception]]:
    return lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), zlib.error


def _zstandard(path: Path) -> tuple[Callable[[], Any], type[Exception]]:
    zstandard = import_reader("zstandard", path, "benchmarks")
    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError


# by suffix: makes a decompressor for one member of the file, and names the error it raises
COMPRESSIONS = {".gz": _gzip, ".zst": _zstandard}


def import_reader(module: str, path: Path, extra: str) -> ModuleType:
    """The optional package that reads a file.

    Raises:
        GraphError: if it is not installed; names the extra that installs it.
    """
    try:
        return optional(module, extra=extra, purpose=f"reading {path.name}")
    except MissingExtraError as error:
        hint = f"run {install_command(extra)}, or convert it to plain tab-separated text"
        raise GraphError(Diagnostic(str(path), f"reading it needs {module}", hint)) from error


def file_format(path: Path) -> str:
    """The suffix that names the format, without that of the compression; "" if unknown."""
    suffix = Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
    if suffix in UNPACKED and path.suffix in COMPRESSIONS:
        return ""
    return suffix if suffix in KNOWN else ""


def as_path(source: str | Path) -> Path:
    """The path of a source; a database may be given as sqlite:///path or duckdb:///path."""
    text = str(source)
    scheme, marked, rest = text.partition(":///")
    return Path(rest) if marked and scheme in {"sqlite", "duckdb"} else Path(source)


def list_names(folder: Path) -> str:
    """Names of everything in a folder, for messages."""
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"


def find_table(folder: Path, stem: str, report: Report) -> Path | None:
    """The one file of a folder that holds the named table; None if there is none."""
    found = sorted(
        path
        for path in folder.iterdir()
        if path.name.split(".")[0] == stem and _is_table(path, stem)
    )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        hint = "keep the one that is to be read"
        report(Diagnostic(str(folder), f"{names} all hold {stem}", hint))
    return found[0] if found else None


def _is_table(path: Path, stem: str) -> bool:
    packed = path.suffix if path.suffix in COMPRESSIONS else ""
    return bool(file_format(path)) and path.name == f"{stem}{file_format(path)}{packed}"


def require_path(path: Path) -> Path:
    """The path itself.

    Raises:
        GraphError: if there is nothing at the path, or a file of an unknown kind.
    """
    if path.is_file() and not file_format(path):
        raise GraphError(Diagnostic(str(path), "unknown kind of file", f"give {READABLE}"))
    if not path.exists():
        parent = path.absolute().parent
        near = list_names(parent) if parent.is_dir() else "nothing"
        hint = f"correct the path; {parent} holds {near}"
        raise GraphError(Diagnostic(str(path), "no such file or folder", hint))
    return path


def read_blocks(path: Path, report: Report) -> Iterator[bytes]:
    """The decompressed bytes in large blocks that end with a line, without a byte order mark."""
    parts: list[bytes] = []
    size, mark = 0, b"\xef\xbb\xbf"
    for piece in _decompressed(path, report):
        parts.append(piece)
        size += len(piece)
        cut = piece.rfind(b"\n") + 1
        if size >= BLOCK and cut:
            parts[-1] = piece[:cut]
            yield b"".join(parts).removeprefix(mark)
            parts, size, mark = [piece[cut:]], len(piece) - cut, b""
    if last := b"".join(parts).removeprefix(mark):
        yield last


def _decompressed(path: Path, report: Report) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix not in COMPRESSIONS:
            while piece := file.read(BLOCK):
                yield piece
            return
        new_decompressor, decompression_error = COMPRESSIONS[path.suffix](path)
        try:
            yield from _decompress(file, new_decompressor)
        except (EOFError, decompression_error) as error:
            hint = "download the file again, or compress the original again"
            report(
                Diagnostic(
                    str(path), "broken compression", hint, (Example(value=shorten(str(error))),)
                )
            )


def _decompress(file: BufferedReader, new_decompressor: Callable) -> Iterator[bytes]:
    """All members of a compressed file. Unlike a stream reader, it notices a truncated file."""
    decompressor = None
    while piece := file.read(1 << 16):
        while piece:
            decompressor = decompressor or new_decompressor()
            yield decompressor.decompress(piece)
            piece = b""
            if decompressor.eof:
                piece, decompressor = decompressor.unused_data, None
    if decompressor is not None:
        raise EOFError("the file ends in the middle of its compressed data")
