"""Files that are replaced as a whole, and folders that one process at a time writes to."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
DRAFTS = (".*.draft", ".tmp" + "[0-9A-Za-z]" * 6)  # ours, and those of safetensors
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
DIGEST = "digest"


class FolderInUseError(OSError):
    """A folder that another process writes to."""


class DamagedFileError(ValueError):
    """A file that does not hold what it should; the message names it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step; a crash leaves the old content or the new one."""
    with replaced_atomically(path) as draft:
        draft.path.write_bytes(content)


def write_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write a safetensors file.

    Raises:
        OSError: if the disk is full, or the system fails otherwise; safetensors has its own error.
    """
    # imported here: they load PyTorch, and most who write files have no tensors
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error


@dataclass
class Draft:
    """A file that is being written, and the one that it will replace.

    Attributes:
        path: of the draft.
        target: of the file to replace; it may be changed while the draft is written.
    """

    path: Path
    target: Path


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Draft]:
    """Write a draft that replaces a file in one step, unless an error is raised.

    For content that memory should not hold as a whole. A device or a pipe is written to as it is.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield Draft(path, path)
        return
    draft = Draft(path.with_name(f".{path.name}.{os.getpid()}.draft"), path)
    try:
        draft.path.touch()
        mode = draft.path.stat().st_mode
        yield draft
        draft.path.chmod(mode)  # some writers make files that only their owner may read
        with draft.path.open("rb+") as file:
            os.fsync(file.fileno())
        draft.path.replace(draft.target)
    finally:
        draft.path.unlink(missing_ok=True)
    _sync(draft.target.parent)


def open_in_place(path: Path, mode: str, **options: Any) -> IO[Any]:
    """Open a file for writing, unless it is a link: in a folder of somebody else's, that may lead
    to any file of the user.

    Raises:
        OSError: for a link.
    """
    return open(path, mode, opener=lambda p, flags: os.open(p, flags | NO_LINK, 0o666), **options)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with its digest, which `read_object` checks."""
    write_json(path, sealed(content))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same object with its digest, as the last entry."""
    return {**content, DIGEST: json_digest(json.loads(json.dumps(content)))}


def unsealed(found: Mapping[str, Any]) -> dict[str, Any]:
    """What was sealed. Objects of earlier versions have no digest and are not checked.

    Raises:
        ValueError: if it was altered since.
    """
    content = {key: value for key, value in found.items() if key != DIGEST}
    if DIGEST in found and found[DIGEST] != json_digest(content):
        raise ValueError("it was altered after it was written")
    return content


def json_digest(content: Any) -> str:
    """BLAKE2 digest of what JSON can hold."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def remove_drafts(folder: Path, *, below: bool = True) -> None:
    """Remove what processes that were killed have left of unfinished files in a locked folder.

    Args:
        below: also in the folders in it, unless others may be writing to them.
    """
    for pattern in DRAFTS:
        for draft in folder.rglob(pattern) if below else folder.glob(pattern):
            draft.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DamagedFileError: if it holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise DamagedFileError(f"{path} is damaged: it holds no JSON ({reason})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds one object, without its digest.

    Raises:
        DamagedFileError: if it holds anything else, or was altered.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise DamagedFileError(f"{path} is damaged: it holds no JSON object")
    try:
        return unsealed(found)
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged: {error}; restore it from a copy") from None


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, which is made where it is missing.

    The lock is one of the operating system, so it ends with the process, however that ends; a file
    that a killed process left does not matter. Without such locks (on Windows, in some network file
    systems) nothing is locked.

    Args:
        wait: until the folder is free, instead of refusing it.

    Raises:
        FolderInUseError: if another process has locked the folder; names it.
    """
    made = not folder.exists()
    file = _acquire(folder / LOCK, wait)
    try:
        yield
    finally:
        if file is not None:
            if _same(file, folder / LOCK):  # else the folder was removed, and others may use it now
                (folder / LOCK).unlink(missing_ok=True)
            file.close()
        if made:
            with suppress(OSError):
                folder.rmdir()  # if nothing was written


def _acquire(path: Path, wait: bool) -> IO[str] | None:
    """The lock file, open and locked; None where there are no locks."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if fcntl is None:
                return None
            file = open_in_place(path, "a+", encoding="utf-8")
        except (FileExistsError, FileNotFoundError):
            if os.path.lexists(path.parent) and not path.parent.is_dir():
                raise
            continue  # its last holder has removed the folder meanwhile
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            with file:
                file.seek(0)
                holder = file.read().strip() or "another process"
            raise FolderInUseError(
                f"{path.parent} is in use by {holder}; wait for it, stop it, or name another folder"
            ) from None
        except OSError:
            return file  # a file system without locks
        if _same(file, path):
            break
        file.close()  # its last holder has removed it meanwhile
    with suppress(OSError):  # the disk may be full
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
    return file


def _same(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sync(folder: Path) -> None:
    """Make renames in a folder last through a loss of power, where the system can."""
    with suppress(OSError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
