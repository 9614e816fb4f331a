"""Training: one update step, the loop around it, learning rate schedules and checkpoints."""

from sparring.optim import OPTIMIZERS, RowwiseAdagrad
from sparring.training.checkpoint import CheckpointError
from sparring.training.progress import FitOptions, Record
from sparring.training.schedules import SCHEDULES
from sparring.training.step import TrainingStep
from sparring.training.trainer import DivergedError, Trainer

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "CheckpointError",
    "DivergedError",
    "FitOptions",
    "Record",
    "RowwiseAdagrad",
    "Trainer",
    "TrainingStep",
]
