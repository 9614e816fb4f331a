import dataclasses
import re
import sys
import threading
import time
import tomllib
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sparring.experiments import loggers
from sparring.experiments.loggers import Loggers, LogOptions
from sparring.experiments.run import run
from sparring.extras import MissingExtraError
from sparring.registry import ConfigError
from sparring.training import Record

CONFIG = {"seed": 3, "model": {"name": "complex", "dim": 8}}


def progress(step: int, loss: float = 0.5) -> Record:
    return Record("progress", step / 10, step, 1.0, {"loss": loss})


def validation(step: int, mrr: float) -> Record:
    return Record("validation", step / 10, step, 1.0, {"mrr": mrr, "hits@10": 1.0})


def logged(folder, to, *records, metrics=None, after=0):
    options = LogOptions(to=[to], project="a project")
    with Loggers(options, folder, CONFIG, after=after) as every:
        for record in records:
            every(record)
        if metrics:
            every.finish(metrics)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A folder where services keep what they receive, without a network."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


@pytest.fixture
def mlflow_runs(offline):
    from mlflow import MlflowClient

    def runs():
        client = MlflowClient()
        place = client.get_experiment_by_name("a project").experiment_id
        return [client.get_run(found.info.run_id) for found in client.search_runs([place])]

    return runs


def read(folder):
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def test_tensorboard_receives_training_validation_and_test(tmp_path):
    records = progress(5, loss=0.25), validation(5, mrr=0.5)
    logged(tmp_path, "tensorboard", *records, metrics={"mrr": 0.75})
    found = read(tmp_path)
    values = {tag: found.Scalars(tag)[0].value for tag in found.Tags()["scalars"]}
    assert values == {
        "training/loss": 0.25,
        "validation/mrr": 0.5,
        "validation/hits@10": 1.0,
        "test/mrr": 0.75,
    }


def test_tensorboard_forgets_what_came_after_the_checkpoint(tmp_path):
    logged(tmp_path, "tensorboard", progress(5), progress(10))
    logged(tmp_path, "tensorboard", progress(6), after=5)
    assert [event.step for event in read(tmp_path).Scalars("training/loss")] == [5, 6]


def test_mlflow_receives_configuration_and_numbers(mlflow_runs, tmp_path):
    records = progress(5, loss=0.25), validation(5, mrr=0.5)
    logged(tmp_path, "mlflow", *records, metrics={"hits@10": 0.75})
    (found,) = mlflow_runs()
    assert found.data.params == {"seed": "3", "model.name": "complex", "model.dim": "8"}
    assert found.data.metrics == {
        "training/loss": 0.25,
        "validation/mrr": 0.5,
        "validation/hits_at_10": 1.0,
        "test/hits_at_10": 0.75,
    }
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "/".join(tmp_path.parts[-2:])


def test_a_stopped_run_of_mlflow_is_killed_and_goes_on_when_resumed(mlflow_runs, tmp_path):
    logged(tmp_path, "mlflow", progress(5))
    assert [found.info.status for found in mlflow_runs()] == ["KILLED"]
    logged(tmp_path, "mlflow", progress(10, loss=0.125), after=5, metrics={"mrr": 0.5})
    (found,) = mlflow_runs()
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"training/loss": 0.125, "test/mrr": 0.5}


@pytest.mark.slow
def test_wandb_keeps_all_offline_and_goes_on_under_the_same_id(offline):
    logged(offline, "wandb", progress(5), validation(5, mrr=0.5))
    logged(offline, "wandb", progress(10), after=5, metrics={"mrr": 0.75})
    folders = sorted((offline / "wandb").glob("offline-run-*"))
    assert len({folder.name.split("-")[3] for folder in folders}) == 1  # one a second ends in "-1"
    names = b"training/loss", b"validation/mrr", b"test/mrr", b"complex"
    for _ in range(100):  # another process writes them
        content = b"".join(path.read_bytes() for path in (offline / "wandb").rglob("*.wandb"))
        if all(name in content for name in names):
            return
        time.sleep(0.1)
    raise AssertionError("no such numbers")


