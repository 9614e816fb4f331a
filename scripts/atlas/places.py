"""Cities, subdivisions and airports (GeoNames, airportsdata)."""

import csv
import math
import unicodedata
from collections import defaultdict

from babel import Locale

from atlas import sources
from atlas.atlas import Atlas

LARGE = 250_000  # people: such a city is in the atlas anyway
SERVED = 100_000  # people: such a city is in the atlas if it has an airport
APART = 15  # kilometres to a city that is OVERSHADOWS times as populous: nearer ones are its parts
OVERSHADOWS = 3
MOVED = 0.06  # degrees by which the two extracts of GeoNames may place a city differently
REACH = 80  # kilometres between an airport and the city that it names
NEARBY = 300  # kilometres to a larger city
NEIGHBOURS = 2


def add_places(atlas: Atlas, english: Locale) -> None:
    """Adds large cities, capitals, airports with the cities they serve, and subdivisions."""
    cities = _cities()
    capitals = _capitals(cities)
    large = [c for c in cities if c["population"] >= SERVED and c["state"]]
    large.sort(key=lambda c: -c["population"])
    pool = [c for c in cities if c["geonameid"] in capitals]
    pool += [c for c in large if c["geonameid"] not in capitals and not _is_part(c, large)]
    pool.sort(key=lambda c: (-c["population"], c["geonameid"]))
    airports = _airports(pool)
    wanted = {city["geonameid"] for _, city in airports} | capitals.keys()
    chosen = [c for c in pool if c["population"] >= LARGE or c["geonameid"] in wanted]
    for city in chosen:
        _name_city(atlas, english, city)
    _near(atlas, chosen)
    for city in chosen:
        if territory := capitals.get(city["geonameid"]):
            atlas.add(f"territory:{territory}", "capital", city["key"])
    states = {(c["countrycode"], _letters(c["state"])): c["state"] for c in chosen}
    for airport, city in airports:
        _add_airport(atlas, airport, city, states)
    for code, state in dict.fromkeys((c["countrycode"], c["state"]) for c in chosen if c["state"]):
        country = english.territories[code]
        labels = (state, f"{state} ({country})", f"{state} (subdivision of {country})")
        atlas.name(_subdivision(code, state), *labels)
        atlas.add(_subdivision(code, state), "subdivision_of", f"territory:{code}")


def _subdivision(code: str, state: str) -> str:
    return f"subdivision:{code}/{state.replace(' ', '_')}"


def _cities() -> list[dict]:
    """GeoNames cities with the name of their subdivision, empty where no extract tells it."""
    named, placed = defaultdict(list), defaultdict(list)
    for place in sources.populated_places():
        if place.get("state"):
            named[place["country_code"], place["city"]].append(place)
            placed[place["latitude"], place["longitude"]].append(place)
    cities = []
    for city in sources.geonames("cities15000.json"):
        same = [p for p in named[city["countrycode"], city["name"]] if _shift(city, p) <= MOVED]
        same += placed[city["latitude"], city["longitude"]]
        nearest = min(same, key=lambda place: _shift(city, place), default={"state": ""})
        cities.append(city | {"state": nearest["state"]})
    return cities


def _shift(a: dict, b: dict) -> float:
    return max(abs(a["latitude"] - b["latitude"]), abs(a["longitude"] - b["longitude"]))


def _is_part(city: dict, large: list[dict]) -> bool:
    """True for the districts and suburbs of a far larger city; the largest come first."""
    for larger in large:
        if larger["population"] < OVERSHADOWS * city["population"]:
            return False
        if _shift(city, larger) < 1 and _distance(city, larger) <= APART:
            return True
    return False


def _capitals(cities: list[dict]) -> dict[int, str]:
    """GeoNames id of a capital -> territory; the most populous city of that name."""
    named = defaultdict(list)
    wanted = {c["iso"]: _letters(c["capital"]) for c in sources.geonames("countries.json")}
    for city in cities:
        if (capital := wanted.get(city["countrycode"])) and capital in _spellings(city):
            exact = _letters(city["name"]) == capital
            named[city["countrycode"]].append((exact, city["population"], city["geonameid"]))
    return {max(found)[2]: code for code, found in named.items()}


def _letters(name: str) -> str:
    """The name without case, accents and punctuation."""
    return "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if c.isalnum())


def _spellings(city: dict) -> set[str]:
    return {_letters(city["name"]), *map(_letters, city["alternatenames"])}


def _airports(pool: list[dict]) -> list[tuple[dict, dict]]:
    """Airports with an IATA code, and the nearby city that each says it serves."""
    spelled = defaultdict(list)
    for city in pool:
        for name in _spellings(city):
            spelled[city["countrycode"], name].append(city)
    with sources.path("airportsdata", "airportsdata/airports.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["iata"]]
    matched = []
    for row in sorted(rows, key=lambda row: row["iata"]):
        here = {"latitude": float(row["lat"]), "longitude": float(row["lon"])}
        name = _letters(row["city"])
        near = [c for c in spelled[row["country"], name] if _distance(here, c) <= REACH]
        if near:
            city = max(near, key=lambda c: (_letters(c["name"]) == name, c["population"]))
            matched.append((row, city))
    return matched


def _distance(a: dict, b: dict) -> float:
    """Kilometres along the great circle."""
    lat_a, lat_b = math.radians(a["latitude"]), math.radians(b["latitude"])
    east = math.radians(a["longitude"] - b["longitude"])
    half = math.sin((lat_a - lat_b) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin(east / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(half))


def _name_city(atlas: Atlas, english: Locale, city: dict) -> None:
    name, code, state = city["name"], city["countrycode"], city["state"]
    country = english.territories[code]
    keys = [f"city:{code}/{name}", f"city:{code}/{name}/{state}"]
    keys = [k.replace(" ", "_") for k in (*keys, f"{keys[1]}/{city['geonameid']}")]
    city["key"] = next(key for key in keys if key not in atlas.names)
    atlas.name(city["key"], name, f"{name} ({state or country})", f"{name} ({state}, {country})")
    atlas.add(city["key"], "subdivision", _subdivision(code, state))
    atlas.add(city["key"], "time_zone", f"zone:{city['timezone']}")


def _near(atlas: Atlas, chosen: list[dict]) -> None:
    """Links each city to the nearest more populous ones; `chosen` starts with the largest."""
    for place, city in enumerate(chosen):
        larger = [c for c in chosen[:place] if abs(c["latitude"] - city["latitude"]) < 3]
        ranked = sorted((_distance(city, c), c["key"]) for c in larger)
        for distance, key in ranked[:NEIGHBOURS]:
            if distance <= NEARBY:
                atlas.add(city["key"], "near_larger_city", key)


def _add_airport(atlas: Atlas, airport: dict, city: dict, states: dict) -> None:
    key = atlas.name(f"airport:{airport['iata']}", f"{airport['name']} ({airport['iata']})")
    atlas.add(key, "serves", city["key"])
    code = airport["country"]
    atlas.add(key, "airport_territory", f"territory:{code}")
    if state := states.get((code, _letters(airport["subd"]))):
        atlas.add(key, "subdivision", _subdivision(code, state))
