import copy

import pytest
import torch
from kernels.switch import kernels_on
from torch import nn

from sparring import optim as optimizers
from sparring.kernels import runtime
from sparring.optim import OPTIMIZERS, RowwiseAdagrad

LR, EPS = 0.1, 1e-8
ROWS, DIM = 5, 3
# row 4 never comes by; rows repeat within a batch
BATCHES = [[0, 1, 1], [3, 0, 2], [1, 1, 1]]


def table(**options):
    torch.manual_seed(0)
    return nn.Embedding(ROWS, DIM, **options)


def pull(embedding, batch):
    """A gradient that differs by row and by occurrence."""
    vectors = embedding(torch.tensor(batch))
    scale = torch.arange(1.0, len(batch) + 1).unsqueeze(1)
    return (scale * vectors**2).sum()


def trained(embedding, optimizer):
    for batch in BATCHES:
        optimizer.zero_grad()
        pull(embedding, batch).backward()
        optimizer.step()
    return embedding.weight.detach()


def adagrad_by_rows():
    """The same as plain loops over numbers."""
    weight = table().weight.tolist()
    total = [0.0] * ROWS
    for batch in BATCHES:
        grad = [[0.0] * DIM for _ in range(ROWS)]
        for place, row in enumerate(batch):
            for i in range(DIM):
                grad[row][i] += 2 * (place + 1) * weight[row][i]
        for row in set(batch):
            total[row] += sum(x * x for x in grad[row]) / DIM
            for i in range(DIM):
                weight[row][i] -= LR * grad[row][i] / (total[row] ** 0.5 + EPS)
    return torch.tensor(weight)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_rowwise_adagrad_by_hand(sparse):
    embedding = table(sparse=sparse)
    got = trained(embedding, RowwiseAdagrad(embedding.parameters(), lr=LR))
    torch.testing.assert_close(got, adagrad_by_rows())


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_rowwise_adagrad_leaves_other_rows_alone(sparse):
    embedding = table(sparse=sparse)
    before = embedding.weight[4].clone()
    trained(embedding, RowwiseAdagrad(embedding.parameters(), lr=LR))
    assert torch.equal(embedding.weight[4], before)


def test_rowwise_adagrad_keeps_one_number_per_row():
    embedding = table(sparse=True)
    optimizer = RowwiseAdagrad(embedding.parameters(), lr=LR)
    trained(embedding, optimizer)
    assert optimizer.state[embedding.weight]["sum"].shape == (ROWS,)


def test_on_vectors_rowwise_adagrad_is_adagrad():
    start = torch.tensor([1.0, -2.0, 3.0])
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    pairs = [(ours, RowwiseAdagrad([ours], lr=LR)), (theirs, torch.optim.Adagrad([theirs], lr=LR))]
    for _ in range(3):
        for parameter, optimizer in pairs:
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_rowwise_adagrad_skips_what_has_no_gradient():
    parameter = nn.Parameter(torch.ones(2, 2))
    RowwiseAdagrad([parameter], lr=LR).step()
    assert torch.equal(parameter, torch.ones(2, 2))


def test_rowwise_adagrad_goes_on_where_its_state_was_saved():
    embedding = table()
    optimizer = RowwiseAdagrad(embedding.parameters(), lr=LR)
    trained(embedding, optimizer)
    twin = table()
    twin.load_state_dict(embedding.state_dict())
    other = RowwiseAdagrad(twin.parameters(), lr=LR)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert torch.equal(trained(embedding, optimizer), trained(twin, other))


@pytest.mark.parametrize("lr", [0.0, -0.1])
def test_a_learning_rate_is_positive(lr):
    with pytest.raises(ValueError, match="the learning rate must be above 0; got"):
        RowwiseAdagrad([nn.Parameter(torch.ones(1))], lr=lr)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_take_the_rate_they_are_given(name):
    parameters = [nn.Parameter(torch.ones(2, 2))]
    assert OPTIMIZERS[name](parameters, lr=0.25).param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize(
    "name, same",
    [
        ("adagrad", lambda p: torch.optim.Adagrad(p, lr=LR)),
        ("adam", lambda p: torch.optim.Adam(p, lr=LR)),
    ],
)
def test_dense_optimizers_are_those_of_torch(name, same):
    one, two = table(), table()
    got = trained(one, OPTIMIZERS[name](list(one.parameters()), lr=LR))
    torch.testing.assert_close(got, trained(two, same(list(two.parameters()))))


@pytest.fixture(params=["loops", "twins", "threads"])
def way(request, monkeypatch):
    """Compiled loops, PyTorch's own operations, or loops on two threads."""
    if request.param == "threads":
        monkeypatch.setattr(runtime, "NUMBERS_PER_THREAD", 1)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with kernels_on(request.param != "twins"):
        yield


PEERS = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}


@pytest.mark.parametrize("name", PEERS)
def test_sparse_gradients_do_what_dense_ones_do(name, way):
    """With Adam, rows move in steps in which they have no gradient."""
    dense, sparse = table(), table(sparse=True)
    want = trained(dense, PEERS[name](dense.parameters(), lr=LR))
    got = trained(sparse, OPTIMIZERS[name](list(sparse.parameters()), lr=LR))
    assert sparse.weight.grad is not None
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", PEERS)
def test_sparse_gradients_come_in_any_order_and_more_than_once(name):
    row = torch.tensor([[3, 1, 3]])
    grad = torch.sparse_coo_tensor(row, torch.eye(3), (ROWS, DIM), check_invariants=False)
    found = []
    for one in (grad, grad.to_dense()):
        parameter = nn.Parameter(torch.ones(ROWS, DIM))
        parameter.grad = one
        OPTIMIZERS[name]([parameter], lr=LR).step()
        found.append(parameter.detach())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", PEERS)
def test_sparse_gradients_beside_dense_ones(name):
    parameters = [nn.Parameter(torch.ones(ROWS, DIM)) for _ in range(2)]
    optimizer = OPTIMIZERS[name](parameters, lr=LR)
    parameters[0].grad = torch.eye(ROWS, DIM).to_sparse(1)
    parameters[1].grad = torch.eye(ROWS, DIM)
    optimizer.step()
    torch.testing.assert_close(*parameters)
    assert parameters[0].grad.is_sparse


@pytest.mark.parametrize("name", PEERS)
def test_an_optimizer_goes_on_where_its_state_was_saved(name):
    embedding, twin = table(sparse=True), table()
    optimizer = OPTIMIZERS[name](list(embedding.parameters()), lr=LR)
    trained(embedding, optimizer)
    twin.load_state_dict(embedding.state_dict())
    other = PEERS[name](twin.parameters(), lr=LR)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    torch.testing.assert_close(trained(embedding, optimizer), trained(twin, other))


def test_betas_are_heeded_with_sparse_gradients():
    dense, sparse = table(), table(sparse=True)
    want = trained(dense, torch.optim.Adam(dense.parameters(), lr=LR, betas=(0.5, 0.8)))
    given = {"lr": LR, "beta1": 0.5, "beta2": 0.8}
    torch.testing.assert_close(trained(sparse, OPTIMIZERS["adam"]([sparse.weight], **given)), want)


def test_no_optimizer_bears_a_name_of_torchs():
    """PyKEEN registers every subclass of torch's by its name, and refuses two of one name."""
    ours = {one for one in vars(optimizers).values() if isinstance(one, type)}
    assert ours and not {one.__name__ for one in ours} & set(dir(torch.optim))
