"""Is the house in order? Sizes, names, documentation, messages."""

import ast
import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest

import sparring

HERE = Path(__file__).parent
ROOT = HERE.parent / "src" / "sparring"
FILES = sorted(ROOT.rglob("*.py"))
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(sparring.__path__, prefix="sparring.")
)
OPTIONAL = {"kge", "pyoxigraph", "pykeen", "torchkge", "torch_geometric"}
VAGUE = {"helper", "helpers", "manager", "misc", "util", "utils"}
HOLE = "\0"  # where an f-string fills something in
FILLED = r"[^\n]{1,40}?"
ENOUGH = 10  # letters of a message that a test must speak of


def name_of(path):
    return str(path.relative_to(ROOT))


def module_of(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in OPTIONAL:
            pytest.skip(f"{error.name} is not installed")
        raise


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) < 400


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_shapes_in_signatures_can_be_checked(path):
    """Annotations that are kept as text are not."""
    assert "from __future__ import annotations" not in path.read_text()


def test_no_name_is_vague():
    assert not VAGUE & {path.stem for path in FILES}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name):
    module_of(name)


def public(name):
    """Public classes and functions of a module, and public methods of these classes."""
    for label, item in vars(module_of(name)).items():
        if label.startswith("_") or getattr(item, "__module__", None) != name:
            continue
        if inspect.isclass(item):
            yield label, item
            for part, value in vars(item).items():
                kinds = (property, classmethod, staticmethod)
                if inspect.isfunction(value) and value.__module__ != name:
                    continue  # PyTorch Geometric writes methods into classes
                if not part.startswith("_") and (inspect.isfunction(value) or type(value) in kinds):
                    yield f"{label}.{part}", getattr(item, part)
        elif inspect.isfunction(item):
            yield label, item


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_is_documented(name):
    """An override may keep the words of what it overrides."""
    silent = [label for label, item in public(name) if not inspect.getdoc(item)]
    assert not silent


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_says_what_it_holds(path):
    tree = ast.parse(path.read_text())
    only_names = all(
        isinstance(node, ast.Import | ast.ImportFrom | ast.Assign) for node in tree.body
    )
    assert ast.get_docstring(tree) or only_names


def test_nothing_is_printed_outside_the_command_line():
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in FILES
        if path.relative_to(ROOT).parts[:1] != ("experiments",)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert not wrong


@cache
def spoken_in_tests():
    """All strings in tests, where a message may be matched."""
    return "\n".join(
        node.value.replace("\\", "")
        for path in sorted(HERE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def template(message):
    """The words of a message as patterns: whatever is filled in may be a few words."""
    if isinstance(message, ast.Constant):
        text = str(message.value)
    elif isinstance(message, ast.JoinedStr):
        parts = [getattr(part, "value", HOLE) for part in message.values]
        text = "".join(part if isinstance(part, str) else HOLE for part in parts)
    else:
        text = HOLE
    return [re.escape(word).replace(HOLE, FILLED) for word in text.replace("\\", "").split()]


def raised(path):
    """Line and words of every error raised with a message of its own."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            words = template(node.exc.args[0])
            if any(word != FILLED for word in words):
                yield node.lineno, words


def is_spoken(words, said):
    """Does some stretch of the message, long enough to tell it from others, occur?"""
    for start in range(len(words)):
        for stop in range(start + 1, len(words) + 1):
            fixed = "".join(words[start:stop]).replace(FILLED, "")
            if len(fixed) >= min(ENOUGH, len("".join(words).replace(FILLED, ""))):
                if re.search(r"\s".join(words[start:stop]), said):
                    return True
                break
    return False


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_error_message_is_reached_by_a_test(path):
    """Some stretch of each message must occur in a string of some test."""
    said = spoken_in_tests()
    unreached = [
        f"line {line}: {' '.join(words)}"
        for line, words in raised(path)
        if not is_spoken(words, said)
    ]
    assert not unreached
