"""Cells of two codebooks: densities by enumeration, draws by densities."""

import pytest
import torch
from kernels.switch import kernels_on

from sparring.generators.multi_index import (
    MAX_BIAS_GAP,
    BatchMeanDistribution,
    GroupMeanDistribution,
    InvertedMultiIndex,
)
from sparring.kernels.multi_index import first_guess, search_cell, write_draws
from sparring.testing.samplers import chi_square

N, DIM = 40, 6


@pytest.fixture(params=[True, False], ids=["loops", "twins"])
def loops(request):
    with kernels_on(request.param):
        yield


def codes_of(codes=16, assign_per_update=1000, seed=0, entities=N):
    rng = torch.Generator().manual_seed(seed)
    vectors = torch.randn(entities, DIM, generator=rng)
    bias = torch.randn(entities, generator=rng)
    made = InvertedMultiIndex(entities, dim=DIM, codes=codes, assign_per_update=assign_per_update)
    made.initialize(vectors, bias)
    return made, vectors, bias


def contexts(batch=5, scale=1.0):
    return scale * torch.randn(batch, DIM, generator=torch.Generator().manual_seed(1))


def everyone(entities=N):
    return torch.arange(entities).unsqueeze(0)


def by_enumeration(codes, context):
    a, b = codes.cell // len(codes.codebook_2), codes.cell % len(codes.codebook_2)
    rounded = torch.cat([codes.codebook_1[a], codes.codebook_2[b]], 1)
    return (context @ rounded.T + codes.weight.log()).log_softmax(1)


@pytest.mark.parametrize("codes", [1, 3, 16, 500])
def test_the_density_is_the_softmax_of_rounded_vectors(codes, loops):
    made, *_ = codes_of(codes)
    context = contexts()
    log_prob = made.distribution(context).log_prob(everyone())
    torch.testing.assert_close(log_prob, by_enumeration(made, context), rtol=1e-4, atol=1e-4)


def test_ids_that_are_no_entities_are_refused():
    made, *_ = codes_of()
    for wrong in (N, -1):
        with pytest.raises(IndexError, match=f"1 of 10 candidates are no entities.*to {N - 1}"):
            made.distribution(contexts(5)).log_prob(torch.tensor([[0, 1]] * 4 + [[2, wrong]]))


