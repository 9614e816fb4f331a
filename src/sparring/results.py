"""Questions to a trained model in one line: a predictor, the folder of a run, or its parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch

from sparring.api import fit, load, load_graph
from sparring.data.frames import triple_ids
from sparring.data.graph import SPLITS, KnowledgeGraph
from sparring.evaluation import audit as audits
from sparring.evaluation import predict as predictions
from sparring.evaluation import ranking
from sparring.evaluation.audit import Audit
from sparring.evaluation.prediction import Prediction
from sparring.evaluation.probability import fit_calibration
from sparring.evaluation.queries import WANTED, PredictionQuery
from sparring.evaluation.ranking import RankingResult
from sparring.experiments.audit_run import step_device
from sparring.predictor import Predictor
from sparring.registry import ConfigError


def evaluate(model: Any, triples: Any = "test", *more: Any, **options: Any) -> RankingResult:
    """Filtered ranks of the tail and the head of each triple.

    Two forms: `evaluate(predictor, "test")`, and `evaluate(model, triples, known)` for a model of
    your own, as `sparring.evaluation.ranking.evaluate`.

    Args:
        model: a predictor, the folder of a run, or a model.
        triples: for a predictor the name of a split, or triples of any kind; for a model, ids.
        more: for a model, the index of known facts.
        options: `batch_size`, `max_scores` and `precision`.
    """
    found = _predictor(model)
    if found is None:
        return ranking.evaluate(model, triples, *more, **options)
    split = triples if isinstance(triples, str) and triples in SPLITS else None
    graph, device = found.graph, step_device(found.step)
    ids = getattr(graph, split) if split else triple_ids(graph, triples)
    known = graph.known_for_validation if split in ("train", "valid") else graph.known
    return ranking.evaluate(found.model, ids.to(device), known.to(device), **options)


def predict(model: Any, *query: Any, **options: Any) -> Prediction:
    """The most plausible entities, or relations, that complete triples.

    Two forms: `predict(predictor, "Iceland", "currency", k=3)` with the arguments of
    `Predictor.predict`, and `predict(model, graph, queries)` for a model of your own, as
    `sparring.evaluation.predict.predict`.

    Args:
        model: a predictor, the folder of a run, or a model.
    """
    found = _predictor(model)
    if found is None:
        return predictions.predict(model, *query, **options)
    return found.predict(*query, **options)


def audit(sampler: Any, *graph: KnowledgeGraph, **options: Any) -> Audit:
    """How hard and varied negatives are, and how many are false negatives.

    Two forms: `audit(predictor)` with the arguments of `Predictor.audit`, and `audit(sampler,
    graph, rng=rng)` for a sampler of your own, as `sparring.evaluation.audit.audit`.

    Args:
        sampler: a predictor, the folder of a run, or a sampler.
    """
    found = _predictor(sampler)
    if found is None:
        return audits.audit(sampler, *graph, **options)
    return found.audit(**options)


def mine_negatives(
    source: Any,
    triples: Any = "train",
    *,
    num_negatives: int = 5,
    skip: int = 0,
    pool: int = 100,
    choose: Literal["top", "random"] = "top",
    max_probability: float | None = None,
    sides: Sequence[Literal["tail", "head"]] = ("tail", "head"),
    known: Sequence[str] = ("train",),
    seed: int = 0,
) -> pl.DataFrame:
    """Hard negatives for triples: entities that the model ranks high and that are no known facts.

    Some of them are true facts that the graph lacks. Their `probability` of being true says which,
    if the predictor is calibrated or scikit-learn is installed to calibrate it.

    Args:
        source: a predictor, the folder of a run, or any graph, which is trained on first.
        triples: of any kind, or the name of a split.
        num_negatives: per triple and side; fewer where fewer are left.
        skip: candidates of the highest scores to leave out, which are most often true.
        pool: the candidates that follow, from which negatives are chosen.
        choose: those of the highest scores, or at random from the pool.
        max_probability: leave out candidates that are true with a greater probability.
        sides: which end to replace.
        known: splits whose facts are no negatives. Add "valid" and "test" only if nothing is to be
            measured on them afterwards.
        seed: of the random choice.

    Returns:
        one row per negative: the triple (`head`, `relation`, `tail`), the `side` that was replaced,
        the `negative` and its `label`, its `rank` among all that are not known, its `score`
        and its `probability`, which is null without a calibration.

    Raises:
        ConfigError: for numbers below 1, or a `max_probability` without a calibration.
    """
    if min(num_negatives, pool, skip + 1) < 1:
        raise ConfigError("num_negatives and pool are at least 1, and skip at least 0")
    found = _predictor(source)
    if found is None:
        found = fit(load_graph(source), progress=False)
    graph = found.graph
    by_name = isinstance(triples, str) and triples in SPLITS
    ids = getattr(graph, triples) if by_name else triple_ids(graph, triples)
    named = pl.DataFrame(
        {
            "head": graph.entities.names.gather(ids[:, 0].numpy()),
            "relation": graph.relations.names.gather(ids[:, 1].numpy()),
            "tail": graph.entities.names.gather(ids[:, 2].numpy()),
        }
    )
    calibration = _calibration(found, required=max_probability is not None)
    parts = []
    for side in sides:
        asked = named.with_columns(pl.lit(WANTED).alias(side))
        queries = [PredictionQuery(*_without(row)) for row in asked.iter_rows()]
        answers = predictions.predict(
            found.model, graph, queries, k=skip + pool, remove=known, calibration=calibration
        )
        frame = answers.to_polars().select("query", "rank", "name", "label", "score", "probability")
        given = named.with_row_index("query").with_columns(pl.lit(side).alias("side"))
        parts.append(given.with_columns(pl.col("query").cast(pl.Int64)).join(frame, on="query"))
    order = {"by": ["query", "side", "rank"], "descending": [False, True, False]}
    rows = pl.concat(parts).filter(pl.col("rank") > skip).sort(**order)
    if max_probability is not None:
        rows = rows.filter(pl.col("probability") <= max_probability)
    random = torch.rand(len(rows), generator=torch.Generator().manual_seed(seed)).numpy()
    rows = rows.with_columns(pl.Series("random", random))
    by = {"top": "rank", "random": "random"}[choose]
    place = pl.col(by).rank("ordinal").over("side", "query")
    return (
        rows.filter(place <= num_negatives)
        .sort(**order)
        .rename({"name": "negative"})
        .select(
            *("head", "relation", "tail", "side", "negative", "label", "rank", "score"),
            "probability",
        )
    )


def _without(row: tuple[str, ...]) -> list[Any]:
    """The parts of a query, with None for what is asked."""
    return [None if part == WANTED else part for part in row]


def _calibration(found: Predictor, *, required: bool) -> Any:
    """That of the run, else one fitted now; None where that is not possible."""
    kept = found.run.calibration()
    if kept is not None:
        return kept
    try:
        return fit_calibration(found.model, found.graph, sampler=found.sampler)
    except (ImportError, ValueError) as error:
        if required:
            raise ConfigError(f"max_probability needs a calibration: {error}") from error
        return None


def _predictor(source: Any) -> Predictor | None:
    """The predictor that is meant, if any: as it is, or in a folder."""
    if isinstance(source, Predictor):
        return source
    if isinstance(source, str | Path) and (Path(source) / "config.json").exists():
        return load(source)
    return None
