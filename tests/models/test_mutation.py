"""Mutations of candidate vectors, and models that train on them."""

import pytest
import torch
from torch.nn import functional as F

from sparring.batch import Negatives
from sparring.experiments.config import PARTS
from sparring.losses import SampledSoftmax
from sparring.models import (
    MUTATORS,
    AdaptiveMixup,
    ComplEx,
    CoordinateMask,
    DistMult,
    HardMixup,
    Mutated,
    PositiveMixup,
    RotatE,
    TransD,
    TransE,
)
from sparring.registry import build
from sparring.testing import tiny_graph, tiny_queries

GRAPH = tiny_graph()
QUERIES = tiny_queries(GRAPH)
IDS = torch.randint(11, (24, 6), generator=torch.Generator().manual_seed(4))
ANSWER = torch.zeros(2, 1, 3)
CANDIDATE = torch.arange(1.0, 25.0).view(2, 4, 3)


def constant_score(vectors):
    return torch.zeros(vectors.shape[:2])


def by_first_coordinate(vectors):
    return vectors[:, :, 0]


def mutated(mutator, model=DistMult, **options):
    torch.manual_seed(0)
    return Mutated(GRAPH, inner=model(GRAPH, dim=8), mutator=mutator, **options)


@pytest.mark.parametrize("make", MUTATORS.values(), ids=MUTATORS)
def test_an_answer_is_not_mutated(make):
    torch.manual_seed(0)
    answer = torch.randn(5, 1, 7)
    assert torch.equal(make()(answer, answer, constant_score), answer)


@pytest.mark.parametrize("make", MUTATORS.values(), ids=MUTATORS)
@pytest.mark.parametrize("model", [DistMult, ComplEx, TransE, RotatE])
def test_the_score_of_an_answer_is_that_of_the_model(make, model):
    trained = mutated(make(), model)
    torch.manual_seed(0)
    got = trained(QUERIES)(QUERIES.answer.unsqueeze(1))
    want = trained.inner(QUERIES)(QUERIES.answer.unsqueeze(1))
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("make", MUTATORS.values(), ids=MUTATORS)
def test_candidates_are_mutated_while_training_only(make):
    model = mutated(make())
    plain = model.inner(QUERIES)(IDS)
    torch.manual_seed(0)
    assert not torch.allclose(model(QUERIES)(IDS), plain)
    assert torch.equal(model.eval()(QUERIES)(IDS), plain)


def test_coordinates_are_masked_independently():
    torch.manual_seed(0)
    candidate, answer = torch.ones(50, 20, 30), torch.zeros(50, 1, 30)
    mutant = CoordinateMask(rate=0.3)(answer, candidate, constant_score)
    assert set(mutant.unique().tolist()) == {0.0, 1.0}
    assert abs(mutant.mean() - 0.3) < 0.01
    for dims in ((0, 1), (1, 2), (0, 2)):  # no two coordinates are tossed together
        assert mutant.mean(dims).std() < 0.1


def test_without_mutation_emu_is_softmax_with_a_softened_target():
    model = mutated(CoordinateMask(rate=1.0))
    drawn = Negatives.from_ids(QUERIES, IDS)
    score = model(QUERIES)
    positive = score(QUERIES.answer.unsqueeze(1))
    got = SampledSoftmax(negative_target=0.2)(
        positive.squeeze(1), score(IDS), drawn, QUERIES.weight
    )
    scores = torch.cat([positive, model.inner(QUERIES)(IDS).masked_fill(~drawn.mask, -1e9)], 1)
    target = torch.cat([torch.ones(24, 1), 0.2 * drawn.mask], 1)
    want = F.cross_entropy(scores, target / target.sum(1, keepdim=True))
    torch.testing.assert_close(got, want)


def test_with_full_mutation_candidates_score_like_the_answer():
    score = mutated(CoordinateMask(rate=0.0))(QUERIES)
    right = score(QUERIES.answer.unsqueeze(1))
    torch.testing.assert_close(score(IDS), right.expand(-1, 6))


def test_positive_mixup_interpolates_with_the_answer():
    torch.manual_seed(0)
    mutant = PositiveMixup()(ANSWER, CANDIDATE, constant_score)
    share = mutant / CANDIDATE
    torch.testing.assert_close(share, share[:, :, :1].expand_as(share))
    assert ((share > 0) & (share < 1)).all()


def test_mixup_weights_follow_the_beta_distribution():
    torch.manual_seed(0)
    one, zero = torch.ones(100, 100, 1), torch.zeros(100, 1, 1)
    share = PositiveMixup(alpha=2.0, beta=1.0)(zero, one, constant_score)
    assert abs(share.mean() - 2 / 3) < 0.01
    assert abs(share.var() - 2 / 36) < 0.005


def test_candidates_near_the_answer_in_score_are_mixed_with_it():
    torch.manual_seed(0)
    answer = torch.full((2, 1, 3), 10.0)
    mutant = AdaptiveMixup(margin=-100.0)(answer, answer.expand(2, 4, 3), by_first_coordinate)
    # no likely false negative: mixed with one another
    assert torch.equal(mutant, answer.expand(2, 4, 3))
    mixed = AdaptiveMixup(margin=100.0)(ANSWER, CANDIDATE, by_first_coordinate)
    share = mixed / CANDIDATE
    torch.testing.assert_close(share, share[:, :, :1].expand_as(share))


