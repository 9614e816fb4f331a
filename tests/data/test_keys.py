import torch

from sparring.data.tables import keys


def test_different_triples_have_different_keys():
    triples = torch.cartesian_prod(torch.arange(5), torch.arange(3), torch.arange(5))
    assert len(keys(triples, 5, 3).unique()) == 75


def test_equal_triples_have_equal_keys():
    first, second = keys(torch.tensor([[1, 2, 3], [1, 2, 3]]), 5, 3)
    assert first == second
