"""Checkpoints on disk: safetensors for tensors, JSON for everything else, both hashed.

`last.json` names its tensor file by content, so replacing the JSON is the one atomic step: a
crash at any moment leaves the old checkpoint or the new one, never a mixture. Checkpoints of
earlier formats are converted while they are read, see `sparring.training.conversion`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from sparring.files import write_atomically
from sparring.training.conversion import convert

FORMAT = 2


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, or of a format that cannot be read."""


def save(folder: Path, name: str, state: Any) -> None:
    """Write nested dicts, lists and tensors as `name.json` and `name.<digest>.safetensors`."""
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _pack(state, tensors)
    content = save_tensors(tensors)
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}.{digest[:16]}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / file, content)
    body = {"format": FORMAT, "tensors": file, "sha256": digest, "state": skeleton}
    body["digest"] = _digest(body)
    write_atomically(folder / f"{name}.json", json.dumps(body).encode())
    for old in folder.glob(f"{name}.*.safetensors"):
        if old.name != file:
            old.unlink()


def load(folder: Path, name: str) -> Any:
    """Read back what `save` wrote, under current names if an earlier version wrote it.

    Raises:
        CheckpointError: if a file is missing, damaged, or of a later format.
    """
    path = folder / f"{name}.json"
    try:
        body = json.loads(path.read_bytes())
        digest = body.pop("digest")
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{path} is damaged; delete it to start over") from None
    if digest != _digest(body):
        raise CheckpointError(f"{path} was altered; delete it to start over")
    if body["format"] > FORMAT:
        raise CheckpointError(
            f"{path} has format {body['format']}, but this version of sparring reads formats up "
            f"to {FORMAT}; install the version that wrote it, or a later one"
        )
    file = folder / body["tensors"]
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} refers to {file.name}, which is missing") from None
    if hashlib.sha256(content).hexdigest() != body["sha256"]:
        raise CheckpointError(
            f"{file} is damaged ({len(content)} bytes); delete {path} to start over"
        )
    state = _unpack(body["state"], load_tensors(content))
    return state if body["format"] == FORMAT else convert(state)


def exists(folder: Path, name: str) -> bool:
    """Whether there is a checkpoint of this name, readable or not."""
    return (folder / f"{name}.json").exists()


def _digest(body: dict) -> str:
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON with numbered tensors; dicts as pairs, because JSON keys are strings only."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_plain(key), _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(item, tensors) for item in value]}
    return _plain(value)


def _plain(value: Any) -> Any:
    """The value itself, if JSON can hold it.

    Raises:
        TypeError: for anything else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}: {value!r}")


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    items = [_unpack(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