def test_candidates_far_from_the_answer_are_mixed_with_one_another():
    torch.manual_seed(0)
    far = torch.full((2, 1, 3), 1e6)
    mutant = AdaptiveMixup()(far, CANDIDATE, by_first_coordinate)
    inside = (mutant >= CANDIDATE.amin(1, True)) & (mutant <= CANDIDATE.amax(1, True))
    assert inside.all()


def test_partners_of_hard_mixup_are_the_best_scored_of_the_list():
    """Towards the one best, all others rise and the best stays."""
    torch.manual_seed(0)
    mutant = HardMixup(hardest=0.25)(ANSWER, CANDIDATE, by_first_coordinate)
    torch.testing.assert_close(mutant[:, 3], CANDIDATE[:, 3])
    assert (mutant[:, :3] > CANDIDATE[:, :3]).all()
    assert (mutant[:, :3] < CANDIDATE[:, 3:]).all()


def test_gradients_reach_answer_and_candidate():
    torch.manual_seed(0)
    answer, candidate = ANSWER.clone().requires_grad_(), CANDIDATE.clone().requires_grad_()
    PositiveMixup()(answer, candidate, constant_score).sum().backward()
    torch.testing.assert_close(
        answer.grad + candidate.grad.sum(1, True), torch.full((2, 1, 3), 4.0)
    )
    assert answer.grad.all()
    assert candidate.grad.all()


def test_each_query_has_its_own_mutants_of_a_shared_list():
    torch.manual_seed(0)
    score = mutated(CoordinateMask(rate=0.5))(QUERIES)
    assert score(IDS[:1]).shape == (24, 6)


def test_a_softmax_over_unmutated_entities_can_be_added():
    model = mutated(CoordinateMask(), softmax_weight=0.5, softmax_negatives=11)
    torch.manual_seed(3)
    ids = torch.randint(11, (1, 11))
    drawn = Negatives.from_ids(QUERIES, ids)
    score = model.inner(QUERIES)
    right = score(QUERIES.answer.unsqueeze(1)).squeeze(1)
    torch.manual_seed(3)
    got = model.regularization(QUERIES)
    torch.testing.assert_close(
        got, 0.5 * SampledSoftmax()(right, score(ids), drawn, QUERIES.weight)
    )


def test_regularization_and_constraints_of_the_inner_model_are_kept():
    class Ruled(DistMult):
        def after_step(self):
            self.ruled = True

    torch.manual_seed(0)
    inner = Ruled(GRAPH, dim=8, n3=0.5)
    model = Mutated(GRAPH, inner=inner, mutator=CoordinateMask())
    model.after_step()
    assert model.inner.ruled
    assert model.regularization(QUERIES) == inner.regularization(QUERIES) > 0


def test_samplers_find_the_vectors_of_entities():
    model = mutated(CoordinateMask())
    assert model.entity is model.inner.entity
    score = model(QUERIES)
    assert torch.equal(score.embeddings(IDS), model.entity(IDS))
    vectors = torch.randn(24, 6, 8)
    torch.testing.assert_close(
        score.score_embeddings(vectors), model.inner(QUERIES).score_embeddings(vectors)
    )


def test_a_mutated_model_is_built_from_a_config():
    spec = {
        "name": "mutated",
        "inner": {"name": "distmult", "dim": 6},
        "mutator": {"name": "coordinate-mask", "rate": 0.39},
    }
    model = build(spec, PARTS["model"][0], "model", graph=GRAPH)
    assert (model.inner.dim, model.mutator.rate) == (6, 0.39)


def test_models_with_more_than_one_vector_per_candidate_are_refused():
    with pytest.raises(ValueError, match="a candidate of TransD is more than one vector"):
        mutated(CoordinateMask(), TransD)(QUERIES)


@pytest.mark.parametrize("options", [{"softmax_weight": -1.0}, {"softmax_negatives": 0}])
def test_the_softmax_options_are_validated(options):
    with pytest.raises(
        ValueError, match="softmax_weight must not be negative, and softmax_negatives"
    ):
        mutated(CoordinateMask(), **options)


def test_the_mask_rate_must_be_a_probability():
    with pytest.raises(ValueError, match=r"rate must be a probability; got 1\.5"):
        CoordinateMask(rate=1.5)


def test_the_hardest_fraction_must_be_positive():
    with pytest.raises(ValueError, match=r"hardest must be a fraction in \(0, 1\]; got 0\.0"):
        HardMixup(hardest=0.0)


@pytest.mark.parametrize("make", [PositiveMixup, AdaptiveMixup, HardMixup])
def test_parameters_of_the_beta_distribution_must_be_positive(make):
    with pytest.raises(ValueError, match=r"Beta distribution must be positive; got 0\.0"):
        make(alpha=0.0)
