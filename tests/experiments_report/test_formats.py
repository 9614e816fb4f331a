import pytest

from sparring.experiments.report.records import (
    between,
    count,
    duration,
    percent,
    score,
    signed,
    span,
)


def spaced(text):
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    "value, text", [(0.3456, "0.346"), (1.0, "1.000"), (-0.02, "\N{MINUS SIGN}0.020")]
)
def test_scores(value, text):
    assert score(value) == text


@pytest.mark.parametrize(
    "value, text",
    [(0.0214, "+0.021"), (-0.0214, "\N{MINUS SIGN}0.021"), (0.0004, "0.000"), (-0.0004, "0.000")],
)
def test_differences(value, text):
    assert signed(value) == text


def test_intervals():
    assert between(-0.003, 0.0101) == "\N{MINUS SIGN}0.003 to +0.010"


@pytest.mark.parametrize("value, text", [(7, "7"), (12345.4, "12 345"), (1e6, "1 000 000")])
def test_counts(value, text):
    assert spaced(count(value)) == text


@pytest.mark.parametrize(
    "share, text",
    [(0.5, "50 %"), (0.0123, "1.2 %"), (0.00123, "0.12 %"), (0.000123, "0.012 %"), (0.0, "0 %")],
)
def test_shares(share, text):
    assert spaced(percent(share)) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (3.14, "3.1 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (600, "10 min"),
        (3590, "1 h 0 min"),
        (4320, "1 h 12 min"),
    ],
)
def test_durations(seconds, text):
    assert spaced(duration(seconds)) == text


@pytest.mark.parametrize("values, text", [([5, 5], "5"), ([12, 8, 10], "8\N{EN DASH}12")])
def test_spans(values, text):
    assert span(values) == text
