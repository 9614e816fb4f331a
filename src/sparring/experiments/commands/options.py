"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one entry of the configuration, such as `model.dim=100`; repeatable.",
    ),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
GuideWeight = Annotated[
    float,
    typer.Option(
        "--guide",
        metavar="WEIGHT",
        help="Add so much of the log-probability of the run's generator to each score; choose it "
        "on validation triples.",
    ),
]
