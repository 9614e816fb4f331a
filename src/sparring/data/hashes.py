"""Digests of names and ids, by which a run recognizes its graph.

Version 2 covers names, labels, types and triples. Version 1, which folders of earlier runs hold,
covers names and triples, and takes some lists of names with NUL characters for the same.
"""

import hashlib
from collections.abc import Sequence

import polars as pl
from jaxtyping import Int
from torch import Tensor

HASH_VERSION = 2
STRINGS_AT_ONCE = 100_000


def digest_of_strings(strings: pl.Series | Sequence[str]) -> bytes:
    """BLAKE2 digest of strings in order, with the length of each."""
    if not isinstance(strings, pl.Series):
        strings = pl.Series(strings, dtype=pl.String)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(strings.str.len_bytes().cast(pl.Int64).to_numpy().tobytes())
    for start in range(0, len(strings), STRINGS_AT_ONCE):
        digest.update("".join(strings.slice(start, STRINGS_AT_ONCE)).encode())
    return digest.digest()


def digest_of_ids(ids: Int[Tensor, "T c"] | None) -> bytes:
    """BLAKE2 digest of rows of ids, or of there being none."""
    digest = hashlib.blake2b(b"none" if ids is None else f"{len(ids)} ".encode(), digest_size=16)
    if ids is not None:
        digest.update(id_bytes(ids))
    return digest.digest()


def id_bytes(ids: Int[Tensor, "T c"]) -> memoryview:
    """The ids in 8 bytes each, one after another; a view, where they are kept so."""
    return ids.long().cpu().contiguous().view(-1).numpy().data
