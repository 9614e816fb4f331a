from sparring.optimizers import OPTIMIZERS, RowwiseAdagrad
from sparring.training.checkpoint import CheckpointError
from sparring.training.fit import DivergedError, Fit, FitOptions, Record
from sparring.training.schedules import SCHEDULES
from sparring.training.step import TrainingStep

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "CheckpointError",
    "DivergedError",
    "Fit",
    "FitOptions",
    "Record",
    "RowwiseAdagrad",
    "TrainingStep",
]
