"""Languages and scripts: writing, digits, plurals (CLDR)."""

from babel import Locale
from babel.core import get_global
from babel.localedata import locale_identifiers

from atlas import sources
from atlas.atlas import Atlas

HAN = {"Hans": "Simplified Han", "Hant": "Traditional Han"}
DIRECTIONS = {"ltr": "left to right", "rtl": "right to left", "ttb": "top to bottom"}


def add_languages(atlas: Atlas, english: Locale) -> None:
    """Names languages and scripts, and adds what the CLDR says of them."""
    for code, label in english.languages.items():
        if "_" not in code:
            atlas.name(f"language:{code}", label, f"{label} (language)")
    for code, label in {**english.scripts, **HAN}.items():
        atlas.name(f"script:{code}", f"{label} script")
    for entry in sources.xml("supplementalData.xml").iterfind("languageData/language"):
        for script in (entry.get("scripts") or "").split():
            atlas.add(f"language:{entry.get('type')}", "written_in", f"script:{script}")
    for match in sources.xml("languageInfo.xml").iterfind(".//languageMatch"):
        wanted, given = match.get("desired"), match.get("supported")
        if wanted != given and wanted.isalpha() and given.isalpha():
            atlas.add(f"language:{wanted}", "falls_back_to", f"language:{given}")
    for identifier in sorted(locale_identifiers()):
        if "_" not in identifier and identifier != "root":
            _of_locale(atlas, Locale.parse(identifier))


def _of_locale(atlas: Atlas, locale: Locale) -> None:
    """Reads plurals and digits off the locale that is named by a language alone."""
    language = f"language:{locale.language}"
    for tag in locale.plural_form.tags:
        atlas.name(f"cardinal_plural:{tag}", f"{tag} (cardinal plural)")
        atlas.add(language, "cardinal_plural", f"cardinal_plural:{tag}")
    for tag in locale.ordinal_form.tags:
        atlas.name(f"ordinal_plural:{tag}", f"{tag} (ordinal plural)")
        atlas.add(language, "ordinal_plural", f"ordinal_plural:{tag}")
    native = locale.other_numbering_systems.get("native", "latn")
    if native != "latn":
        atlas.add(language, "native_digits", f"digits:{native}")
    if likely := _likely_script(locale):
        direction = locale.text_direction
        atlas.name(f"direction:{direction}", DIRECTIONS[direction])
        atlas.add(f"script:{likely}", "direction", f"direction:{direction}")


def _likely_script(locale: Locale) -> str | None:
    likely = get_global("likely_subtags").get(locale.language)
    return likely.split("_")[1] if likely else None
