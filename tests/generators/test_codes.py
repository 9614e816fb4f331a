"""Two codebooks over entities: densities against enumeration, draws against densities."""

import pytest
import torch
from kernels.switch import kernels_on

from sparring.generators.multi_index import DEEPEST, BatchMeanDistribution, InvertedMultiIndex
from sparring.kernels.multi_index import BELOW, remainder, search_cell, write_draws

N, DIM = 40, 6


@pytest.fixture(params=[True, False], ids=["loops", "twins"])
def loops(request):
    with kernels_on(request.param):
        yield


def codes_of(codes=16, visits=1000, seed=0, entities=N):
    rng = torch.Generator().manual_seed(seed)
    vectors = torch.randn(entities, DIM, generator=rng)
    bias = torch.randn(entities, generator=rng)
    made = InvertedMultiIndex(entities, dim=DIM, codes=codes, visits=visits)
    made.restart(vectors, bias)
    return made, vectors, bias


def contexts(batch=5, scale=1.0):
    return scale * torch.randn(batch, DIM, generator=torch.Generator().manual_seed(1))


def everyone(entities=N):
    return torch.arange(entities).unsqueeze(0)


def by_enumeration(codes, context):
    a, b = codes.cell // len(codes.far), codes.cell % len(codes.far)
    rounded = torch.cat([codes.near[a], codes.far[b]], 1)
    return (context @ rounded.T + codes.weight.log()).log_softmax(1)


@pytest.mark.parametrize("codes", [1, 3, 16, 500])
def test_the_density_is_the_softmax_of_rounded_vectors(codes, loops):
    made, *_ = codes_of(codes)
    context = contexts()
    stated = made.log_prob(made.shares(context), everyone())
    torch.testing.assert_close(stated, by_enumeration(made, context), rtol=1e-4, atol=1e-4)


def test_ids_that_are_no_entities_are_refused():
    made, *_ = codes_of()
    for wrong in (N, -1):
        with pytest.raises(IndexError, match=f"1 of 10 candidates are no entities.*to {N - 1}"):
            made.log_prob(made.shares(contexts(5)), torch.tensor([[0, 1]] * 4 + [[2, wrong]]))