def test_with_a_code_for_every_entity_nothing_is_rounded():
    made, vectors, bias = codes_of(codes=8 * N)
    context = contexts()
    exact = (context @ vectors.T + bias).log_softmax(1)
    torch.testing.assert_close(
        made.distribution(context).log_prob(everyone()), exact, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("codes", [1, 16, 500])
def test_draws_follow_the_density(codes, loops):
    made, *_ = codes_of(codes)
    context = contexts(1).expand(2000, -1)
    own = made.distribution(context)
    drawn = own.draw(50, torch.Generator().manual_seed(2))
    probability = own[:1].log_prob(everyone())[0].double().exp()
    expected = probability * drawn.numel()
    counts = torch.bincount(drawn.flatten(), minlength=N).double()
    often = expected > 5
    chi = ((counts - expected)[often] ** 2 / expected[often]).sum()
    freedom = int(often.sum()) - 1
    assert (chi - freedom) / (2 * freedom) ** 0.5 < 5
    assert counts[~often].sum() <= expected[~often].sum() + 20


def test_a_shared_list_is_drawn_from_the_mean_of_the_distributions():
    made, *_ = codes_of(codes=16)
    own = made.distribution(contexts(scale=2.0))
    mean = BatchMeanDistribution.of(own)
    probability = own.log_prob(everyone()).double().exp()
    log_prob = mean.log_prob(everyone())
    assert log_prob.shape == probability.shape
    torch.testing.assert_close(
        log_prob[0].double().exp(), probability.mean(0), rtol=1e-4, atol=1e-6
    )
    drawn = mean.draw(100_000, torch.Generator().manual_seed(0))
    expected = probability.mean(0) * drawn.numel()
    often = expected > 5
    counts = torch.bincount(drawn.flatten(), minlength=N)
    chi = ((counts - expected)[often] ** 2 / expected[often]).sum()
    freedom = int(often.sum()) - 1
    assert (chi - freedom) / (2 * freedom) ** 0.5 < 5


def test_some_queries_of_a_batch_share_the_same_list():
    made, *_ = codes_of()
    mean = BatchMeanDistribution.of(made.distribution(contexts()))
    some = mean[1::2].log_prob(everyone())
    torch.testing.assert_close(some, mean.log_prob(everyone())[:2])


def grouped(groups=2, batch=6):
    made, *_ = codes_of(codes=16)
    own = made.distribution(contexts(batch, scale=2.0))
    means = own.log_prob(everyone()).double().exp().unflatten(0, (groups, -1)).mean(1)
    return GroupMeanDistribution.of(own, groups), means


def test_the_list_of_a_group_is_drawn_from_the_mean_of_its_queries():
    group, means = grouped()
    log_prob = group.log_prob(everyone(), 0.1)
    expected = 0.9 * means + 0.1 / N
    torch.testing.assert_close(
        log_prob.double().exp(), expected.repeat_interleave(3, 0), rtol=1e-4, atol=1e-6
    )
    drawn = group.draw(50_000, torch.Generator().manual_seed(0), 0.1)
    for ids, each in zip(drawn, expected):
        assert chi_square(torch.bincount(ids, minlength=N), 50_000 * each) > 1e-6


def test_a_group_of_all_queries_has_the_density_of_the_batch():
    made, *_ = codes_of(codes=16)
    own = made.distribution(contexts(6, scale=2.0))
    one, batch = GroupMeanDistribution.of(own, 1), BatchMeanDistribution.of(own)
    torch.testing.assert_close(one.log_prob(everyone()), batch.log_prob(everyone()))


def test_densities_of_groups_are_known_for_any_lists_and_queries():
    group, _ = grouped(groups=3)
    table = group.log_prob(everyone())
    source = torch.Generator().manual_seed(3)
    for lists in (1, 2, 3, 6):
        ids = torch.randint(N, (lists, 4), generator=source)
        expected = table.gather(1, ids.repeat_interleave(6 // lists, 0))
        torch.testing.assert_close(group.log_prob(ids), expected)
    ids = torch.randint(N, (2, 4), generator=source)
    torch.testing.assert_close(group[1::4].log_prob(ids), table[1::4].gather(1, ids))


def test_loops_draw_the_same_as_everything_else():
    """Except for numbers that fall on an edge, which rounding moves."""
    made, *_ = codes_of(codes=500, entities=3000)
    own = made.distribution(contexts(200, scale=3.0))
    quick = own.draw(20, torch.Generator().manual_seed(2))
    with kernels_on(False):
        plain = own.draw(20, torch.Generator().manual_seed(2))
    assert (quick != plain).sum() <= 4


def test_numbers_at_either_end_lead_to_someone():
    """Also where the last cells of all hold nobody, and rounding leads into them."""
    made, *_ = codes_of()
    made.cell[made.cell >= len(made.codebook_1) * len(made.codebook_2) // 2] = 0
    made.next_cell.copy_(made.cell)
    made._rebuild(torch.zeros(N, DIM))
    assert made.size[-1] == 0
    own = made.distribution(contexts(3))
    us = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.double).repeat(3, 1)
    ids, cell, weight = torch.full(us.shape, -1), torch.empty_like(us).long(), torch.empty(us.shape)
    records = made.cells.records
    by_cell = (made.mass, made.first, made.size, made.hint, made.cell, made.weight)
    parts = (records, records.view(torch.int32), records.view(torch.float32))
    given = (own.row_total, own.column, *by_cell, *parts, us, ids, cell, weight)
    write_draws(*(one.numpy() for one in given), 0.0)
    assert ((ids >= 0) & (ids < N)).all()
    nobody = len(made.size) - 1
    first, size, hint, records = (
        one.numpy() for one in (made.first, made.size, made.hint, made.cells.records)
    )
    guess = first_guess(first, size, hint, nobody, 0.9)
    assert search_cell(first, size, records, guess, nobody, 0.9) < N


def test_a_share_of_the_draws_is_uniform():
    """Those that the same numbers do not lead to cells are equally likely to be any entity."""
    made, *_ = codes_of()
    own = made.distribution(contexts(1, scale=3.0).expand(4000, -1))
    drawn = [own.draw(25, torch.Generator().manual_seed(2), 0.4)]
    with kernels_on(False):
        drawn.append(own.draw(25, torch.Generator().manual_seed(2), 0.4))
    assert (drawn[0] != drawn[1]).sum() <= 10
    expected = own[:1].log_prob(everyone(), 0.4)[0].double().exp() * drawn[0].numel()
    counts = torch.bincount(drawn[0].flatten(), minlength=N).double()
    chi = ((counts - expected) ** 2 / expected).sum()
    assert (chi - N + 1) / (2 * N - 2) ** 0.5 < 5


def test_however_sharp_the_question_something_real_is_drawn(loops):
    made, *_ = codes_of()
    own = made.distribution(contexts(50, scale=1e4))
    drawn = own.draw(8, torch.Generator().manual_seed(0))
    assert ((drawn >= 0) & (drawn < N)).all()
    log_prob = own.log_prob(everyone())
    assert log_prob.isfinite().all()
    torch.testing.assert_close(log_prob.exp().sum(1), torch.ones(50), rtol=1e-4, atol=1e-4)


def test_rare_entities_stay_possible():
    made = InvertedMultiIndex(N, dim=DIM, codes=4, assign_per_update=N)
    bias = torch.zeros(N)
    bias[3] = -1e6
    made.initialize(torch.zeros(N, DIM), bias)
    log_prob = made.distribution(contexts(1)).log_prob(everyone())[0]
    assert log_prob[3] == pytest.approx(log_prob[0].item() - MAX_BIAS_GAP, abs=1e-3)


def test_new_vectors_take_effect_when_all_entities_have_been_assigned():
    made, vectors, bias = codes_of(assign_per_update=15)
    before = by_enumeration(made, contexts())
    for step in range(3):
        log_prob = made.distribution(contexts()).log_prob(everyone())
        torch.testing.assert_close(log_prob, before, rtol=1e-4, atol=1e-4)
        assert made.position == 15 * step
        made.assign(-vectors, bias)
    assert made.position == 0
    after = made.distribution(contexts()).log_prob(everyone())
    assert not torch.allclose(after, before, atol=1e-2)


def test_codes_move_to_the_mean_of_tresumed_entities():
    made, vectors, _bias = codes_of(codes=4)
    codebook_1, _ = vectors.split(DIM // 2, 1)
    for code, position in enumerate(made.codebook_1):
        mine = codebook_1[made.cell // len(made.codebook_2) == code]
        torch.testing.assert_close(position, mine.mean(0))


def test_every_round_of_assignments_rounds_less():
    made, vectors, bias = codes_of(codes=8)

    def lost():
        a, b = made.cell // len(made.codebook_2), made.cell % len(made.codebook_2)
        return ((vectors - torch.cat([made.codebook_1[a], made.codebook_2[b]], 1)) ** 2).sum()

    first = lost()
    for _ in range(10):
        made.assign(vectors, bias)
    assert lost() < first


def test_a_code_without_entities_starts_again_at_one_of_them():
    made, vectors, bias = codes_of(codes=8)
    made.codebook_1[5] = 1e6
    made.assign(vectors, bias)
    assert (made.codebook_1[5] == vectors[5 * N // 8, : DIM // 2]).all()


def test_a_round_under_way_is_part_of_the_state():
    made, vectors, bias = codes_of(assign_per_update=15)
    made.assign(-vectors, bias)
    resumed = InvertedMultiIndex(N, dim=DIM, codes=16, assign_per_update=15)
    resumed.load_state_dict(made.state_dict())
    for codes in (made, resumed):
        codes.assign(-vectors, bias)
        codes.assign(-vectors, bias)
    assert made.position == resumed.position == 0
    for name, part in made.named_buffers():
        assert torch.equal(part, resumed.get_buffer(name)), name


@pytest.mark.parametrize(
    "options, match",
    [
        ({"dim": 5}, "dim must be even; got dim=5"),
        ({"codes": 0}, "at least one code, and .*; got codes=0"),
        ({"assign_per_update": 0}, "at least one entity per update; .*, assign_per_update=0"),
    ],
)
def test_what_cannot_be_halved_or_assigned_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        InvertedMultiIndex(N, **{"dim": DIM, "codes": 4, "assign_per_update": 4, **options})
