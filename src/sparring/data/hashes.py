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


def digest_of_strings(strings: pl.Series | Sequence[str]) -> bytes:
    """BLAKE2 digest of strings in order, with the length of each."""
    if not isinstance(strings, pl.Series):
        strings = pl.Series(strings, dtype=pl.String)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(strings.str.len_bytes().cast(pl.Int64).to_numpy().tobytes())
    digest.update("".join(strings).encode())
    return digest.digest()


def digest_of_ids(ids: Int[Tensor, "T c"] | None) -> bytes:
    """BLAKE2 digest of rows of ids, or of there being none."""
    content = b"none" if ids is None else f"{len(ids)} ".encode() + id_bytes(ids)
    return hashlib.blake2b(content, digest_size=16).digest()


def id_bytes(ids: Int[Tensor, "T c"]) -> bytes:
    """The ids in 8 bytes each."""
    return ids.long().cpu().contiguous().numpy().tobytes()
