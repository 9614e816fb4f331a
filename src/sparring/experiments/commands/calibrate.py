"""`sparring calibrate`: turn the scores of a trained model into probabilities."""

from typing import Annotated, Literal

import typer

from sparring.experiments.console import (
    GuideWeight,
    Json,
    Overrides,
    RunFolder,
    Trust,
    as_json,
    line,
    table,
)


def calibrate(
    run: RunFolder,
    method: Annotated[
        Literal["auto", "logistic", "isotonic"],
        typer.Option(
            help="Shape of the curve; isotonic, which fits any, needs many validation triples."
        ),
    ] = "auto",
    completeness: Annotated[
        float,
        typer.Option(help="Assumed fraction of the true answers that the graph knows."),
    ] = 0.9,
    trust: Trust = False,
    guide: GuideWeight = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the corruptions.")] = 0,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Fit probabilities on validation triples, for `sparring predict`.

    Writes `calibration.json` into the folder of the run; `sparring predict` then shows
    probabilities. One half of the validation triples is for fitting, the other for measuring. The
    test triples are not used.

    Example: `sparring calibrate runs/atlas`
    """
    from dataclasses import asdict

    from sparring.evaluation.probability import fit_calibration
    from sparring.experiments.run import ensemble
    from sparring.experiments.run_folder import Run

    place = Run(run, trust)
    config = place.config(overrides or [])
    graph = place.graph(config)
    step = place.load_step(config, graph)
    found = fit_calibration(
        ensemble(step, guide), graph, sampler=step.sampler, method=method,
        completeness=completeness, guide=guide, seed=seed,
    )  # fmt: skip
    place.save_calibration(found)
    if json:
        as_json(asdict(found))
        return
    table(
        f"{run}: reliability on held-out validation triples",
        ("probability", "candidates per query", "mean probability", "true"),
        [
            (
                f"{percent(each.low)} to {percent(each.high)}",
                f"{each.candidates:,.2f}",
                percent(each.probability),
                percent(each.true),
            )
            for each in found.bins
        ],
    )
    line(
        f"expected calibration error: {found.expected_calibration_error:.6f} over all candidates, "
        f"{found.balanced_calibration_error:.4f} over as many facts as corruptions\n"
        f"prior: {found.prior:.6f} of the candidates are true, if {percent(completeness)} of the "
        "true answers are known"
    )


def percent(probability: float) -> str:
    """A percentage with three digits."""
    return f"{100 * probability:.3g} %"
