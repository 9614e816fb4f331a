"""Text that is safe to show."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.printing import CONTROL, cell, html_table, printable, to_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    "text, shown",
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\tb\nc", r"a\x09b\x0ac"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2066", r"a\u202eb\u2066"),
        ("Zoë \u200d \U0001f600", "Zoë \u200d \U0001f600"),  # joiners belong to scripts
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert printable(text) == shown


def test_some_can_stay():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@given(TEXTS)
def test_none_is_left(text):
    assert not CONTROL.search(printable(text))
    assert CONTROL.search(text) or printable(text) == text


@given(TEXTS)
def test_json_loses_nothing(text):
    written = to_json({"name": text})
    assert json.loads(written) == {"name": text}
    assert not CONTROL.search(written.replace("\n", ""))


def test_numbers_that_are_not_finite_can_be_refused():
    assert to_json(float("inf")) == "Infinity"
    with pytest.raises(ValueError):
        to_json(float("inf"), allow_nan=False)


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "-", "-->", "=", "+49 30"])
def test_a_formula_is_no_formula_in_a_cell(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+4.5e-3", "a=1", "", "e-mail", "'=1"])
def test_other_texts_are_cells_as_they_are(text):
    assert cell(text) == text


def test_a_table_for_a_notebook_escapes_names_and_aligns_numbers():
    shown = html_table(["name", "n"], [["<b>\x1b", "1"]], [True, False])
    assert "&lt;b&gt;\\x1b" in shown and "<b>" not in shown
    assert '<td style="text-align: right">1</td>' in shown
    assert shown.startswith('<div style="overflow-x: auto">')
