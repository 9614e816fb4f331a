import subprocess
import sys
from importlib.metadata import version

import pytest

COMMANDS = ("run", "compare", "evaluate", "export", "audit", "check", "predict", "data", "list")


def test_the_version_is_told(command):
    assert command("--version").stdout == f"sparring {version('sparring')}\n"


def test_without_a_command_there_is_help(command):
    assert "Train knowledge graph completion models" in command().output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(command, name):
    told = command(name, "--help")
    assert told.exit_code == 0 and f"sparring {name}" in told.stdout.replace("root ", "sparring ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(command, name):
    assert max(map(len, command(name, "--help").stdout.splitlines())) <= 80


def test_help_tells_exit_codes(command):
    assert "130 stopped by Ctrl-C" in command("--help").stdout


def test_the_command_line_starts_without_pytorch():
    code = "import sys, sparring.experiments.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_command_is_misuse(command):
    told = command("trian")
    assert told.exit_code == 2 and "No such command 'trian'" in told.stderr


def test_a_mistake_in_a_file_is_misuse_in_one_line(command, write, tables):
    path = write({**tables, "model": {"name": "distmlt"}})
    told = command("run", path)
    assert told.exit_code == 2
    assert told.stderr == (
        f"error: {path}: [model] unknown name 'distmlt'; did you mean 'distmult'?\n"
    )


def test_a_graph_that_cannot_be_read_is_a_failure_in_one_line(command, write, tables):
    told = command("run", write({**tables, "graph": {"path": "nowhere"}}))
    assert told.exit_code == 1
    assert told.stderr.startswith("error: ") and told.stderr.count("\n") == 1


def test_a_folder_without_a_run_is_a_failure_in_one_line(command, tmp_path):
    told = command("evaluate", tmp_path)
    assert (told.exit_code, told.stderr) == (
        1,
        f"error: {tmp_path} is not the folder of a run: it has no config.json\n",
    )


def test_a_missing_checkpoint_is_a_failure_in_one_line(command, finished):
    (finished.folder / "best.json").unlink()
    (finished.folder / "last.json").unlink()
    told = command("evaluate", finished.folder)
    assert (told.exit_code, told.stderr) == (
        1,
        f"error: there is no checkpoint {finished.folder / 'last.json'}\n",
    )


def test_an_altered_checkpoint_is_a_failure_in_one_line(command, finished):
    best = finished.folder / "best.json"
    best.write_text(best.read_text().replace('"format": 1', '"format": 2'))
    told = command("evaluate", finished.folder)
    assert (told.exit_code, told.stderr) == (
        1,
        f"error: {best} was altered; delete it to start over\n",
    )


def test_an_unknown_entity_is_a_failure_in_one_line(command, finished):
    told = command("predict", finished.folder, "--head", "e99", "--relation", "next")
    assert told.exit_code == 1
    assert told.stderr.startswith("error: question: unknown entity 'e99'; did you mean")


def test_divergence_is_a_failure_in_one_line(command, write, tables):
    told = command("run", write(tables), "--quiet", "--set", "optimizer.lr=1e30")
    assert told.exit_code == 1
    assert "Lower the learning rate" in told.stderr and told.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_a_failure_in_one_line(command, write, tables, tmp_path):
    (tmp_path / "file").write_text("")
    told = command("run", write(tables), "--quiet", "--folder", tmp_path / "file" / "run")
    assert (told.exit_code, told.stderr) == (
        1,
        f"error: {tmp_path / 'file' / 'run'}: Not a directory\n",
    )


@pytest.mark.parametrize("place", [0, 2])
def test_the_traceback_is_for_those_who_ask(command, tmp_path, place):
    words = ["evaluate", str(tmp_path)]
    told = command(*words[:place], "--debug", *words[place:])
    assert type(told.exception).__name__ == "RunError"


def test_a_mistake_of_the_library_is_never_hidden(command, finished, monkeypatch):
    def broken(*args, **options):
        raise KeyError("a mistake")

    monkeypatch.setattr("sparring.experiments.run.judge", broken)
    assert isinstance(command("evaluate", finished.folder).exception, KeyError)


def test_an_interrupt_ends_any_command(command, finished, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sparring.experiments.run.judge", interrupted)
    told = command("evaluate", finished.folder)
    assert (told.exit_code, told.stderr) == (130, "stopped\n")


def test_a_closed_pipe_is_no_failure_of_ours(command, finished, monkeypatch):
    def closed(*args, **options):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("sparring.experiments.run.judge", closed)
    assert command("evaluate", finished.folder).stderr == ""