def test_with_a_code_for_every_entity_nothing_is_rounded():
    made, vectors, bias = codes_of(codes=8 * N)
    context = contexts()
    exact = (context @ vectors.T + bias).log_softmax(1)
    torch.testing.assert_close(
        made.log_prob(made.shares(context), everyone()), exact, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("codes", [1, 16, 500])
def test_draws_follow_the_density(codes, loops):
    made, *_ = codes_of(codes)
    context = contexts(1).expand(2000, -1)
    shares = made.shares(context)
    drawn = made.draw(shares, 50, torch.Generator().manual_seed(2))
    share = made.log_prob(shares[:1], everyone())[0].double().exp()
    expected = share * drawn.numel()
    counts = torch.bincount(drawn.flatten(), minlength=N).double()
    often = expected > 5
    chi = ((counts - expected)[often] ** 2 / expected[often]).sum()
    freedom = int(often.sum()) - 1
    assert (chi - freedom) / (2 * freedom) ** 0.5 < 5
    assert counts[~often].sum() <= expected[~often].sum() + 20


def test_a_pool_is_drawn_from_the_mean_of_what_each_query_asks_for():
    made, *_ = codes_of(codes=16)
    shares = made.shares(contexts(scale=2.0))
    pool = BatchMeanDistribution.of(shares)
    own = made.log_prob(shares, everyone()).double().exp()
    stated = pool.log_prob(made, everyone())
    assert stated.shape == own.shape
    torch.testing.assert_close(stated[0].double().exp(), own.mean(0), rtol=1e-4, atol=1e-6)
    drawn = pool.draw(made, 100_000, torch.Generator().manual_seed(0))
    expected = own.mean(0) * drawn.numel()
    often = expected > 5
    counts = torch.bincount(drawn.flatten(), minlength=N)
    chi = ((counts - expected)[often] ** 2 / expected[often]).sum()
    freedom = int(often.sum()) - 1
    assert (chi - freedom) / (2 * freedom) ** 0.5 < 5


def test_some_queries_of_a_pool_look_at_the_same_list():
    made, *_ = codes_of()
    pool = BatchMeanDistribution.of(made.shares(contexts()))
    some = pool[1::2].log_prob(made, everyone())
    torch.testing.assert_close(some, pool.log_prob(made, everyone())[:2])


def test_loops_draw_the_same_as_everything_else():
    """But for lots that fall on an edge, which rounding moves."""
    made, *_ = codes_of(codes=500, entities=3000)
    shares = made.shares(contexts(200, scale=3.0))
    quick = made.draw(shares, 20, torch.Generator().manual_seed(2))
    with kernels_on(False):
        plain = made.draw(shares, 20, torch.Generator().manual_seed(2))
    assert (quick != plain).sum() <= 4


def test_lots_at_either_end_lead_to_someone():
    """Also where the last cells of all hold nobody, and rounding leads into them."""
    made, *_ = codes_of()
    made.cell[made.cell >= len(made.near) * len(made.far) // 2] = 0
    made.next_cell.copy_(made.cell)
    made._take_effect(torch.zeros(N, DIM))
    assert made.size[-1] == 0
    shares = made.shares(contexts(3))
    lots = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.double).repeat(3, 1)
    cells = (made.first, made.size, made.upto, made.order, made.hint)
    ids = torch.full(lots.shape, -1)
    given = (shares.row, shares.far, made.mass, *cells, lots, ids)
    write_draws(*(one.numpy() for one in given), 0.0)
    assert ((ids >= 0) & (ids < N)).all()
    nobody = len(made.size) - 1
    assert search_cell(*(one.numpy() for one in (*cells[:3], made.hint)), nobody, 0.9) < N


def test_what_rounding_did_to_a_share_is_undone():
    assert remainder(0.5, 2.0) == 0.25
    assert (
        remainder(2.5, 2.0)
        == remainder(1.0, 0.0)
        == remainder(-1e-9, 2.0)
        == remainder(0.0, 0.0)
        == BELOW
    )


def test_a_share_of_the_draws_is_uniform():
    """Those that the same lots do not lead to cells are as likely to be anyone."""
    made, *_ = codes_of()
    shares = made.shares(contexts(1, scale=3.0).expand(4000, -1))
    drawn = [made.draw(shares, 25, torch.Generator().manual_seed(2), 0.4)]
    with kernels_on(False):
        drawn.append(made.draw(shares, 25, torch.Generator().manual_seed(2), 0.4))
    assert (drawn[0] != drawn[1]).sum() <= 10
    expected = made.log_prob(shares[:1], everyone(), 0.4)[0].double().exp() * drawn[0].numel()
    counts = torch.bincount(drawn[0].flatten(), minlength=N).double()
    chi = ((counts - expected) ** 2 / expected).sum()
    assert (chi - N + 1) / (2 * N - 2) ** 0.5 < 5


def test_however_sharp_the_question_something_real_is_drawn(loops):
    made, *_ = codes_of()
    shares = made.shares(contexts(50, scale=1e4))
    drawn = made.draw(shares, 8, torch.Generator().manual_seed(0))
    assert ((drawn >= 0) & (drawn < N)).all()
    stated = made.log_prob(shares, everyone())
    assert stated.isfinite().all()
    torch.testing.assert_close(stated.exp().sum(1), torch.ones(50), rtol=1e-4, atol=1e-4)


def test_rare_entities_stay_possible():
    made = InvertedMultiIndex(N, dim=DIM, codes=4, visits=N)
    bias = torch.zeros(N)
    bias[3] = -1e6
    made.restart(torch.zeros(N, DIM), bias)
    stated = made.log_prob(made.shares(contexts(1)), everyone())[0]
    assert stated[3] == pytest.approx(stated[0].item() - DEEPEST, abs=1e-3)


def test_new_vectors_take_effect_when_all_entities_have_been_visited():
    made, vectors, bias = codes_of(visits=15)
    before = by_enumeration(made, contexts())
    for step in range(3):
        stated = made.log_prob(made.shares(contexts()), everyone())
        torch.testing.assert_close(stated, before, rtol=1e-4, atol=1e-4)
        assert made.place == 15 * step
        made.visit(-vectors, bias)
    assert made.place == 0
    after = made.log_prob(made.shares(contexts()), everyone())
    assert not torch.allclose(after, before, atol=1e-2)


def test_codes_move_to_the_mean_of_their_entities():
    made, vectors, _bias = codes_of(codes=4)
    near, _ = vectors.split(DIM // 2, 1)
    for code, place in enumerate(made.near):
        mine = near[made.cell // len(made.far) == code]
        torch.testing.assert_close(place, mine.mean(0))


def test_every_round_of_visits_rounds_less():
    made, vectors, bias = codes_of(codes=8)

    def lost():
        a, b = made.cell // len(made.far), made.cell % len(made.far)
        return ((vectors - torch.cat([made.near[a], made.far[b]], 1)) ** 2).sum()

    first = lost()
    for _ in range(10):
        made.visit(vectors, bias)
    assert lost() < first


def test_a_code_without_entities_starts_again_at_one_of_them():
    made, vectors, bias = codes_of(codes=8)
    made.near[5] = 1e6
    made.visit(vectors, bias)
    assert (made.near[5] == vectors[5 * N // 8, : DIM // 2]).all()


def test_a_round_under_way_is_part_of_the_state():
    made, vectors, bias = codes_of(visits=15)
    made.visit(-vectors, bias)
    heir = InvertedMultiIndex(N, dim=DIM, codes=16, visits=15)
    heir.load_state_dict(made.state_dict())
    for codes in (made, heir):
        codes.visit(-vectors, bias)
        codes.visit(-vectors, bias)
    assert made.place == heir.place == 0
    for name, part in made.named_buffers():
        assert torch.equal(part, heir.get_buffer(name)), name


@pytest.mark.parametrize(
    "options, match",
    [
        ({"dim": 5}, "dim must be even; got dim=5"),
        ({"codes": 0}, "at least one code and visit; got codes=0"),
        ({"visits": 0}, "at least one code and visit"),
    ],
)
def test_what_cannot_be_halved_or_visited_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        InvertedMultiIndex(N, **{"dim": DIM, "codes": 4, "visits": 4, **options})
