import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from experiments.report.fake import HOSTILE, fake_comparison, fake_graph

from sparring.experiments.report import write_report


class Page(HTMLParser):
    """What a browser would make of a page: its elements, scripts, and text by section."""

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.text: dict[str, str] = {"": ""}
        self.section, self.inside = "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "section":
            self.section = dict(attrs)["id"]
            self.text[self.section] = ""

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)
        elif self.inside != "style":
            self.text[self.section] += data

    def attribute(self, name: str) -> list[str]:
        """All values of an attribute, in order."""
        return [attrs[name] for _, attrs in self.elements if name in attrs]

    def figures(self) -> dict:
        """The figures' JSON, refused where it has NaN or infinities."""
        found = re.search(r'id="figures">(.*?)</script>', self.html, re.DOTALL)
        assert found, "the page holds no figures"
        return json.loads(found[1], parse_constant=_refuse)


def _refuse(constant):
    raise AssertionError(f"{constant} among the figures")


@pytest.fixture
def page_of(tmp_path) -> Callable[..., Page]:
    """The page of a small comparison; see `fake_comparison`."""

    def make(*, labels=("Uniform", "Bernoulli"), seeds=(0, 1), **options) -> Page:
        folder = tmp_path / f"page {len(list(tmp_path.iterdir()))}"
        return _page(folder, labels=labels, seeds=seeds, **options)

    return make


@pytest.fixture(scope="session")
def usual(tmp_path_factory) -> Page:
    """The page of four variants and three seeds, with all records."""
    return _page(tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Page:
    """The page of a graph and of variants whose names would do harm."""
    names = [f"{HOSTILE[i % 3]} {i}" for i in range(30)]
    graph = fake_graph(entities=names, relations=names[:20])
    return _page(tmp_path_factory.mktemp("hostile"), graph=graph, labels=HOSTILE, seeds=(0,))


def _page(folder: Path, **options) -> Page:
    path = folder / "out" / "report.html"
    write_report(fake_comparison(folder / "runs", **options), path)
    return Page(path.read_text(encoding="utf-8"))
