"""Facts and names under construction."""

from collections import Counter

Triple = tuple[str, str, str]

# relation -> readable label, as in "Switzerland - has the official language - German"
RELATIONS = {
    "part_of": "is part of",
    "member_of": "is a member of",
    "borders": "shares a land border with",
    "capital": "has the capital",
    "official_language": "has the official language",
    "regional_language": "has the regionally official language",
    "spoken_language": "has the widely spoken, not official language",
    "currency": "has the currency",
    "former_currency": "once had the currency",
    "calendar": "also uses the",
    "week_starts_on": "starts the week on",
    "clock": "tells time by the",
    "paper_size": "prints on",
    "holiday": "has the public holiday",
    "replaced_by": "was replaced, in some territory, by",
    "currency_unit": "is a kind of",
    "written_in": "is written in",
    "falls_back_to": "has readers who also accept",
    "cardinal_plural": "counts with the plural category",
    "ordinal_plural": "orders with the plural category",
    "native_digits": "has the native digits",
    "direction": "runs",
    "locale_language": "is a locale of the language",
    "locale_territory": "is a locale of the territory",
    "parent_locale": "inherits from the locale",
    "date_order": "orders short dates as",
    "decimal_sign": "writes the decimal sign",
    "grouping_sign": "groups digits by",
    "currency_position": "writes amounts of money as",
    "locale_digits": "writes numbers in the digits",
    "zone_territory": "is a time zone of",
    "utc_offset": "has the standard offset",
    "summer_time": "changes clocks on",
    "time_name": "calls its time",
    "time_zone": "has the time zone",
    "subdivision": "lies in the subdivision",
    "subdivision_of": "is a subdivision of",
    "near_larger_city": "is near the larger city",
    "serves": "is an airport of the city",
    "airport_territory": "is an airport in",
}


class Atlas:
    """A knowledge graph that grows fact by fact.

    Facts may mention entities that nobody names: they are left out in the end, so that each
    source can speak freely. The type of an entity is the part of its key before the colon.
    """

    def __init__(self):
        self.names: dict[str, tuple[str, ...]] = {}
        self.facts: dict[Triple, None] = {}

    def name(self, entity: str, *labels: str) -> str:
        """Names an entity by the first of these labels that no earlier entity has taken."""
        self.names.setdefault(entity, labels)
        return entity

    def add(self, head: str, relation: str, tail: str) -> None:
        assert relation in RELATIONS, relation
        self.facts[head, relation, tail] = None

    def core(self) -> list[Triple]:
        """Facts between named entities, each of which stands in two facts or more; sorted."""
        facts = [f for f in self.facts if f[0] in self.names and f[2] in self.names]
        while True:
            degree = Counter(end for head, _, tail in facts for end in (head, tail))
            kept = [f for f in facts if degree[f[0]] > 1 and degree[f[2]] > 1]
            if len(kept) == len(facts):
                return sorted(facts)
            facts = kept

    def labels(self, facts: list[Triple]) -> dict[str, str]:
        """One label per entity of the facts, no two alike; earlier names choose first."""
        mentioned = {end for head, _, tail in facts for end in (head, tail)}
        taken: dict[str, str] = {}
        for entity, labels in self.names.items():
            if entity in mentioned:
                free = next((label for label in labels if label not in taken), entity)
                taken[free] = entity
        return {entity: label for label, entity in sorted(taken.items(), key=lambda x: x[1])}


def slug(text: str) -> str:
    """Lower-case words joined by hyphens."""
    kept = "".join(c if c.isalnum() else " " for c in text.lower().replace("'", ""))
    return "-".join(kept.split())
