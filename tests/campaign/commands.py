"""Runs `sparring` commands in forked processes, which start at once and can be killed or limited.

The server is a process of its own: it imports everything, and never uses Polars, whose threads do
not outlive a fork.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HUNG = "hung"


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        code: exit code; negative for a signal, "hung" if it had to be stopped.
        said: standard output and error.
        seconds: the time it took.
    """

    code: int | str
    said: str
    seconds: float

    def fault(self) -> str:
        """What must not happen, whatever was asked for; empty if it did not."""
        if self.code == HUNG:
            return f"no end after {self.seconds:.0f} s"
        if "Traceback (most recent call last)" in self.said:
            return f"traceback: {self.said.strip().splitlines()[-1][:200]}"
        return "" if self.code in (0, 1, 2) else f"exit code {self.code}"


class Server:
    """Answers requests for commands, one at a time or several at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *words: Any, **options: Any) -> Done:
        """Run `sparring` with these words.

        Args:
            options: `kill_after` seconds; `file_size` and `memory` in bytes, at most; `timeout`.
        """
        return self.together([(words, options)])[0]

    def together(self, commands: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[Done]:
        """Run several commands at the same time."""
        asked = [{"words": [str(w) for w in words], **options} for words, options in commands]
        pipes = self.process.stdin, self.process.stdout
        assert pipes[0] is not None and pipes[1] is not None
        pipes[0].write(json.dumps({"folder": str(self.folder), "commands": asked}) + "\n")
        pipes[0].flush()
        return [Done(**answer) for answer in json.loads(pipes[1].readline())]

    def close(self) -> None:
        """End the server."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve() -> None:
    """Answer requests on standard input until it ends."""
    import torch.utils.tensorboard.writer  # noqa: F401  (so that no child has to)

    import sparring.experiments.environment
    import sparring.experiments.run  # noqa: F401

    sparring.experiments.environment._commit = lambda: None  # asks git each time
    for request in sys.stdin:
        asked = json.loads(request)
        folder = Path(asked["folder"])
        children = [
            start(command, folder / f"said-{i}") for i, command in enumerate(asked["commands"])
        ]
        answers = [
            wait(child, command, folder / f"said-{i}")
            for i, (child, command) in enumerate(zip(children, asked["commands"]))
        ]
        print(json.dumps(answers), flush=True)


def start(command: dict[str, Any], said: Path) -> int:
    """Fork a process that runs a command."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1), os.dup2(output, 2), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(said.parent)
        if size := command.get("file_size"):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        if size := command.get("memory"):
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
        code = run(command["words"])
    finally:
        os._exit(code)


def run(words: list[str]) -> int:
    """The exit code of a command in this process; prints the traceback of what escapes."""
    import traceback

    from sparring.experiments import console
    from sparring.experiments.cli import app

    console.out.file, console.err.file = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.stdout, sys.stderr = console.out.file, console.err.file
    code = 0
    try:
        app(words)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        code = 70
        traceback.print_exc()
    for file in (console.out.file, console.err.file):
        file.flush()
    return code


def wait(child: int, command: dict[str, Any], said: Path) -> dict[str, Any]:
    """The answer about a child, which is killed when its time is over."""
    begun = time.monotonic()
    limit = command.get("kill_after") or command.get("timeout", 120)
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - begun
        if pid:
            code: int | str = os.waitstatus_to_exitcode(status)
            break
        if seconds > limit:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            code = -9 if command.get("kill_after") else HUNG
            break
        time.sleep(0.002)
    return {"code": code, "said": said.read_text(errors="replace"), "seconds": seconds}


if __name__ == "__main__":
    serve()
