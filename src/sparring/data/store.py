"""A graph in a folder of its own: what a run keeps, so that it needs the original files no more.

The folder holds `index.json`, and the files that it names by content: entities, relations and types
as Parquet, triples as safetensors. Replacing `index.json` is the one atomic step of a save: a crash
at any moment leaves the old graph or the new one. Its digest covers the SHA-256 of every file, so
that names, labels, types and ids are all checked on load.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
from jaxtyping import Int
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from sparring.data.diagnostics import GraphError
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.files import json_digest, write_atomically

FORMAT = 1
INDEX = "index.json"


def save(graph: KnowledgeGraph, folder: str | Path) -> None:
    """Write a graph into a folder, in place of the one that is stored there, if any."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    triples = {split: _narrow(getattr(graph, split)) for split in SPLITS}
    for name in ("entity_type", "rejected"):
        if (ids := getattr(graph, name)) is not None:
            triples[name] = _narrow(ids)
    contents = {
        "entities.parquet": _parquet(_columns(graph.entities)),
        "relations.parquet": _parquet(_columns(graph.relations)),
        "types.parquet": _parquet({"name": pl.Series(graph.types, dtype=pl.String)}),
        "triples.safetensors": save_tensors(triples),
    }
    files = {}
    for file, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        stem, _, suffix = file.partition(".")
        name = f"{stem}.{digest[:16]}.{suffix}"
        write_atomically(folder / name, content)
        files[stem] = {"file": name, "sha256": digest}
    body = {
        "format": FORMAT,
        "name": graph.name,
        "hold_out": graph.hold_out,
        "notes": dict(graph.notes),
        "files": files,
    }
    body["digest"] = json_digest(body)
    write_atomically(folder / INDEX, json.dumps(body, indent=2).encode())
    _remove_former(folder, files)


def load(folder: str | Path) -> KnowledgeGraph:
    """Read back what `save` wrote: the same names, labels, types and ids.

    Raises:
        GraphError: if a file is missing, altered, or of a later format; names the file.
    """
    folder = Path(folder)
    body = _index(folder / INDEX)
    content = {stem: _checked(folder, **file) for stem, file in body["files"].items()}
    entities, relations, types = (
        pl.read_parquet(content[stem]) for stem in ("entities", "relations", "types")
    )
    triples = {name: ids.long() for name, ids in load_tensors(content["triples"]).items()}
    return KnowledgeGraph(
        body["name"],
        _vocabulary(entities, "entity"),
        _vocabulary(relations, "relation"),
        *(triples[split] for split in SPLITS),
        types=tuple(types["name"]),
        entity_type=triples.get("entity_type"),
        notes=body["notes"],
        hold_out=body["hold_out"],
        rejected=triples.get("rejected"),
    )


def exists(folder: str | Path) -> bool:
    """Whether a graph is stored in this folder, readable or not."""
    return Path(folder, INDEX).is_file()


def _index(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
        digest = body.pop("digest")
    except FileNotFoundError:
        raise GraphError(f"{path.parent} holds no stored graph: it has no {INDEX}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GraphError(f"{path} is damaged; restore it from a copy") from None
    if digest != json_digest(body):
        raise GraphError(f"{path} was altered; restore it from a copy")
    if body["format"] > FORMAT:
        raise GraphError(
            f"{path} has format {body['format']}, but this version of sparring reads formats up to "
            f"{FORMAT}; install the version that wrote it, or a later one"
        )
    return body


def _checked(folder: Path, file: str, sha256: str) -> bytes:
    """The content of a file, if it is the one that was written."""
    path = folder / file
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise GraphError(f"{folder / INDEX} refers to {path}, which is missing") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise GraphError(f"{path} was altered or is damaged; restore it from a copy")
    return content


def _columns(names: Vocabulary) -> dict[str, pl.Series]:
    """Names, and labels where any differs from its name."""
    same = names.labels.equals(names.names)
    return {"name": names.names} if same else {"name": names.names, "label": names.labels}


def _vocabulary(table: pl.DataFrame, kind: str) -> Vocabulary:
    labels = table["label"] if "label" in table.columns else None
    return Vocabulary(table["name"], labels, kind)


def _parquet(columns: dict[str, pl.Series]) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


def _narrow(ids: Int[Tensor, "T c"]) -> Int[Tensor, "T c"]:
    """The same ids in 4 bytes each, where they fit."""
    fits = not len(ids) or int(ids.max()) < 2**31
    return (ids.int() if fits else ids).cpu().contiguous()


def _remove_former(folder: Path, files: dict[str, dict[str, str]]) -> None:
    """Delete the files of a graph that was stored here before."""
    current = {file["file"] for file in files.values()}
    for stem in files:
        for path in folder.glob(f"{stem}.{'[0-9a-f]' * 16}.*"):
            if path.name not in current:
                path.unlink()
