"""Time zones: where, how far from UTC, when clocks change, the name of the time (IANA, CLDR)."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from babel import Locale
from babel.core import get_global

from atlas import sources
from atlas.atlas import Atlas

YEAR = 2025


def add_zones(atlas: Atlas, english: Locale) -> None:
    """Adds every zone that the IANA table lists for a territory."""
    table = sources.path("tzdata", "tzdata/zoneinfo/zone.tab").read_text(encoding="utf-8")
    for line in table.splitlines():
        if not line.startswith("#"):
            territory, _, name = line.split("\t")[:3]
            _add_zone(atlas, english, name, f"territory:{territory}")


def _add_zone(atlas: Atlas, english: Locale, name: str, territory: str) -> None:
    zone = atlas.name(f"zone:{name}", name.replace("_", " "))
    atlas.add(zone, "zone_territory", territory)
    with sources.path("tzdata", f"tzdata/zoneinfo/{name}").open("rb") as file:
        clock = ZoneInfo.from_file(file, key=name)
    january, july = (_offset(clock, date(YEAR, month, 15)) for month in (1, 7))
    offset = _text(min(january, july))
    atlas.add(zone, "utc_offset", atlas.name(f"offset:{offset}", f"UTC{offset}"))
    if january != july:  # not so where only the fasting month has its own time
        days = " and ".join(_changes(clock))
        atlas.add(zone, "summer_time", atlas.name(f"clock_changes:{days.replace(' ', '-')}", days))
    cldr_name = get_global("zone_aliases").get(name, name)
    if meta := get_global("meta_zones").get(cldr_name):
        long = english.meta_zones.get(meta, {}).get("long", {})
        if label := long.get("generic") or long.get("standard"):
            atlas.name(f"time_name:{meta}", label, f"{label} ({meta})")
            atlas.add(zone, "time_name", f"time_name:{meta}")


def _offset(clock: ZoneInfo, day: date) -> timedelta:
    """The difference to UTC at noon."""
    return clock.utcoffset(datetime.combine(day, time(12))) or timedelta()


def _changes(clock: ZoneInfo) -> list[str]:
    """Days of the year before whose noon, but after the noon before, the clocks change."""
    days = [date(YEAR, 1, 1) + timedelta(days=n) for n in range(365)]
    offsets = [_offset(clock, day) for day in days]
    return [f"{day:%-d %B}" for day, a, b in zip(days[1:], offsets, offsets[1:]) if a != b]


def _text(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
