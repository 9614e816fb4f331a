"""Break the library in known ways and see that a test notices each.

python mutants.py [WORD ...]    all of them, or those whose description holds one of the words
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
IGNORED = shutil.ignore_patterns("__pycache__", ".*")


def first_failure(mutant: dict[str, str]) -> str:
    """The test that notices; empty if none does."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("src", "tests"):
            shutil.copytree(HERE / part, copy / part, ignore=IGNORED)
        shutil.copy(HERE / "pyproject.toml", copy)
        path = copy / "src" / "sparring" / mutant["file"]
        text = path.read_text()
        if text.count(mutant["before"]) != 1:
            raise SystemExit(
                f"{mutant['file']} does not hold {mutant['before']!r} once; write the mutant anew"
            )
        path.write_text(text.replace(mutant["before"], mutant["after"]))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
            + [f"tests/{place}" for place in mutant["tests"].split()],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    lines = done.stdout.splitlines()
    return next((line for line in lines if line.startswith(("FAILED", "ERROR"))), "")


def main(words: list[str]) -> int:
    """Report each mutant as it is judged; the exit status is the number missed."""
    mutants = tomllib.loads((HERE / "mutants.toml").read_text())["mutant"]
    if words:
        mutants = [mutant for mutant in mutants if any(word in mutant["breaks"] for word in words)]
    missed = 0
    for mutant in mutants:
        failure = first_failure(mutant)
        missed += not failure
        judgement = "noticed" if failure else "MISSED "
        print(judgement, "|", mutant["breaks"], "|", failure[:100], flush=True)
    print(f"{len(mutants) - missed} of {len(mutants)} noticed")
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
