"""Any sampler by name, judged by the conformance kit."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparring.integrations import HOSTS, host_module
from sparring.registry import ConfigError, build, find, import_object
from sparring.samplers import NegativeSampler
from sparring.samplers.base import SAMPLERS
from sparring.testing import ExternalSampler, Report, report_external, report_sampler, tiny_graph

WIDTHS = (1, 2, 8)  # of samplers of ours, on a graph of 11 entities


@dataclass(frozen=True)
class Judged:
    """What the kit says of one sampler."""

    name: str
    report: Report

    def to_dict(self) -> dict[str, Any]:
        """What was checked and what is wrong, as JSON can hold it."""
        return {
            "sampler": self.name,
            "checks": self.report.checks,
            "violations": [vars(violation) for violation in self.report.violations],
        }


def judged(name: str, options: Mapping[str, Any], *, filtered: bool = False) -> Judged:
    """The kit's judgement of a sampler.

    Args:
        name: of a sampler in `sparring list samplers`; or "module:object" for a class of ours, a
            sampler class of a library in `HOSTS`, or a `ExternalSampler`.
        options: what its class is built with, as in an experiment file.
        filtered: whether facts of the training graph should never count.

    Raises:
        ConfigError: if there is no such sampler, or no way to judge it.
    """
    made = import_object(name, "sampler") if ":" in name else _registered(name)
    if isinstance(made, ExternalSampler):
        return Judged(name, report_external(made))
    if not inspect.isclass(made):
        raise ConfigError(
            f"[sampler] {name!r} is a {type(made).__name__}; the kit judges sampler classes, and "
            "objects of sparring.testing.ExternalSampler"
        )
    if issubclass(made, NegativeSampler):
        return Judged(name, _of_ours(name, made, options, filtered))
    host = host_module(made)
    if host is None:
        raise ConfigError(
            f"[sampler] {name!r} is no sparring.samplers.NegativeSampler, nor a class of "
            f"{', '.join(HOSTS)}; wrap it in a sparring.testing.ExternalSampler"
        )
    return Judged(name, report_external(host.external_sampler(made, options)))


def _registered(name: str) -> Any:
    """The sampler of a name, today's or a former one."""
    return find(SAMPLERS.current({"name": name}, "sampler"), SAMPLERS, "sampler")


def _of_ours(
    name: str, made: type[NegativeSampler], options: Mapping[str, Any], filtered: bool
) -> Report:
    def make(graph, width):
        number = {"k": width} if wide else {}
        return build({"name": name, **number, **options}, SAMPLERS, "sampler", graph=graph)

    wide = "k" in inspect.signature(made).parameters and "k" not in options
    widths = WIDTHS if wide else (make(tiny_graph(), 0).k,)
    return report_sampler(make, name, widths=widths, filtered=filtered)
