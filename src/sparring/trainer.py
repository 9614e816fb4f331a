"""Training with parts of your own, without a run folder."""

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from sparring.api import load_graph
from sparring.experiments.assembly import assemble
from sparring.experiments.callbacks import ProgressBar
from sparring.experiments.config import PARTS, check_config, merged
from sparring.experiments.fit import plan, run_tables
from sparring.experiments.run import prepare


class Trainer:
    """Trains a model on a graph::

        model = ComplEx(graph.training, dim=64)
        history = Trainer(model, graph, sampler="generator", loss="sampled-softmax").fit(10)

    Each part is a name, a table, a class or an object, as for `sparring.fit`. Nothing is kept on
    disk; `sparring.fit` trains in a folder, from which a model can be loaded.

    Args:
        model: of `graph.training`, if it is an object.
        graph: a graph, or any source that `load_graph` takes.
        sampler, loss, corruption: the other parts of a training step.
        optimizer: a name; `lr` is its rate.
        schedule: of the rate.
        batch_size: triples per step.
        seed: of all random draws.
        device: "cpu", "cuda" or another device that PyTorch knows.
        train_options: entries of the table `train`, such as `validate_every`.

    Attributes:
        step: the training step; `step.model` is the model.
        graph: what it is trained on.

    Raises:
        ConfigError: for an unknown part or option, or parts that do not go together.
    """

    def __init__(
        self,
        model: Any,
        graph: Any,
        *,
        sampler: Any = "generator",
        loss: Any = "auto",
        corruption: Any = "both",
        optimizer: str = "adam",
        lr: float = 1e-2,
        schedule: Any = "constant",
        batch_size: int = 1024,
        seed: int = 0,
        device: str = "cpu",
        **train_options: Any,
    ) -> None:
        self.graph = load_graph(graph)
        parts = {"model": model, "sampler": sampler, "loss": loss, "corruption": corruption}
        optimization = {"optimizer": {"name": optimizer, "lr": lr}, "schedule": schedule}
        given = {**parts, **optimization, "seed": seed, "device": device}
        train = {"batch_size": batch_size, "patience": 0, **train_options}
        wanted = plan(self.graph, given, train=train)
        tables = merged(wanted.tables, {"train": {"validate_every": 1, **train}})
        self.config = check_config(run_tables(tables, self.graph, Path()))
        self.step, _ = assemble(self.config, self.graph, wanted.objects)

    def fit(self, epochs: int, *, minutes: float = 0.0, progress: bool = False) -> pl.DataFrame:
        """Train, and leave the parameters of the best epoch by validation MRR.

        Called again, it goes on from there with a new optimizer.

        Args:
            epochs: passes over the training facts.
            minutes: of processor time, at most; 0 for no limit.
            progress: show a progress bar.

        Returns:
            what was logged: one row per record, with `kind`, `epoch`, `step` and `cpu_seconds`.

        Raises:
            DivergedError: if the loss or a parameter is no longer finite.
        """
        options = replace(self.config.train, epochs=epochs, minutes=float(minutes))
        config = replace(self.config, train=options)
        parts = {name: getattr(self.step, name) for name in PARTS if hasattr(self.step, name)}
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory(prefix="sparring-") as folder:
            trainer = prepare(config, self.graph, Path(folder), parts)
            console = Console(stderr=True, quiet=not progress)
            steps, batch = trainer.steps, trainer.batch_size
            bar = ProgressBar(console, self.graph.name, steps=steps, batch=batch)
            for record in trainer.run():
                row = asdict(record)
                values = row.pop("values")
                rows.append({**row, **values})
                bar(record)
            bar.close()
            trainer.load_best()
        return pl.DataFrame(rows, infer_schema_length=None)
