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
    result = command(name, "--help")
    assert result.exit_code == 0 and f"sparring {name}" in result.stdout.replace(
        "root ", "sparring "
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(command, name):
    assert max(map(len, command(name, "--help").stdout.splitlines())) <= 80


def test_help_tells_exit_codes(command):
    assert "130 stopped by Ctrl-C" in command("--help").stdout


def test_the_command_line_starts_without_pytorch():
    code = "import sys, sparring.experiments.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_command_is_misuse(command):
    result = command("trian")
    assert result.exit_code == 2 and "No such command 'trian'" in result.stderr
