import pytest

from sparring.experiments.report.figures import MARKS, band, colour, outline, size, symbol


def test_colour_and_mark_together_tell_56_variants_apart():
    assert len({(colour(place), symbol(place)) for place in range(56)}) == 56


def test_a_band_has_the_colour_of_its_variant():
    assert [band(9), colour(9)] == ["var(--v1-band)", "var(--v1)"]


@pytest.mark.parametrize("place", range(len(MARKS)))
def test_the_page_draws_the_mark_that_the_figures_have(place):
    assert (symbol(place), outline(place)) == MARKS[place]


def test_triangles_are_drawn_larger_to_look_equally_large():
    assert [size(place, 10) for place in (0, 3)] == [10.0, 13.0]
