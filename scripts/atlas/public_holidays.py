"""Public holidays of territories, by their English names (holidays)."""

from datetime import date

import holidays

from atlas.atlas import Atlas, slug

YEARS = (2023, 2024, 2025)  # a holiday counts if it is kept in all of them
SHARED = 3  # territories that must have a holiday
UNNAMED = {"Day off"}
SAME = {
    "Assumption of Mary": "Assumption Day",
    "Boxing day": "Boxing Day",
    "Catholic Christmas Day": "Christmas Day",
    "Chinese New Year": "Lunar New Year",
    "Christmas": "Christmas Day",
    "Easter": "Easter Sunday",
    "Easter Saturday": "Holy Saturday",
    "Eid al-Adha Holiday": "Eid al-Adha",
    "Eid al-Fitr Holiday": "Eid al-Fitr",
    "Feast of the Assumption": "Assumption Day",
    "Heroes' Day": "National Heroes Day",
    "Islamic New Year Day": "Islamic New Year",
    "Labour Day": "Labor Day",
    "National Heroes' Day": "National Heroes Day",
    "National Independence Day": "Independence Day",
    "Spring Festival": "Lunar New Year",
    "Whit Monday": "Pentecost Monday",
    "Whit Sunday": "Pentecost",
}
DATED = {(5, 1): ("Labo", "Work", "May Day"), (3, 8): ("Women",)}
INTERNATIONAL = {(5, 1): "International Workers' Day", (3, 8): "International Women's Day"}


def add_holidays(atlas: Atlas, codes: list[str]) -> None:
    """Adds the nation-wide holidays that several territories share."""
    supported = holidays.list_supported_countries()
    found: dict[str, list[str]] = {}
    for code in codes:
        if code in supported:
            for name in set.intersection(*(_of_year(code, year) for year in YEARS)):
                found.setdefault(name, []).append(code)
    for name, where in sorted(found.items()):
        if len(where) >= SHARED:
            holiday = atlas.name(f"holiday:{slug(name)}", name, f"{name} (holiday)")
            for code in where:
                atlas.add(f"territory:{code}", "holiday", holiday)


def _of_year(code: str, year: int) -> set[str]:
    english = "en_US" in holidays.list_localized_countries().get(code, ())
    language = "en_US" if english else None
    dates = holidays.country_holidays(code, years=year, language=language, observed=False)
    return {_plain(name, day) for day in dates for name in dates.get_list(day)} - UNNAMED


def _plain(name: str, day: date) -> str:
    """The name without remarks in brackets; what is the same everywhere has one name."""
    name = name.split(" (")[0].strip()
    on = (day.month, day.day)
    if any(word in name for word in DATED.get(on, ())):
        return INTERNATIONAL[on]
    return SAME.get(name, name)