@pytest.mark.slow
def test_wandb_is_offline_where_nobody_is_logged_in(offline, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(offline))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    logged(offline, "wandb", progress(5))
    assert list((offline / "wandb").glob("offline-run-*"))


class Broken:
    """A logger that fails from some call on."""

    def __init__(self, *_, at="log", **__):
        self.at, self.calls = at, 0
        self.fail("open")

    def fail(self, where):
        if where == self.at:
            self.calls += 1
            raise ConnectionError("no answer\nfrom the server")

    def log(self, *_):
        self.fail("log")

    def finish(self, *_):
        self.fail("finish")


@pytest.mark.parametrize("at", ["open", "log", "finish"])
def test_a_logger_that_fails_is_warned_of_once_and_ends_alone(monkeypatch, tmp_path, at):
    monkeypatch.setitem(loggers.LOGGERS, "mlflow", lambda *_: Broken(at=at))
    options = LogOptions(to=["mlflow", "tensorboard"])
    with pytest.warns(UserWarning) as caught, Loggers(options, tmp_path, CONFIG) as every:
        for step in (5, 10):
            every(progress(step))
    assert [str(each.message) for each in caught] == [
        "the log for mlflow failed and is off; training goes on: no answer"
    ]
    assert len(read(tmp_path).Scalars("training/loss")) == 2


def test_a_run_outlives_its_loggers(monkeypatch, config, graph, tmp_path):
    monkeypatch.setitem(loggers.LOGGERS, "mlflow", Broken)
    config = dataclasses.replace(config, log=LogOptions(to=["mlflow"]))
    with pytest.warns(UserWarning, match="the log for mlflow failed"):
        assert run(config, tmp_path / "run", graph=graph)["mrr"] > 0


def test_a_logger_without_its_package_is_refused_before_training(
    monkeypatch, config, graph, tmp_path
):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    config = dataclasses.replace(config, log=LogOptions(to=["mlflow"]))
    with pytest.raises(MissingExtraError, match=r"needs the package mlflow; run .*\[mlflow\]"):
        run(config, tmp_path / "run", graph=graph)
    assert not (tmp_path / "run" / "config.json").exists()


def test_without_tensorboard_nothing_is_logged_by_default(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not Loggers(LogOptions(), tmp_path, CONFIG).open


def test_an_unknown_logger_is_met_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'mlflow'"):
        LogOptions(to=["mlflo"])


def test_a_run_may_be_resumed_with_other_loggers(config, graph, tmp_path):
    run(config, tmp_path / "run", graph=graph)
    config = dataclasses.replace(config, log=LogOptions(to=[]))
    assert run(config, tmp_path / "run", graph=graph, resume=True)


def test_the_command_line_names_loggers(command, write, tables, tmp_path, mlflow_runs):
    words = ("--quiet", "--log", "mlflow", "--set", "log.project=a project")
    assert command("run", write(tables), "--folder", tmp_path / "run", *words).exit_code == 0
    (found,) = mlflow_runs()
    assert 0 < found.data.metrics["test/mrr"] <= 1


PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "logging.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_table_on_the_page_is_valid():
    (table,) = blocks("toml")
    assert LogOptions(**tomllib.loads(table)["log"]).to == ["mlflow", "wandb"]


@pytest.mark.slow
def test_the_code_on_the_page_runs():
    (code,) = blocks("python")
    names: dict = {}
    exec(code, names)
    assert list((names["predictor"].run.folder / "tensorboard").iterdir())


def test_a_full_disk_ends_the_log_for_tensorboard_without_a_traceback(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    shown = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    with suppress(OSError):
        loggers.TensorBoard(tmp_path, LogOptions(), CONFIG).log({"loss": 1.0}, progress(1))
    for thread in threading.enumerate():
        if type(thread).__name__ == "_AsyncWriterThread":
            thread.join(10)
    assert shown == []
