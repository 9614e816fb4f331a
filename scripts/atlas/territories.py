"""Territories: regions, languages, money, weeks, clocks, calendars and paper (CLDR, GeoNames)."""

from collections import defaultdict
from datetime import date

from babel import Locale

from atlas import sources
from atlas.atlas import Atlas

AS_OF = "2025-07-01"  # currencies in use on this day are current, earlier ones former
UNIONS = ("EU", "UN")
# regions that overlap others, and the eurozone, which lacks Croatia
LEFT_OUT = ("202", "003", "419", "EZ")
WIDELY_SPOKEN = 1.0  # percent of the population
CALENDARS = {
    "chinese": "Chinese calendar",
    "islamic": "Hijri calendar",
    "islamic-civil": "Hijri calendar (tabular)",
    "islamic-umalqura": "Hijri calendar (Umm al-Qura)",
    "persian": "Persian calendar",
}
DAYS = {"mon": "Monday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday"}


def add_territories(atlas: Atlas, english: Locale) -> list[str]:
    """Adds what the CLDR says of territories; returns their codes."""
    cldr = sources.xml("supplementalData.xml")
    codes = _containment(atlas, english, cldr)
    _borders(atlas)
    _habits(atlas, cldr, codes)
    for territory in cldr.iterfind("territoryInfo/territory"):
        _languages(atlas, territory)
    for region in cldr.iterfind("currencyData/region"):
        _currencies(atlas, region)
    _currency_names(atlas, english)
    return codes


def _containment(atlas: Atlas, english: Locale, cldr) -> list[str]:
    """Names territories and regions, and says which lies in which."""
    groups = {
        group.get("type"): group.get("contains").split()
        for group in cldr.iterfind("territoryContainment/group")
        if group.get("status") is None and group.get("type") not in LEFT_OUT
    }
    codes = sorted({c for inner in groups.values() for c in inner if c not in groups})
    for code in codes:
        atlas.name(f"territory:{code}", english.territories[code])
    for code, inner in groups.items():
        name = english.territories[code]
        region = atlas.name(f"region:{code}", name, f"{name} (region)")
        relation = "member_of" if code in UNIONS else "part_of"
        for part in inner:
            kind = "region" if part in groups else "territory"
            atlas.add(f"{kind}:{part}", relation, region)
    return codes


def _borders(atlas: Atlas) -> None:
    for country in sources.geonames("countries.json"):
        for neighbour in filter(None, country["neighbours"].split(",")):
            atlas.add(f"territory:{country['iso']}", "borders", f"territory:{neighbour}")
            atlas.add(f"territory:{neighbour}", "borders", f"territory:{country['iso']}")


def _habits(atlas: Atlas, cldr, codes: list[str]) -> None:
    """Only what the CLDR says of the territory itself; but all without US Letter print on A4."""
    for day in cldr.iterfind("weekData/firstDay"):
        if day.get("alt") is None:
            start = atlas.name(f"weekday:{day.get('day')}", DAYS[day.get("day")])
            for code in day.get("territories").split():
                atlas.add(f"territory:{code}", "week_starts_on", start)
    clocks = {"H": ("clock:24", "24-hour clock"), "h": ("clock:12", "12-hour clock")}
    for hours in cldr.iterfind("timeData/hours"):
        clock = atlas.name(*clocks[hours.get("preferred")])
        for code in hours.get("regions").split():
            atlas.add(f"territory:{code}", "clock", clock)
    letter = cldr.find("measurementData/paperSize[@type='US-Letter']").get("territories").split()
    for code in codes:
        size = ("paper_size:letter", "US Letter") if code in letter else ("paper_size:a4", "A4")
        atlas.add(f"territory:{code}", "paper_size", atlas.name(*size))
    for preference in cldr.iterfind("calendarPreferenceData/calendarPreference"):
        for calendar in preference.get("ordering").split():
            if calendar in CALENDARS:
                atlas.name(f"calendar:{calendar}", CALENDARS[calendar])
                for code in preference.get("territories").split():
                    atlas.add(f"territory:{code}", "calendar", f"calendar:{calendar}")


def _languages(atlas: Atlas, territory) -> None:
    """One relation per pair: official, else regionally official, else widely spoken."""
    status: dict[str, set[str]] = defaultdict(set)
    for spoken in territory.iterfind("languagePopulation"):
        language = "language:" + spoken.get("type").split("_")[0]
        if official := spoken.get("officialStatus"):
            status[language].add(
                "regional_language" if official == "official_regional" else "official_language"
            )
        elif float(spoken.get("populationPercent")) >= WIDELY_SPOKEN:
            status[language].add("spoken_language")
    for language, found in status.items():
        atlas.add(f"territory:{territory.get('type')}", min(found, key=_rank), language)


def _rank(relation: str) -> int:
    return ("official_language", "regional_language", "spoken_language").index(relation)


def _currencies(atlas: Atlas, region) -> None:
    """Current and former tender; the one that began nearest to another's end replaced it."""
    territory = f"territory:{region.get('iso3166')}"
    tender = [
        (c.get("from", ""), c.get("to", "9999"), f"currency:{c.get('iso4217')}")
        for c in region.iterfind("currency")
        if c.get("tender") != "false" and c.get("from", "") <= AS_OF
    ]
    current = {currency for _, end, currency in tender if end > AS_OF}
    for start, end, currency in tender:
        if currency in current:
            atlas.add(territory, "currency", currency)
            continue
        atlas.add(territory, "former_currency", currency)
        later = [(s, c) for s, e, c in tender if s > start and e > end and c != currency]
        if later:
            _, successor = min(later, key=lambda found: _days_between(found[0], end))
            atlas.add(currency, "replaced_by", successor)


def _days_between(a: str, b: str) -> int:
    return abs((date.fromisoformat(a) - date.fromisoformat(b)).days)


def _currency_names(atlas: Atlas, english: Locale) -> None:
    """The unit is the last word of the name: Swiss Franc, Comorian Franc."""
    for code, label in english.currencies.items():
        currency = atlas.name(f"currency:{code}", label)
        unit = label.split(" (")[0].split()[-1].title()
        kind = atlas.name(f"currency_unit:{unit.lower()}", f"{unit} (unit)")
        if unit.isalpha():
            atlas.add(currency, "currency_unit", kind)
