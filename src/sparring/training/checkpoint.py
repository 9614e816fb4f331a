"""Checkpoints on disk: safetensors for tensors, JSON for everything else, both hashed.

`last.json` names its tensor file by content, so replacing the JSON is the one atomic step: a
crash at any moment leaves the old checkpoint or the new one, never a mixture. Checkpoints of
earlier formats are converted while they are read, see `sparring.training.conversion`.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from sparring.files import json_digest, replaced_atomically, write_atomically, write_tensors
from sparring.training.conversion import convert

FORMAT = 2
REMEDY = "restore it from a copy, or train again in another folder"


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, or of a format that cannot be read."""


def save(folder: Path, name: str, state: Any) -> str:
    """Write nested dicts, lists and tensors as `name.json` and `name.<digest>.safetensors`.

    Returns:
        the digest of all, as `digest_of` reads it.
    """
    tensors: dict[str, torch.Tensor] = {}
    skeleton = pack(state, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    with replaced_atomically(folder / f"{name}.safetensors") as draft:
        write_tensors(draft.path, _without_overlaps(tensors))
        digest = _sha256(draft.path)
        file = f"{name}.{digest[:16]}.safetensors"
        draft.target = folder / file
    body = {"format": FORMAT, "tensors": file, "sha256": digest, "state": skeleton}
    body["digest"] = json_digest(body)
    write_atomically(folder / f"{name}.json", json.dumps(body).encode())
    _keep_only(folder, name, file)
    return body["digest"]


def remove_former(folder: Path, name: str) -> None:
    """Remove files of tensors that a killed process could not remove; all are kept if the
    checkpoint is missing or damaged."""
    with suppress(CheckpointError):
        _keep_only(folder, name, _body(folder, name).get("tensors"))


def load(folder: Path, name: str) -> Any:
    """Read back what `save` wrote, under current names if an earlier version wrote it.

    Raises:
        CheckpointError: if a file is missing, damaged, or of a later format.
    """
    body = _body(folder, name)
    return _state(body, _tensors(folder, name, body), folder / f"{name}.json")


def outline(folder: Path, name: str) -> Any:
    """What `load` gives with None for each tensor, without reading any.

    Raises:
        CheckpointError: as `load` does.
    """
    body = _body(folder, name)
    return _state(body, defaultdict(lambda: None), folder / f"{name}.json")


def digest_of(folder: Path, name: str) -> str:
    """The digest of all that `save` wrote.

    Raises:
        CheckpointError: as `load` does.
    """
    return json_digest(_body(folder, name))


def _keep_only(folder: Path, name: str, file: str | None) -> None:
    for old in folder.glob(f"{name}.*.safetensors"):
        if old.name != file:
            old.unlink()


def _body(folder: Path, name: str) -> dict[str, Any]:
    """The content of `name.json`, checked, without its digest."""
    path = folder / f"{name}.json"
    try:
        body = json.loads(path.read_bytes())
        digest = body.pop("digest")
        altered = digest != json_digest(body)
        later = body["format"] > FORMAT
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path} is damaged; {REMEDY}") from None
    if altered:
        raise CheckpointError(f"{path} was altered; {REMEDY}")
    if later:
        raise CheckpointError(
            f"{path} has format {body['format']}, but this version of sparring reads formats up "
            f"to {FORMAT}; install the version that wrote it, or a later one"
        )
    return body


def _tensors(folder: Path, name: str, body: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors that `name.json` names, checked."""
    path, file = folder / f"{name}.json", body.get("tensors")
    if not isinstance(file, str) or Path(file).name != file:
        raise CheckpointError(f"{path} names no file of tensors; {REMEDY}")
    try:
        found = _sha256(folder / file)
    except FileNotFoundError:
        raise CheckpointError(f"{path} refers to {file}, which is missing; {REMEDY}") from None
    if found != body.get("sha256"):
        size = (folder / file).stat().st_size
        raise CheckpointError(f"{folder / file} is damaged ({size} bytes); {REMEDY}")
    try:
        with safe_open(folder / file, "pt") as opened:  # copied: the file may be replaced
            return {key: opened.get_tensor(key).clone() for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder / file} holds no tensors ({error}); {REMEDY}") from None


def _state(body: Mapping[str, Any], tensors: Mapping[str, Any], path: Path) -> Any:
    try:
        state = unpack(body["state"], tensors)
        return state if body["format"] == FORMAT else convert(state)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path} holds no state of a training; {REMEDY}") from None


def exists(folder: Path, name: str) -> bool:
    """Whether there is a checkpoint of this name, readable or not."""
    return (folder / f"{name}.json").exists()


def _sha256(path: Path) -> str:
    """The digest of a file, which is read a part at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_overlaps(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, each in memory of its own, as safetensors wants them.

    Only tensors that share their memory with others, or use a part of it, are copied.
    """
    alone: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        alone[name] = tensor
    return alone


def pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON with numbered tensors; dicts as pairs, because JSON keys are strings only."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_plain(key), pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [pack(item, tensors) for item in value]}
    return _plain(value)


def _plain(value: Any) -> Any:
    """The value itself, if JSON can hold it.

    Raises:
        TypeError: for anything else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}: {value!r}")


def unpack(value: Any, tensors: Mapping[str, Any]) -> Any:
    """What `pack` was given, with these tensors."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in content}
    items = [unpack(item, tensors) for item in content]
    return {"list": list, "tuple": tuple}[kind](items)
