"""Questions to a process of another Python, which imports nothing but its own library."""

import json
import subprocess


class Process:
    """A script that reads a line of JSON and prints a line "answer:" and JSON, again and again.

    Args:
        words: of the command.
        threads: that its loops may take.
        quiet: drop its standard error.
    """

    def __init__(self, words: list[str], *, threads: int = 1, quiet: bool = False):
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL if quiet else None,
            env={"OMP_NUM_THREADS": str(threads), "PATH": "/usr/bin:/bin", "HOME": "/tmp"},
        )  # fmt: skip

    def ask(self, *words):
        """What the process answers."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("answer:"):
                return json.loads(line.removeprefix("answer:"))
        raise RuntimeError("the other library's process has ended")

    def close(self) -> None:
        """Let the process end, and wait for that."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
