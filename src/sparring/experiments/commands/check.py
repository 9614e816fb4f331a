"""`sparring check`: run the conformance kit on a negative sampler of any library."""

from typing import Annotated

import typer
from rich.text import Text

from sparring.experiments.console import FAILED, Json, as_json, line, out


def check(
    sampler: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:CLASS",
            help="A sampler of sparring, PyKEEN, PyG, TorchKGE or LibKGE, or your own, whose "
            "module may lie in the working directory; or a name in `sparring list samplers`.",
            show_default=False,
        ),
    ],
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Build it with this option, such as `filtered=true`; repeatable.",
        ),
    ] = None,
    filtered: Annotated[
        bool,
        typer.Option("--filtered", help="Facts of the training graph should never count."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
    json: Json = False,
) -> None:
    """Check a negative sampler of any library for known mistakes.

    It draws on small graphs and checks: Is every entity reached, including the first and the last?
    Are answers or known facts among the negatives? Is K respected? Do the draws follow `log_q`, by
    a chi-square test? Are they reproducible from the seed? The exit code is 1 if there is an error.

    Example: `sparring check torchkge.sampling:UniformNegativeSampler`
    """
    from sparring.experiments.config import override_value
    from sparring.experiments.conformance import check_conformance

    given = {}
    for option in options or []:
        override_value(given, option)
    found = check_conformance(sampler, given, filtered=filtered)
    violations = found.report.violations
    errors = violations if strict else found.report.errors
    if json:
        as_json(found.to_dict())
    else:
        for name in found.report.checks:
            own = [violation for violation in violations if violation.check == name]
            for violation in own:
                lead = ("error: ", "red") if violation in errors else ("warning: ", "yellow")
                out.print(Text.assemble(lead, f"{name}: {violation.message}"), soft_wrap=True)
            if not own:
                out.print(Text.assemble(("ok: ", "green"), name), soft_wrap=True)
        line(f"{sampler}: {len(errors)} errors, {len(violations) - len(errors)} warnings")
    if errors:
        raise typer.Exit(FAILED)
