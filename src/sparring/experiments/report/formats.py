"""Numbers as people read them."""

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def score(value: float) -> str:
    """A measure between 0 and 1, such as 0.345."""
    return f"{value:.3f}".replace("-", MINUS)


def signed(value: float) -> str:
    """A difference of measures, such as +0.021."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", MINUS)


def count(value: int | float) -> str:
    """A whole number in groups of three."""
    return f"{value:,.0f}".replace(",", THIN)


def percent(share: float) -> str:
    """A share with about two figures, such as 0.34 %."""
    value = 100 * share
    places = 0 if value >= 10 or value == 0 else 1 if value >= 1 else 2 if value >= 0.1 else 3
    return f"{value:.{places}f}{THIN}%"


def duration(seconds: int | float) -> str:
    """Processor time in its two largest units, such as 1 h 12 min."""
    if seconds < 59.5:
        return f"{seconds:.1f}{THIN}s" if seconds < 10 else f"{seconds:.0f}{THIN}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}{THIN}min"
    hours, minutes = divmod(minutes, 60)
    return f"{count(hours)}{THIN}h {minutes}{THIN}min"


def between(low: float, high: float) -> str:
    """An interval of differences."""
    return f"{signed(low)} to {signed(high)}"


def span(values: list[int]) -> str:
    """The lowest and highest of whole numbers, once if they are equal."""
    low, high = min(values), max(values)
    return count(low) if low == high else f"{count(low)}{DASH}{count(high)}"
