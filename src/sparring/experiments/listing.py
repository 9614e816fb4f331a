"""What an experiment can name: parts, their options, and what each is in one sentence."""

import inspect
from dataclasses import dataclass

from sparring.experiments.build import Table, options_of, refuse_unknown
from sparring.experiments.config import PARTS

FAMILIES: dict[str, Table] = {
    "models": PARTS["model"][0],
    "samplers": PARTS["sampler"][0],
    "losses": PARTS["loss"][0],
    "sides": PARTS["sides"][0],
    "optimizers": PARTS["optimizer"][0],
    "schedules": PARTS["schedule"][0],
}


@dataclass(frozen=True)
class Part:
    """Something to name in an experiment.

    Attributes:
        options: type and default of each option, in words.
    """

    name: str
    summary: str
    options: dict[str, str]


def parts(family: str) -> list[Part]:
    """The parts of one family, by name.

    Raises:
        ConfigError: for a family that there is not, with the nearest one.
    """
    refuse_unknown([family], FAMILIES, "list")
    return [
        Part(name, _summary(maker), options_of(maker))
        for name, maker in sorted(FAMILIES[family].items())
    ]


def _summary(maker: object) -> str:
    return (inspect.getdoc(maker) or "").partition("\n\n")[0].replace("\n", " ")
