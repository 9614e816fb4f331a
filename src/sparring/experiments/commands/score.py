"""`sparring score`: how plausible a trained model finds given triples."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.experiments.console import RunFolder, Trust


def score(
    run: RunFolder,
    triples: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Triples of head, relation and tail, as .tsv, .csv or .parquet; `-` reads lines "
            "separated by tabs from standard input.",
        ),
    ] = Path("-"),
    probability: Annotated[
        bool,
        typer.Option(
            "--probability", help="Add the probability, which `sparring calibrate RUN` fits."
        ),
    ] = False,
    trust: Trust = False,
) -> None:
    """Print triples with their scores; higher is more plausible.

    The score is the mean of that of the tail, given head and relation, and that of the head.

    Example: `sparring score runs/atlas candidates.tsv | sort -t $'\\t' -k 4 -g -r | head`
    """
    import sys

    import polars as pl

    from sparring.data.diagnostics import RaiseOnError
    from sparring.data.frames import triple_frame, triple_ids
    from sparring.data.tables import read_triple_frames
    from sparring.evaluation.triples import rate_triples
    from sparring.experiments.run_folder import Run
    from sparring.printing import printable

    if triples == Path("-"):
        rows = (text.rstrip("\r\n").split("\t") for text in sys.stdin)
        frame = triple_frame(row for row in rows if row != [""])
    else:
        parts = read_triple_frames(triples, RaiseOnError())
        frame = pl.concat([triple_frame([]), *(part.drop("line") for part in parts)])
    place = Run(run, trust)
    config = place.config()
    graph = place.graph(config)
    model = place.load_step(config, graph).model
    calibration = place.required_calibration() if probability else None
    found = rate_triples(model, graph, triple_ids(graph, frame), calibration=calibration)
    columns = [found.score] if found.probability is None else [found.score, found.probability]
    for names, values in zip(frame.iter_rows(), zip(*(column.tolist() for column in columns))):
        cells = [*map(printable, names), *(f"{value:.6g}" for value in values)]
        typer.echo("\t".join(cells))  # rich would turn tabs into blanks
