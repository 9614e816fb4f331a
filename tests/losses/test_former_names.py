"""Losses under their former names: values and gradients recorded before they were merged."""

import json
from pathlib import Path

import pytest
import torch

from sparring.batch import Negatives
from sparring.losses import LOSSES
from sparring.registry import build

RECORDED = json.loads(Path(__file__).with_name("former_names.json").read_text())


def batch(known_facts):
    """Scores, negatives and weights of 4 queries with 5 candidates each.

    Args:
        known_facts: candidates that do not count are there as known facts, and negatives have
            query weights of their own.
    """
    rng, shape = torch.Generator().manual_seed(7), (4, 5)
    positive = (2 * torch.randn(4, generator=rng)).requires_grad_()
    negative = (2 * torch.randn(shape, generator=rng)).requires_grad_()
    weight, candidate_weight = torch.rand(4, generator=rng) + 0.5, torch.rand(shape, generator=rng)
    mask = torch.rand(shape, generator=rng) < 0.7
    mask[:, 0] = True
    p_false_negative = torch.rand(shape, generator=rng) * 0.5
    log_q, answer_log_q = -3 * torch.rand(shape, generator=rng), -3 * torch.rand(4, generator=rng)
    negative_weight = torch.rand(4, generator=rng) + 0.5
    negatives = Negatives(
        blocks=(torch.zeros(shape, dtype=torch.long),),
        mask=mask,
        weight=candidate_weight + 0.5,
        p_false_negative=torch.where(mask | (not known_facts), p_false_negative, 1.0),
        log_policy=torch.zeros(shape),
        log_q=log_q,
        answer_log_q=answer_log_q,
        negative_query_weight=negative_weight if known_facts else None,
    )
    return positive, negative, negatives, weight


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("recorded", RECORDED, ids=lambda row: f"{row['name']} {row['options']}")
def test_a_former_name_stands_for_the_same_loss(recorded):
    loss = build({"name": recorded["name"], **recorded["options"]}, LOSSES, "loss")
    positive, negative, negatives, weight = batch(recorded["known_facts"])
    value = loss(positive, negative, negatives, weight)
    value.backward()
    got = {"value": value.detach(), "positive": positive.grad, "negative": negative.grad}
    for name, tensor in got.items():
        want = torch.tensor(recorded[name])
        torch.testing.assert_close(tensor, want, rtol=1e-5, atol=1e-6)
    if "temperature" in recorded:
        want = torch.tensor(recorded["temperature"])
        torch.testing.assert_close(loss.log_temperature.grad, want, rtol=1e-5, atol=1e-6)
