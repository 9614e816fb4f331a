"""From the folder of a run to the workspace that `sparring serve` shows."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparring.data.graph import KnowledgeGraph
from sparring.evaluation.audit import MEASURES, share
from sparring.evaluation.breakdown import Row
from sparring.evaluation.probability import ProbabilityCalibration, fit_calibration
from sparring.experiments.audit_run import audit_sampler
from sparring.experiments.config import Config
from sparring.experiments.run_folder import CALIBRATION, Run, RunError
from sparring.extras import MissingExtraError
from sparring.serve.database import DatabaseError
from sparring.serve.labels import LabelIndex
from sparring.serve.reviews import Reviews
from sparring.serve.served import ServedModel
from sparring.serve.workspace import Workspace, label_rows
from sparring.training import TrainingStep

REVIEWS, LABELS = "reviews.db", "labels.db"
Say = Callable[[str], None]


def open_workspace(
    run: Run, *, reviews: Path | None = None, say: Say = lambda text: None
) -> Workspace:
    """The model of a run, with the databases next to it, which are made where they are missing.

    A run without a calibration gets one, if that is possible.

    Args:
        run: a run, finished or not.
        reviews: file of the decisions; `reviews.db` in the folder of the run by default.
        say: receives what is being done.

    Raises:
        RunError: if the folder is not that of a run.
        DatabaseError: if a file is not a database of this kind.
    """
    config = run.config()
    graph = run.graph(config)
    step = run.load_step(config, graph)
    calibration = _calibration(run, step, graph, say)
    served = ServedModel(
        name=name_of(run, graph),
        identity=identity_of(run),
        graph=graph,
        model=step.model,
        sampler=step.sampler,
        calibration=calibration,
        about=_about(config),
        metrics=run.metrics(),
        rows=_rows(run),
        curve=[(row["epoch"], row["mrr"]) for row in _log(run) if row["kind"] == "validation"],
        run_audit=lambda: audit_rows(step, graph, config),
        seed=config.general.seed,
    )
    return Workspace(
        served, Reviews(reviews or run.folder / REVIEWS), _labels(run.folder, served, say)
    )


def name_of(run: Run, graph: KnowledgeGraph) -> str:
    """The folder of a run and its graph, as pages show them."""
    folder = run.folder.resolve().name
    return folder if folder == graph.name else f"{folder} ({graph.name})"


def identity_of(run: Run) -> str:
    """Changes with the parameters and the calibration of a run."""
    digest = hashlib.blake2b(digest_size=8)
    for name in ("best.json", "last.json", CALIBRATION):
        path = run.folder / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def audit_rows(
    step: TrainingStep, graph: KnowledgeGraph, config: Config
) -> dict[str, tuple[str, str]]:
    """An audit as the page shows it: the sampler, and the uniform one."""
    found = audit_sampler(step, graph, config, model=step.model)
    uniform = found.baseline or found
    return {
        title: (share(getattr(found.overall, name)), share(getattr(uniform.overall, name)))
        for name, title in MEASURES.items()
    }


def _calibration(
    run: Run, step: TrainingStep, graph: KnowledgeGraph, say: Say
) -> ProbabilityCalibration | None:
    if found := run.calibration():
        return found
    say("calibrating, so that answers have probabilities")
    try:
        found = fit_calibration(step.model, graph, sampler=step.sampler)
        run.save_calibration(found)
    except (MissingExtraError, ValueError) as error:
        say(f"no probabilities: {error}")
    except OSError:
        pass  # a folder that must not be written to
    return found


def _about(config: Config) -> dict[str, dict[str, str]]:
    tables = config.as_dict()
    shown = ("model", "sampler", "loss", "corruption", "optimizer", "schedule", "train")
    return {
        name.capitalize(): {key: _in_words(value) for key, value in tables[name].items()}
        for name in shown
        if tables.get(name)
    }


def _in_words(value: Any) -> str:
    return (
        ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else f"{value}"
    )


def _log(run: Run) -> list[dict[str, Any]]:
    try:
        return run.log()
    except RunError:
        return []


def _rows(run: Run) -> tuple[Row, ...]:
    try:
        return run.breakdown().rows
    except RunError:
        return ()


def _labels(folder: Path, served: ServedModel, say: Say) -> LabelIndex:
    """The index next to the model, or a temporary one where the folder cannot be written to."""
    digest = served.graph.content_hash
    try:
        labels = LabelIndex(folder / LABELS)
        _build(labels, digest, served, say)
    except (OSError, DatabaseError):
        labels = LabelIndex(Path(tempfile.mkdtemp(prefix="sparring-"), LABELS))
        _build(labels, digest, served, say)
    return labels


def _build(labels: LabelIndex, digest: str, served: ServedModel, say: Say) -> None:
    if len(served.graph.entities) > 100_000:
        say("indexing names")
    labels.build(digest, label_rows(served))
