import re
from importlib.resources import files

import pytest

CSS = files("sparring.experiments.report").joinpath("page.css").read_text()
LIGHT, DARK = re.findall(r":root[^{]*\{(.*?)\}", CSS, re.DOTALL)[:2]


def variables(block):
    return dict(re.findall(r"(--[\w-]+):\s*([^;]+);", block))


def colours(block):
    return {name: value for name, value in variables(block).items() if value.startswith("#")}


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_both_themes_have_the_same_colours():
    assert set(colours(LIGHT)) == set(colours(DARK))


def test_every_colour_of_a_figure_is_a_colour_of_the_page(usual):
    used = set(re.findall(r"var\((--[\w-]+)\)", str(usual.figures())))
    assert used <= set(variables(LIGHT))


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["--card", "--page", "--sunk"])
@pytest.mark.parametrize("text", ["--ink", "--soft", "--faint"])
def test_text_can_be_read(block, ground, text):
    found = colours(block)
    assert contrast(found[text], found[ground]) >= 4.5  # WCAG 2.2, level AA


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("text", ["--good", "--bad", "--accent"])
def test_coloured_text_can_be_read(block, text):
    found = colours(block)
    assert contrast(found[text], found["--card"]) >= 4.5


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
def test_withheld_facts_can_be_read(block):
    found = colours(block)
    assert contrast(found["--withheld"], found["--withheld-fill"]) >= 4.5


@pytest.mark.parametrize("block", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("variant", range(8))
def test_marks_stand_out(block, variant):
    found = colours(block)
    assert contrast(found[f"--v{variant}"], found["--card"]) >= 3  # the same, for graphics
