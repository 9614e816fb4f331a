"""Checkpoints of sharded runs, by `torch.distributed.checkpoint`: any number of ranks reads them.

`sharded/last-<n>` holds the tensors, sharded ones as one tensor of V blocks of rows, and
`sharded-last.json` says which folder counts. Replacing it is the one atomic step: a crash at any
moment leaves the old checkpoint or the new one."""

import pickle
import shutil
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_sharded
from torch.distributed.checkpoint.state_dict_saver import save as save_sharded
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from sparring.distributed import world
from sparring.distributed.layout import Layout
from sparring.distributed.memory import available_memory
from sparring.files import DamagedFileError, read_object, write_object
from sparring.training import CheckpointError
from sparring.training.checkpoint import REMEDY, pack, unpack

FORMAT = 1
FOLDER = "sharded"
FOR_TRAINING = ("optimizer", "seeds")  # entries that evaluation does not need


def exists(folder: Path, name: str) -> bool:
    """Whether there is a checkpoint of this name, readable or not."""
    return _index(folder, name).exists()


def save(folder: Path, name: str, state: Any, sharded: set[int], layout: Layout) -> None:
    """Write nested dicts and lists; numbers and words as JSON, tensors by all ranks.

    Args:
        name: of the checkpoint; an earlier one of the same name is replaced.
        state: the same on all ranks, but for sharded tensors.
        sharded: data pointers of tensors whose rows are those of this rank.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = pack(state, tensors)
    views = {
        key: as_global(value, layout) if value.data_ptr() in sharded else value
        for key, value in tensors.items()
    }
    step = int(read_object(_index(folder, name))["number"]) + 1 if exists(folder, name) else 0
    target = folder / FOLDER / f"{name}-{step}"
    if world.rank() == 0:
        shutil.rmtree(target, ignore_errors=True)
    dist.barrier()
    save_sharded(views, checkpoint_id=target)
    if world.rank() == 0:
        rows = [key for key, value in tensors.items() if value.data_ptr() in sharded]
        about = {"entities": layout.num_entities, "virtual_workers": layout.workers}
        body = {"format": FORMAT, "number": step, "sharded": rows, **about, "state": skeleton}
        write_object(_index(folder, name), body)
        for old in (folder / FOLDER).glob(f"{name}-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
    dist.barrier()


def load(folder: Path, name: str, layout: Layout, leave_out: Collection[str] = ()) -> Any:
    """The state of a checkpoint, with this rank's rows of sharded tensors.

    Args:
        leave_out: entries of the state that are not read.

    Raises:
        CheckpointError: if it is missing, damaged, or of other entities or virtual workers.
    """
    body = outline(folder, name)
    for key, value in (("entities", layout.num_entities), ("virtual_workers", layout.workers)):
        if body[key] != value:
            raise CheckpointError(
                f"{_index(folder, name)} is of {key} = {body[key]}, not {value}; resume with the "
                "old configuration, or train in another folder"
            )
    state, wanted = _chosen(body, leave_out)
    tensors = {}
    for key, like in _empty(folder, name, body).items():
        if key not in wanted:
            continue
        rows = layout.own_rows if key in body["sharded"] else len(like) if like.dim() else 0
        shape = (rows, *like.shape[1:]) if like.dim() else ()
        tensors[key] = torch.empty(shape, dtype=like.dtype)
    views = {
        key: as_global(value, layout) if key in body["sharded"] else value
        for key, value in tensors.items()
    }
    _read(views, folder, name, body)
    return unpack(state, tensors)


def load_whole(folder: Path, name: str, leave_out: Collection[str] = ()) -> Any:
    """The state of a checkpoint in one process, with sharded tensors as tables of all entities.

    Raises:
        CheckpointError: if it is missing or damaged, or does not fit into memory.
    """
    body = outline(folder, name)
    state, wanted = _chosen(body, leave_out)
    empty = {key: value for key, value in _empty(folder, name, body).items() if key in wanted}
    size, free = sum(value.nbytes for value in empty.values()), available_memory()
    if free is not None and size > free:
        raise CheckpointError(
            f"the tables of {folder} need {size / 1e9:,.2f} GB in one process, but "
            f"{free / 1e9:,.2f} GB are free; use sparring evaluate, predict or audit under "
            "torchrun, on machines that hold them together"
        )
    tensors = {key: torch.empty_like(value, device="cpu") for key, value in empty.items()}
    _read(tensors, folder, name, body, no_dist=True)
    for key in wanted & set(body["sharded"]):
        blocks = tensors[key].unflatten(0, (body["virtual_workers"], -1))
        rows = blocks.transpose(0, 1).flatten(0, 1)
        tensors[key] = rows[: body["entities"]].contiguous()
    return unpack(state, tensors)


def best_name(folder: Path) -> str:
    """The name of the best checkpoint of a run; of the last one where none was chosen."""
    return "best" if exists(folder, "best") else "last"


def outline(folder: Path, name: str) -> dict[str, Any]:
    """What a checkpoint says of itself.

    Raises:
        CheckpointError: if it is missing, damaged, or of a later format.
    """
    path = _index(folder, name)
    try:
        body = read_object(path)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except DamagedFileError as error:
        raise CheckpointError(str(error)) from None
    if body.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {body.get('format')}, but this version of sparring reads {FORMAT}"
        )
    return body


def as_global(rows: Tensor, layout: Layout) -> DTensor:
    """This rank's rows as a part of one tensor of V blocks, without a copy."""
    shape = torch.Size((layout.all_rows, *rows.shape[1:]))
    stride = torch.empty(shape, device="meta").stride()
    mesh = init_device_mesh(rows.device.type, (world.size(),))
    return DTensor.from_local(rows, mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


class _Wanted(dict[str, None]):
    """Remembers what was looked up."""

    def __missing__(self, key: str) -> None:
        self[key] = None


def _chosen(body: Mapping[str, Any], leave_out: Collection[str]) -> tuple[Any, set[str]]:
    """The state without some of its entries, packed, and the names of its tensors."""
    state = {"dict": [entry for entry in body["state"]["dict"] if entry[0] not in leave_out]}
    wanted = _Wanted()
    unpack(state, wanted)
    return state, set(wanted)


def _index(folder: Path, name: str) -> Path:
    return folder / f"{FOLDER}-{name}.json"


def _place(folder: Path, name: str, body: Mapping[str, Any]) -> Path:
    return folder / FOLDER / f"{name}-{body['number']}"


def _empty(folder: Path, name: str, body: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of the shapes and types of those in a checkpoint, without memory."""
    place = _place(folder, name, body)
    try:
        found = FileSystemReader(place).read_metadata().state_dict_metadata
    except FileNotFoundError:
        raise CheckpointError(
            f"{_index(folder, name)} refers to {place}, which is missing"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{place} is damaged ({error}); {REMEDY}") from None
    shapes = {key: one for key, one in found.items() if isinstance(one, TensorStorageMetadata)}
    return {
        key: torch.empty(one.size, dtype=one.properties.dtype, device="meta")
        for key, one in shapes.items()
    }


def _read(
    views: dict[str, Any], folder: Path, name: str, body: Mapping[str, Any], no_dist: bool = False
) -> None:
    place = _place(folder, name, body)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            load_sharded(views, checkpoint_id=place, no_dist=no_dist)
    except (CheckpointException, OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{place} is damaged ({reason}); {REMEDY}") from error
