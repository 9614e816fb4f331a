"""Probabilities from scores: a logistic or isotonic calibration, fitted on validation facts.

Scores have no unit. A calibration maps the score of a candidate, and the scores of the other
entities for the same query, to the probability that the candidate makes a true triple.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.batch import Queries, Scorer
from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.calibration import BIN_EDGES
from sparring.evaluation.candidates import Exclusion, facts_of
from sparring.evaluation.display import Result
from sparring.evaluation.ranking import check_no_nan, eval_mode
from sparring.evaluation.reliability import (
    BIN_COLUMNS,
    ReliabilityBin,
    expected_calibration_error,
    reliability,
)
from sparring.extras import optional
from sparring.files import read_object, write_object
from sparring.groups import ungroup
from sparring.models.base import KGEModel
from sparring.samplers.base import NegativeSampler

MANY_POSITIVES = 1000  # from which on a free curve is better than a logistic one
HUGE = 1e30  # stands for infinite scores


@dataclass(frozen=True, repr=False)
class ProbabilityCalibration(Result):
    """Turns scores into the probability that a candidate makes a true triple.

    It prints as a table of its bins.

    The candidates are all entities that are neither known facts nor the query's own entity. The
    log-odds are linear in the score and in the log-sum-exp of the query's scores over a fixed
    sample of the entities, so that for each query they grow with the score.

    A query with many known answers lacks more of them than one with few. So the odds are multiplied
    by (1 + its training answers) / (1 + `mean_answers`), a change of the prior (Saerens et al.,
    2002).

    Attributes:
        score_weight: of the score; at least 0.
        norm_weight: of the log-sum-exp.
        intercept: of the log-odds.
        knots: (log-odds, probability) pairs to interpolate between; empty for logistic
            calibration, which needs none.
        num_entities: N.
        num_reference: entities of the log-sum-exp.
        completeness: assumed fraction of the true answers that are known.
        prior: fraction of the candidates that are true, which follows from it.
        mean_answers: training answers of a query, on average; NaN for none of the above, as in
            calibrations of earlier versions.
        guide: weight of the generator's log-probabilities in the scores; see `Ensemble`.
        positives, negatives: how many facts and corruptions it was fitted on.
        expected_calibration_error: mean over candidates of held-out queries of how far the mean
            probability of their bin is from its fraction of facts (Naeini et al., 2015).
        balanced_calibration_error: the same with as many facts as corruptions, and the prior 1/2.
        bins: those with candidates. They are finer near 0, where nearly all candidates are.
    """

    score_weight: float
    norm_weight: float
    intercept: float
    knots: tuple[tuple[float, float], ...]
    num_entities: int
    num_reference: int
    completeness: float
    prior: float
    mean_answers: float = math.nan
    guide: float = 0.0
    positives: int = 0
    negatives: int = 0
    expected_calibration_error: float = math.nan
    balanced_calibration_error: float = math.nan
    bins: tuple[ReliabilityBin, ...] = ()

    def __call__(
        self,
        score: Float[Tensor, "B K"],
        log_norm: Float[Tensor, "B"],
        answers: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B K"]:
        """Probabilities of candidates, in double precision.

        Args:
            score: of candidates of each query.
            log_norm: of each query; see `log_norm`.
            answers: training answers of each query; `mean_answers` for None.
        """
        log_odds = self.log_odds(score, log_norm)
        if self.knots:
            x, y = zip(*self.knots)
            found = torch.from_numpy(np.interp(log_odds.cpu().numpy(), x, y)).to(score.device)
        else:
            found = log_odds.sigmoid()
        if answers is None or math.isnan(self.mean_answers):
            return found
        more = found * (1 + answers.double().unsqueeze(1)) / (1 + self.mean_answers)
        return more / (1 - found + more)

    def log_odds(
        self, score: Float[Tensor, "B K"], log_norm: Float[Tensor, "B"]
    ) -> Float[Tensor, "B K"]:
        """Log-odds of the logistic curve."""
        norm = self.norm_weight * log_norm.double().unsqueeze(1)
        return self.score_weight * score.double().clamp(-HUGE, HUGE) + norm + self.intercept

    def log_norm(self, score: Scorer, device: torch.device) -> Float[Tensor, "B"]:
        """Log-sum-exp of the scores of each query, over the reference entities."""
        return _log_norm(score, self.num_entities, self.num_reference, device)

    def to_polars(self) -> pl.DataFrame:
        """The bins, one row each."""
        return pl.DataFrame([asdict(each) for each in self.bins], schema=BIN_COLUMNS)

    def shown(self) -> pl.DataFrame:
        bins = self.to_polars()
        return bins.rename(
            {"candidates": "candidates per query", "probability": "mean probability"}
        )

    def caption(self) -> str:
        return (
            f"Expected calibration error {self.expected_calibration_error:.2g} over all candidates,"
            f" {self.balanced_calibration_error:.2g} over as many facts as corruptions; "
            f"{self.prior:.2g} of the candidates are true if {self.completeness:.0%} of the true "
            "answers are known."
        )

    def save(self, path: Path) -> None:
        """Write plain numbers as JSON."""
        write_object(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "ProbabilityCalibration":
        """Read what `save` wrote; needs no scikit-learn."""
        found = read_object(path)
        found["knots"] = tuple((x, y) for x, y in found["knots"])
        found["bins"] = tuple(ReliabilityBin(**each) for each in found["bins"])
        return cls(**found)


def fit_calibration(
    model: KGEModel,
    graph: KnowledgeGraph,
    *,
    sampler: NegativeSampler | None = None,
    method: Literal["auto", "logistic", "isotonic"] = "auto",
    completeness: float = 0.9,
    num_negatives: int = 128,
    num_reference: int = 1024,
    max_triples: int = 10_000,
    batch_size: int = 128,
    guide: float = 0.0,
    seed: int = 0,
) -> ProbabilityCalibration:
    """Fit a calibration on one half of the validation triples, and measure it on the other half.

    Facts are the validation triples, in both directions. Corruptions are uniform entities and,
    where its density is known, draws of the run's sampler; known facts of the training and
    validation splits are none. Each corruption is weighted by the inverse of its density (balance
    heuristic: Veach & Guibas, 1995), so that together they stand for all candidates, whatever the
    sampler: it adds hard ones, which uniform draws rarely find. The test split is never read.

    The prior is the fraction of candidates that are true. If the known answers are the fraction
    `completeness` of all, a query has (1 / completeness - 1) times as many unknown answers as known
    ones, on average; each validation triple stands for these. All other candidates count as false,
    so missing facts among them make the probabilities cautious.

    Args:
        model: a trained model; it is left in the mode it was in.
        graph: the graph it was trained on.
        sampler: the sampler it was trained with; uniform corruptions only, without one.
        method: "logistic" (Platt, 1999) has three parameters, and suits few validation triples;
            "isotonic" (Zadrozny & Elkan, 2002) then replaces the logistic curve by any rising one.
            "auto" is isotonic from 500 fitted triples on, which are 1,000 queries.
        completeness: assumed fraction of the true answers that are known; above 0 and below 1.
        num_negatives: uniform corruptions per query, and about as many of the sampler.
        num_reference: entities whose scores standardize those of a query; all, where N is smaller.
        max_triples: validation triples to use, at random.
        batch_size: queries encoded together.
        guide: weight of the generator in the scores of `model`; kept, not used.
        seed: of the halves and the corruptions.

    Raises:
        MissingExtraError: without scikit-learn (`pip install "sparring[calibration]"`).
        ValueError: for an unknown method, a number out of range, or fewer than 4 validation
            triples.
        FloatingPointError: if a score is NaN.
    """
    if method not in ("auto", "logistic", "isotonic"):
        raise ValueError(f"method is one of auto, logistic, isotonic; got {method!r}")
    if not 0 < completeness < 1:
        raise ValueError(f"completeness is above 0 and below 1; got {completeness}")
    if min(num_negatives, num_reference, batch_size) < 1:
        raise ValueError(
            "num_negatives, num_reference and batch_size must be at least 1; got "
            f"num_negatives={num_negatives}, num_reference={num_reference}, batch_size={batch_size}"
        )
    _sklearn("linear_model")  # complains at once where it is missing
    device = next((parameter.device for parameter in model.parameters()), graph.train.device)
    rng = torch.Generator(device).manual_seed(seed)
    triples = _unseen_valid(graph).to(device)
    triples = triples[torch.randperm(len(triples), generator=rng, device=device)[:max_triples]]
    if len(triples) < 4:
        raise ValueError(
            f"{graph.name} has {len(triples)} validation triples that training has not seen; a "
            "calibration needs at least 4"
        )
    excluded = Exclusion.of(graph, ("train", "valid"), device=device)
    num_entities, known = len(graph.entities), excluded.facts
    missing = known.num_facts / known.num_queries * (1 / completeness - 1)
    num_reference = min(num_reference, num_entities)
    training = facts_of(graph, ("train",), device)

    def sample_of(facts: Int[Tensor, "T 3"]) -> Sample:
        parts = []
        queries = tail_and_head_queries(facts, len(graph.relations))
        for start in range(0, len(queries), batch_size):
            batch = queries[start : start + batch_size]
            score = model(batch)
            ids, weight = _corruptions(batch, score, excluded, sampler, num_negatives, rng)
            log_norm = _log_norm(score, num_entities, num_reference, device)
            answers = training.count(batch)
            parts.append(_scored(batch, score, ids, weight, log_norm, answers, missing))
        return Sample(*(torch.cat(column) for column in zip(*parts)), queries=float(len(queries)))

    with eval_mode(model), eval_mode(nn.Module() if sampler is None else sampler):
        fitting, held_out = (sample_of(part) for part in triples.tensor_split(2))
    score_weight, norm_weight, intercept = _fit_logistic(fitting)
    logistic = ProbabilityCalibration(
        score_weight,
        norm_weight,
        intercept,
        knots=(),
        num_entities=num_entities,
        num_reference=num_reference,
        completeness=completeness,
        prior=fitting.prior(),
        mean_answers=training.num_facts / training.num_queries,
        guide=guide,
        positives=int(fitting.true.sum()),
        negatives=int((1 - fitting.true).sum()),
    )
    enough = logistic.positives >= MANY_POSITIVES
    isotonic = method == "isotonic" or (method == "auto" and enough)
    knots = _fit_isotonic(logistic, fitting) if isotonic else ()
    return _measure(replace(logistic, knots=knots), held_out)


@dataclass(frozen=True, eq=False)
class Sample:
    """Candidates of queries.

    Attributes:
        score, log_norm: of each candidate, in double precision.
        true: 1 for facts, 0 for corruptions.
        weight: how many candidates it stands for.
        answers: training answers of its query.
        queries: number of queries.
    """

    score: Float[Tensor, "M"]
    log_norm: Float[Tensor, "M"]
    true: Float[Tensor, "M"]
    weight: Float[Tensor, "M"]
    answers: Int[Tensor, "M"]
    queries: float

    def prior(self) -> float:
        """Fraction of all candidates that are true."""
        return float((self.weight * self.true).sum() / self.weight.sum())

    def balanced_weight(self) -> Float[Tensor, "M"]:
        """The weights, with those of facts scaled to the same sum as those of corruptions."""
        prior = self.prior()
        return self.weight * torch.where(self.true > 0, (1 - prior) / prior, 1.0)

    def of_all_queries(self, mean_answers: float) -> "Sample":
        """The sample with weights that let each query of the graph count once.

        Validation triples find a query the more often, the more answers it has.
        """
        rarely = (1 + mean_answers) / (1 + self.answers.double())
        weight = self.weight * torch.where(self.true > 0, 1.0, rarely)
        return replace(self, weight=weight, queries=float((rarely * self.true).sum()))


def _unseen_valid(graph: KnowledgeGraph) -> Int[Tensor, "V 3"]:
    """The distinct validation triples that are no training facts."""
    valid = graph.valid.unique(dim=0)
    queries = tail_and_head_queries(valid, len(graph.relations))[: len(valid)]
    seen = graph.training.known.contains(queries, valid[:, 2:])
    return valid[~seen.squeeze(1)]


def _corruptions(
    queries: Queries,
    score: Scorer,
    excluded: Exclusion,
    sampler: NegativeSampler | None,
    num_negatives: int,
    rng: torch.Generator,
) -> tuple[Int[Tensor, "B K"], Float[Tensor, "B K"]]:
    """Candidates of each query, and how many each stands for; 0 for those that are none."""
    shape, num_entities = (len(queries), num_negatives), len(excluded.entity)
    device = queries.anchor.device
    ids = torch.randint(num_entities, shape, generator=rng, device=device)
    counts, density = torch.ones_like(ids, dtype=torch.bool), num_negatives / num_entities
    if sampler is not None and sampler.capabilities.has_log_prob:
        rounds = -(-num_negatives // sampler.k)
        drawn = [sampler.sample(queries, score, rng) for _ in range(rounds)]
        ids = torch.cat([ids, *(ungroup(part.ids, len(queries)) for part in drawn)], 1)
        counts = torch.cat([counts, *(part.mask for part in drawn)], 1)
        log_q: Tensor = sampler.log_prob(queries, ids)  # pyright: ignore
        density = density + rounds * sampler.k * log_q.double().exp()
    counts = counts & ~excluded.contains(queries, ids)
    return ids, counts / density


def _scored(
    queries: Queries,
    score: Scorer,
    ids: Int[Tensor, "B K"],
    weight: Float[Tensor, "B K"],
    log_norm: Float[Tensor, "B"],
    answers: Int[Tensor, "B"],
    missing: float,
) -> tuple[Tensor, ...]:
    """The columns of a `Sample`: the facts, and their corruptions of weight above 0."""
    scores = score(torch.cat([queries.answer.unsqueeze(1), ids], 1)).double()
    check_no_nan(queries, scores)
    weight = nn.functional.pad(weight.double(), (1, 0), value=missing)
    true = torch.zeros_like(scores)
    true[:, 0] = 1
    norm, answers = (column.unsqueeze(1).expand_as(scores) for column in (log_norm, answers))
    columns = (scores.clamp(-HUGE, HUGE), norm, true, weight, answers)
    return tuple(column[weight > 0] for column in columns)


def _log_norm(
    score: Scorer, num_entities: int, num_reference: int, device: torch.device
) -> Float[Tensor, "B"]:
    """Log-sum-exp over every (N / num_reference)-th entity."""
    ids = torch.arange(num_reference, device=device) * num_entities // num_reference
    return score(ids.unsqueeze(0)).double().logsumexp(1).clamp(-HUGE, HUGE)


def _fit_logistic(sample: Sample) -> tuple[float, float, float]:
    """Weight of the score, weight of the log-norm, and intercept of the log-odds.

    A model that scores facts lower than corruptions tells nothing: everything then has the prior.
    """
    linear_model = optional("sklearn.linear_model", extra="calibration", purpose="a calibration")
    features = torch.stack([sample.score, sample.log_norm], 1).cpu().numpy()
    balanced = sample.balanced_weight().cpu().numpy()
    mean = np.average(features, axis=0, weights=balanced)
    width = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=balanced))
    width[width == 0] = 1.0
    true, weight = sample.true.cpu().numpy(), sample.weight.cpu().numpy()
    weight = weight * true.sum() / weight[true > 0].sum()  # each fact weighs 1
    fitted = linear_model.LogisticRegression(C=1e4, solver="newton-cholesky", max_iter=1000)
    fitted.fit((features - mean) / width, true, sample_weight=weight)
    slope = fitted.coef_[0] / width
    if slope[0] < 0:
        return 0.0, 0.0, float(torch.tensor(sample.prior(), dtype=torch.double).logit())
    return float(slope[0]), float(slope[1]), float(fitted.intercept_[0] - slope @ mean)


def _fit_isotonic(
    logistic: ProbabilityCalibration, sample: Sample
) -> tuple[tuple[float, float], ...]:
    """Where the rising curve from log-odds to fractions of facts bends.

    It ends below 1, because the last step rests on few facts.
    """
    isotonic = _sklearn("isotonic")
    log_odds = logistic.log_odds(sample.score.unsqueeze(1), sample.log_norm).squeeze(1)
    fitted = isotonic.IsotonicRegression(y_min=0.0, y_max=1 - 1 / (logistic.positives + 2))
    columns = (column.cpu().numpy() for column in (log_odds, sample.true))
    fitted.fit(*columns, sample_weight=sample.weight.cpu().numpy())
    return tuple(zip(fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist()))


def _sklearn(module: str) -> ModuleType:
    return optional(f"sklearn.{module}", extra="calibration", purpose="a calibration")


def _measure(calibration: ProbabilityCalibration, sample: Sample) -> ProbabilityCalibration:
    """The same calibration, with its errors on the sample."""
    sample = sample.of_all_queries(calibration.mean_answers)
    probability = calibration(sample.score.unsqueeze(1), sample.log_norm, sample.answers).squeeze(1)
    bins = reliability(probability, sample.true, sample.weight, BIN_EDGES)
    prior = sample.prior()
    odds = probability / (1 - probability) * ((1 - prior) / prior)
    balanced = reliability(
        torch.where(probability < 1, odds / (1 + odds), 1.0),
        sample.true,
        sample.balanced_weight(),
        [step / 10 for step in range(11)],
    )
    return replace(
        calibration,
        expected_calibration_error=expected_calibration_error(bins),
        balanced_calibration_error=expected_calibration_error(balanced),
        bins=tuple(replace(each, candidates=each.candidates / sample.queries) for each in bins),
    )
