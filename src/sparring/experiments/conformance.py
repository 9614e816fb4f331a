"""Run the conformance kit on a sampler given by name."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparring.data.graph import TrainGraph
from sparring.integrations import HOSTS, host_module
from sparring.registry import ConfigError, build, find, import_object
from sparring.samplers import NegativeSampler
from sparring.samplers.base import SAMPLERS
from sparring.testing import ExternalSampler, Report, report_external, report_sampler, tiny_graph

WIDTHS = (1, 2, 8)  # K of the library's own samplers, on a graph of 11 entities


@dataclass(frozen=True)
class Conformance:
    """The report of the kit on one sampler."""

    name: str
    report: Report

    def to_dict(self) -> dict[str, Any]:
        """The checks and violations, for JSON."""
        return {
            "sampler": self.name,
            "checks": self.report.checks,
            "violations": [vars(violation) for violation in self.report.violations],
        }


def check_conformance(
    name: str, options: Mapping[str, Any], *, filtered: bool = False
) -> Conformance:
    """Check a sampler with the conformance kit.

    Args:
        name: of a sampler in `sparring list samplers`; or "module:object" for a subclass of
            `NegativeSampler`, a sampler class of a library in `HOSTS`, or an `ExternalSampler`.
        options: what its class is built with, as in an experiment file.
        filtered: whether facts of the training graph should never count.

    Raises:
        ConfigError: if there is no such sampler, or the kit cannot check it.
    """
    made = import_object(name, "sampler") if ":" in name else _registered(name)
    if isinstance(made, ExternalSampler):
        return Conformance(name, report_external(made))
    if not inspect.isclass(made):
        raise ConfigError(
            f"[sampler] {name!r} is a {type(made).__name__}; the kit checks sampler classes, and "
            "objects of sparring.testing.ExternalSampler"
        )
    if issubclass(made, NegativeSampler):
        return Conformance(name, _check_own(name, made, options, filtered))
    host = host_module(made)
    if host is None:
        raise ConfigError(
            f"[sampler] {name!r} is no sparring.samplers.NegativeSampler, nor a class of "
            f"{', '.join(HOSTS)}; wrap it in a sparring.testing.ExternalSampler"
        )
    return Conformance(name, report_external(host.external_sampler(made, options)))


def _registered(name: str) -> Any:
    """The sampler of a name, today's or a former one."""
    return find(SAMPLERS.current({"name": name}, "sampler"), SAMPLERS, "sampler")


def _check_own(
    name: str, made: type[NegativeSampler], options: Mapping[str, Any], filtered: bool
) -> Report:
    def make(graph: TrainGraph, width: int) -> NegativeSampler:
        number = {"k": width} if wide else {}
        return build({"name": name, **number, **options}, SAMPLERS, "sampler", graph=graph)

    wide = "k" in inspect.signature(made).parameters and "k" not in options
    widths = WIDTHS if wide else (make(tiny_graph(), 0).k,)
    return report_sampler(make, name, widths=widths, filtered=filtered)
