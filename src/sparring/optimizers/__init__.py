"""Optimisers that know rows of tables, by name."""

import torch
from torch import nn

from sparring.optimizers.rowwise import RowwiseAdagrad
from sparring.optimizers.sparse import TableAdagrad, TableAdam


def rowwise_adagrad(params: list[nn.Parameter], *, lr: float = 0.1) -> torch.optim.Optimizer:
    """Adagrad with one accumulator per row; for big tables, with `sparse` models."""
    return RowwiseAdagrad(params, lr=lr)


OPTIMIZERS = {"adagrad": TableAdagrad, "adam": TableAdam, "rowwise-adagrad": rowwise_adagrad}

__all__ = ["OPTIMIZERS", "RowwiseAdagrad", "TableAdagrad", "TableAdam"]
