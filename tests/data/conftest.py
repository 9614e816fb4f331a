import gzip
from pathlib import Path

import pytest
import zstandard

TRAIN = "a\tr\tb\nb\tr\tc\nc\ts\ta\n"
VALID = "a\tr\tc\n"
TEST = "b\ts\ta\n"
PACK = {".gz": gzip.compress, ".zst": zstandard.compress}


@pytest.fixture
def folder(tmp_path):
    """Writes files: `folder(train="...")` is a folder of three splits, some of them replaced.

    Keywords are stems, "__" stands for a dot as in `labels__csv`, and None leaves a file out.
    """

    def write(suffix: str = ".tsv", **files: str | bytes | None) -> Path:
        for stem, text in {"train": TRAIN, "valid": VALID, "test": TEST, **files}.items():
            if text is None:
                continue
            name = stem.replace("__", ".") if "__" in stem else stem + suffix
            content = text.encode() if isinstance(text, str) else text
            pack = PACK.get(Path(name).suffix, bytes)
            (tmp_path / name).write_bytes(pack(content))
        return tmp_path

    return write
