"""`sparring check`: what is wrong with a negative sampler, of whatever library?"""

from typing import Annotated

import typer
from rich.text import Text

from sparring.experiments.console import FAILED, Json, as_json, line, out


def check(
    sampler: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:CLASS",
            help="A sampler of sparring, PyKEEN, PyG, TorchKGE or LibKGE, or your own; or a name "
            "in `sparring list samplers`.",
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
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for errors.")] = False,
    json: Json = False,
):
    """Put a negative sampler through everything that went wrong in samplers before.

    It draws on small graphs: Is every entity reached, the first and the last? Is the triple itself
    returned? Is K ignored? Are known facts offered? Do draws follow the density that is stated, by
    chi-square? Does the seed decide? The exit code is 1 if anything is wrong.

    Example: `sparring check torchkge.sampling:UniformNegativeSampler`
    """
    from sparring.experiments.config import override_value
    from sparring.experiments.conformance import judged

    given = {}
    for option in options or []:
        override_value(given, option)
    found = judged(sampler, given, filtered=filtered)
    violations = found.report.violations
    errors = violations if strict else found.report.errors
    if json:
        as_json(found.to_dict())
    else:
        for name in found.report.checks:
            own = [violation for violation in violations if violation.check == name]
            for violation in own:
                wrong = violation in errors
                lead = ("error: ", "red") if wrong else ("warning: ", "yellow")
                out.print(Text.assemble(lead, f"{name}: {violation.message}"), soft_wrap=True)
            if not own:
                out.print(Text.assemble(("good: ", "green"), name), soft_wrap=True)
        line(f"{sampler}: {len(errors)} errors, {len(violations) - len(errors)} warnings")
    if errors:
        raise typer.Exit(FAILED)
