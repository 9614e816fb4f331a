"""Benchmarks by name, from a local folder or downloaded once; and the atlas inside the package."""

import hashlib
import os
import shutil
import tomllib
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import urlopen

from sparring.data.diagnostics import Diagnostic, GraphError
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.read import read_graph
from sparring.extras import optional
from sparring.files import locked

HOST = "https://raw.githubusercontent.com"
MOST_BYTES = 2**28  # of a file to download


def load_benchmark(
    name: str,
    folder: str | Path | None = None,
    *,
    store: str | Path | None = None,
    host: str = HOST,
) -> KnowledgeGraph:
    """The benchmark of this name, read with `read_graph`.

    It is looked for in `folder`, then in `$SPARRING_DATA/<name>`, then in the store. If the store
    does not have it, it is downloaded, checked against a known SHA-256, and kept only if complete.
    What was downloaded is checked again when a process first uses it.

    Args:
        name: such as "fb15k-237"; `downloads` lists all that can be downloaded.
        folder: the folder of train, valid and test; if given, no other place is tried.
        store: folder for downloads, with one subfolder per benchmark; a cache folder of the user
            if None.
        host: base address of the repositories in `datasets.toml`.

    Raises:
        GraphError: if the benchmark is in none of these places and cannot be downloaded; the
            message says which files to put where. Also if files in the store have changed.
        MissingExtraError: if pooch, which finds the cache and downloads, is needed and missing.
    """
    return read_graph(folder or _found(name) or _stored(name, store, host), name=name)


@cache
def downloads() -> dict[str, dict[str, str]]:
    """Source and checksums of each benchmark that can be downloaded."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _found(name: str) -> Path | None:
    root = os.environ.get("SPARRING_DATA")
    return Path(root, name) if root and Path(root, name).is_dir() else None


def _stored(name: str, store: str | Path | None, host: str) -> Path:
    target = Path(store or _pooch(name).os_cache("sparring")) / name
    hint = (
        f"put files train, valid and test (head, tab, relation, tab, tail; .tsv or .txt) into "
        f"{target}, or into a folder {name} in the folder that SPARRING_DATA names"
    )
    if name not in downloads():
        if target.is_dir():
            return target
        near = get_close_matches(name, downloads(), n=2)
        hint = f"did you mean {' or '.join(near)}? If not, {hint}" if near else hint
        raise GraphError(Diagnostic(name, "no such benchmark to download", hint))
    if not target.is_dir():
        draft = target.with_name(f".{name}.download")
        with locked(draft, wait=True):  # another process may be downloading the same
            try:
                if not target.is_dir():
                    shutil.rmtree(draft / name, ignore_errors=True)  # of a killed process
                    _download(name, draft / name, host)
                    (draft / name).rename(target)
            except (OSError, ValueError) as error:
                problem = f"the benchmark could not be downloaded ({error})"
                raise GraphError(Diagnostic(name, problem, hint)) from error
            finally:
                shutil.rmtree(draft / name, ignore_errors=True)
        with suppress(OSError):
            draft.rmdir()  # unless the next one is in it
    _check(name, target)
    return target


@cache
def _check(name: str, folder: Path) -> None:
    """Check downloaded files, once in a process.

    Raises:
        GraphError: if one does not have the registered checksum.
    """
    for split in SPLITS:
        path = folder / f"{split}.txt"
        if not path.exists():
            continue  # the user's own files, in another format
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != downloads()[name][split]:
            hint = (
                f"delete {folder} to download it again; keep files of your own in a folder {name} "
                "in the folder that SPARRING_DATA names"
            )
            raise GraphError(Diagnostic(str(path), f"this is not the file of {name}", hint))


def _pooch(name: str) -> ModuleType:
    return optional("pooch", extra="benchmarks", purpose=f"downloading {name}")


def _download(name: str, folder: Path, host: str) -> None:
    """Download all splits; ValueError if a file does not have the registered checksum."""
    source = downloads()[name]
    path = "/".join(filter(None, [source["repository"], source["commit"], source["folder"]]))
    for split in SPLITS:
        _pooch(name).retrieve(
            f"{host}/{path}/{split}.txt",
            known_hash=f"sha256:{source[split]}",
            fname=f"{split}.txt",
            path=folder,
            downloader=_fetch,
        )


def _fetch(url: str, file: str, _: Any) -> None:
    """Write what an address has into a file, as pooch asks for it.

    Raises:
        ValueError: if it is larger than `MOST_BYTES`.
    """
    size = 0
    with urlopen(url, timeout=60) as answer, Path(file).open("wb") as output:
        while block := answer.read(2**20):
            size += len(block)
            if size > MOST_BYTES:
                raise ValueError(f"{url} is larger than {MOST_BYTES:,} bytes")
            output.write(block)


def embedded_folder() -> Path:
    """The folder of the atlas; its README.md has sources, licenses and counts."""
    return Path(str(files("sparring.data") / "atlas"))


def load_embedded() -> KnowledgeGraph:
    """The atlas: territories, languages, currencies, time zones, cities, airports, holidays."""
    return read_graph(embedded_folder())
