"""Scores of whole triples, from both ends."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.corruption import tail_and_head_queries
from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.candidates import facts_of
from sparring.evaluation.probability import ProbabilityCalibration
from sparring.evaluation.ranking import check_no_nan, eval_mode
from sparring.models.base import KGEModel


@dataclass(frozen=True, eq=False)
class TripleScores:
    """Scores of triples, on the device of the model.

    Attributes:
        score: mean of the scores of the tail as an answer and of the head as an answer, which
            differ in models with reciprocal relations.
        probability: mean of the probabilities of both; None without a calibration.
    """

    score: Float[Tensor, "T"]
    probability: Float[Tensor, "T"] | None


def score_triples(
    model: KGEModel, graph: KnowledgeGraph, triples: Int[Tensor, "T 3"], *, batch_size: int = 1024
) -> Float[Tensor, "T"]:
    """Scores of triples: the mean of that of the tail and that of the head, as answers.

    Args:
        batch_size: queries encoded together, at most.

    Raises:
        FloatingPointError: if a score is NaN.
    """
    return rate_triples(model, graph, triples, batch_size=batch_size).score.cpu()


def rate_triples(
    model: KGEModel,
    graph: KnowledgeGraph,
    triples: Int[Tensor, "T 3"],
    *,
    calibration: ProbabilityCalibration | None = None,
    batch_size: int = 1024,
) -> TripleScores:
    """Scores, and probabilities, of whole triples.

    Args:
        model: a trained model; it is left in the mode it was in.
        graph: the graph that it was trained on.
        triples: head, relation and tail as ids.
        calibration: turns scores into probabilities.
        batch_size: queries encoded together, at most.

    Raises:
        FloatingPointError: if a score is NaN.
    """
    device = next((parameter.device for parameter in model.parameters()), triples.device)
    queries = tail_and_head_queries(triples.to(device), len(graph.relations))
    training = None if calibration is None else facts_of(graph, ("train",), device)
    scores, probabilities = [queries.weight[:0]], [queries.weight[:0].double()]
    with eval_mode(model):
        for start in range(0, len(queries), batch_size):
            batch = queries[start : start + batch_size]
            scorer = model(batch)
            score = scorer(batch.answer.unsqueeze(1)).float()
            check_no_nan(batch, score)
            scores.append(score.squeeze(1))
            if calibration and training:
                norm = calibration.log_norm(scorer, device)
                probability = calibration(score, norm, training.count(batch))
                probabilities.append(probability.squeeze(1))
    mean = lambda parts: torch.cat(parts).view(2, len(triples)).mean(0)
    return TripleScores(mean(scores), mean(probabilities) if calibration else None)
