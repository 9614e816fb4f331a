"""Break the library in known ways and see that a test notices each.

python mutants.py [WORD ...]    all of them, or those whose description holds one of the words
"""

import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
IGNORED = shutil.ignore_patterns("__pycache__", ".*")
# stop at the first failure; check no types, which takes most of the time
PLAIN = ["-q", "-x", "--tb=no", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
SLOW_TO_IMPORT = ["hypothesis", "jaxtyping", "polars", "pytest", "torch.optim", "torch.utils"]


def run_tests(folder: Path, tests: list[str]) -> None:
    """Run the tests of a copy of this project, in a process of its own, until one fails."""
    os.chdir(folder)
    sys.path.insert(0, str(folder / "src"))
    sys.dont_write_bytecode = True
    with open("report", "w") as report, contextlib.redirect_stdout(report):
        pytest.main([*PLAIN, *tests])


def first_failure(mutant: dict[str, str]) -> str:
    """The test that notices; empty if none does."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(SLOW_TO_IMPORT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("src", "tests"):
            shutil.copytree(HERE / part, folder / part, ignore=IGNORED)
        shutil.copy(HERE / "pyproject.toml", folder)
        path = folder / "src" / "sparring" / mutant["file"]
        text = path.read_text()
        if text.count(mutant["before"]) != 1:
            raise SystemExit(
                f"{mutant['file']} does not hold {mutant['before']!r} once; write the mutant anew"
            )
        path.write_text(text.replace(mutant["before"], mutant["after"]))
        tests = [f"tests/{place}" for place in mutant["tests"].split()]
        child = processes.Process(target=run_tests, args=(folder, tests))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(f"the tests of {mutant['breaks']!r} were ended from outside")
        lines = (folder / "report").read_text().splitlines()
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
