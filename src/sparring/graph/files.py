"""Which file holds a table, and what bytes are in it."""

import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

import zstandard

from sparring.graph.findings import Example, Finding, GraphError, Report, shown

TEXT = {".tsv": "\t", ".txt": "\t", ".csv": ","}
RDF = (".nt", ".ttl")
PARQUET = ".parquet"
PACKED: dict[str, Callable] = {
    ".gz": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    ".zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
BLOCK = 1 << 22  # large enough to parse fast, small enough to reuse memory
READABLE = ".tsv, .txt (tabs) or .csv, plain, .gz or .zst; .parquet; .nt or .ttl"


def kind(path: Path) -> str:
    """The suffix that says what the file holds, without that of its packing; "" if unknown."""
    suffix = Path(path.stem).suffix if path.suffix in PACKED else path.suffix
    if suffix == PARQUET and path.suffix in PACKED:
        return ""
    return suffix if suffix in TEXT or suffix in RDF or suffix == PARQUET else ""


def contents(folder: Path) -> str:
    """Names of everything in a folder, for messages."""
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"


def find(folder: Path, stem: str, report: Report) -> Path | None:
    """The one file of a folder that holds the named table; None if there is none."""
    found = sorted(
        path for path in folder.iterdir() if path.name.split(".")[0] == stem and _holds(path, stem)
    )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        remedy = "keep the one that is to be read"
        report(Finding(str(folder), f"{names} all hold {stem}", remedy))
    return found[0] if found else None


def _holds(path: Path, stem: str) -> bool:
    packed = path.suffix if path.suffix in PACKED else ""
    return bool(kind(path)) and path.name == f"{stem}{kind(path)}{packed}"


def required(path: Path) -> Path:
    """The path itself.

    Raises:
        GraphError: if there is nothing at the path, or a file of an unknown kind.
    """
    if path.is_file() and not kind(path):
        raise GraphError(Finding(str(path), "unknown kind of file", f"give {READABLE}"))
    if not path.exists():
        parent = path.absolute().parent
        near = contents(parent) if parent.is_dir() else "nothing"
        remedy = f"correct the path; {parent} holds {near}"
        raise GraphError(Finding(str(path), "no such file or folder", remedy))
    return path


def blocks(path: Path, report: Report) -> Iterator[bytes]:
    """The unpacked bytes in large pieces that end where a line ends; no byte order mark."""
    parts: list[bytes] = []
    size, mark = 0, b"\xef\xbb\xbf"
    for piece in _unpacked(path, report):
        parts.append(piece)
        size += len(piece)
        cut = piece.rfind(b"\n") + 1
        if size >= BLOCK and cut:
            parts[-1] = piece[:cut]
            yield b"".join(parts).removeprefix(mark)
            parts, size, mark = [piece[cut:]], len(piece) - cut, b""
    if last := b"".join(parts).removeprefix(mark):
        yield last


def _unpacked(path: Path, report: Report) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix not in PACKED:
            while piece := file.read(BLOCK):
                yield piece
            return
        try:
            yield from _inflated(file, PACKED[path.suffix])
        except (EOFError, zlib.error, zstandard.ZstdError) as error:
            remedy = "fetch the file again, or pack it again from the original"
            report(
                Finding(
                    str(path), "broken compression", remedy, (Example(value=shown(str(error))),)
                )
            )


def _inflated(file: BufferedReader, machine: Callable) -> Iterator[bytes]:
    """All members of a packed file. Unlike a stream reader, it notices a file that was cut."""
    unpacker = None
    while piece := file.read(1 << 16):
        while piece:
            unpacker = unpacker or machine()
            yield unpacker.decompress(piece)
            piece = b""
            if unpacker.eof:
                piece, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        raise EOFError("the file ends in the middle of its compressed data")
