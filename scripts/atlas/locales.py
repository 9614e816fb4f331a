"""Locales: a language as written in a territory, with its formats (CLDR)."""

import re
import unicodedata

from babel import Locale
from babel.core import get_global
from babel.localedata import locale_identifiers

from atlas.atlas import Atlas

WELL_TRANSLATED = 100  # territories that a language must name: others only inherit formats
PARTS = {"d": "day", "M": "month", "y": "year"}
SIGNS = {"decimal": "decimal sign", "group": "grouping sign"}
MONEY = {"¤": "currency", " ": "space", "1": "amount"}
DIGITS = {"latn": "Western digits", "arab": "Arabic-Indic digits"}
DIGITS |= {"arabext": "Extended Arabic-Indic digits", "hanidec": "Chinese decimal digits"}


def add_locales(atlas: Atlas, english: Locale) -> None:
    """Adds the locales of well translated languages, and how they write numbers and dates."""
    for identifier in sorted(locale_identifiers()):
        locale = Locale.parse(identifier)
        if locale.territory and locale.english_name and _translated(locale):
            _formats(atlas, locale, _named(atlas, locale))
    for child, parent in get_global("parent_exceptions").items():
        if parent != "root":
            atlas.add(_key(child), "parent_locale", _key(parent))
    for code, label in DIGITS.items():
        atlas.name(f"digits:{code}", label)
    for code, label in english.scripts.items():
        atlas.name(f"digits:{code.lower()}", f"{label} digits")


def _translated(locale: Locale) -> bool:
    return len(Locale.parse(locale.language).territories) >= WELL_TRANSLATED


def _key(identifier: str) -> str:
    return "locale:" + identifier.replace("_", "-")


def _named(atlas: Atlas, locale: Locale) -> str:
    key = atlas.name(_key(str(locale)), locale.english_name)
    territory = "territory" if locale.territory.isalpha() else "region"
    atlas.add(key, "locale_language", f"language:{locale.language}")
    atlas.add(key, "locale_territory", f"{territory}:{locale.territory}")
    return key


def _formats(atlas: Atlas, locale: Locale, key: str) -> None:
    pattern = re.sub("'[^']*'", "", locale.date_formats["short"].pattern)
    order = "".join(dict.fromkeys(c for c in pattern if c in PARTS))
    date = atlas.name(f"date_order:{order.lower()}", ", ".join(PARTS[c] for c in order))
    atlas.add(key, "date_order", date)
    digits = locale.default_numbering_system
    atlas.add(key, "locale_digits", f"digits:{digits}")
    symbols = locale.number_symbols[digits]
    for symbol, sign_name in SIGNS.items():
        if sign := symbols.get(symbol):
            name = unicodedata.name(sign).lower()
            relation = sign_name.replace(" ", "_")
            entity = f"{relation}:{name.replace(' ', '-')}"
            atlas.add(key, relation, atlas.name(entity, f"{name} ({sign_name})"))
    position = _position(locale.currency_formats["standard"].pattern)
    label = ", ".join(MONEY[c] for c in position)
    money = atlas.name(f"money_format:{label.replace(', ', '-')}", label)
    atlas.add(key, "currency_position", money)


def _position(pattern: str) -> str:
    """Where the currency stands: "¤ 1" is before the amount, with a space."""
    positive = re.sub("[\u200e\u200f\u061c]", "", pattern).split(";")[0]
    return re.sub(r"[\s\u00a0\u202f]+", " ", re.sub("[#0,.]+", "1", positive))
