"""The names that `import sparring` gives, and what importing it costs."""

import subprocess
import sys

import pytest

import sparring


def python(code):
    """Run code in a new interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_loads_nothing_heavy():
    heavy = (
        "[name for name in ('torch', 'numpy', 'polars', 'numba', 'typer') if name in sys.modules]"
    )
    assert python(f"import sys, sparring; sparring.__version__; print({heavy})") == "[]"


def test_the_command_line_starts_without_pytorch():
    code = "import sys, sparring.experiments.cli; print('torch' in sys.modules)"
    assert python(code) == "False"


@pytest.mark.parametrize("name", sparring.__all__)
def test_every_public_name_is_there(name):
    assert getattr(sparring, name) is not None


def test_public_names_are_complete():
    assert set(sparring.__all__) == {*sparring.HOMES, *sparring.ROOMS, "__version__"}
    assert dir(sparring) == sorted(sparring.__all__)


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="module 'sparring' has no attribute 'nothing'"):
        sparring.nothing  # noqa: B018


def test_python_dash_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "sparring", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"sparring {sparring.__version__}\n"
