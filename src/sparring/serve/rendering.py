"""Templates and assets, read once; no path from a request reaches the disk."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from sparring.printing import printable

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """A file that pages refer to."""

    body: bytes
    media_type: str


class Pages:
    """Renders the templates of this package. All values are escaped.

    Attributes:
        assets: style sheet, scripts and images by file name.
    """

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("sparring.serve", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "shown": printable,
            "percent": percent,
            "short": short,
            "fixed": lambda value, digits: f"{value:.{digits}f}",
        }
        self._environment.globals |= {"link": link}
        self.assets = {
            file.name: Asset(file.read_bytes(), MEDIA_TYPES[file.name.rpartition(".")[2]])
            for file in files("sparring.serve").joinpath("static").iterdir()
            if file.name.rpartition(".")[2] in MEDIA_TYPES
        }

    def render(self, page: str, **values: Any) -> str:
        """The HTML of a page."""
        return self._environment.get_template(f"{page}.html").render(page=page, **values)


def percent(share: float | None) -> str:
    """A share as people read it; nothing for None."""
    if share is None:
        return "n/a"
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    if share < 0.001:
        return "< 0.1 %"
    if share > 0.999:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def short(text: str, most: int = 24) -> str:
    """The text, cut where it is longer."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def link(path: str, **query: Any) -> str:
    """A path with a query; parts without a value are left out."""
    return f"{path}?{urlencode({name: value for name, value in query.items() if value})}"
