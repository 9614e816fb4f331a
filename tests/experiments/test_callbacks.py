import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from sparring.experiments.callbacks import JsonLines, ProgressBar, progress_callbacks
from sparring.experiments.run import prepare
from sparring.files import unsealed
from sparring.training import Record


def progress(step: int, loss: float = 0.5) -> Record:
    return Record("progress", step / 10, step, 1.0, {"loss": loss})


def validation(step: int, mrr: float) -> Record:
    return Record("validation", step / 10, step, 1.0, {"mrr": mrr})


def steps(path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def logged(callback, *records):
    for record in records:
        callback(record)
    callback.close()


def test_each_record_is_a_line(tmp_path):
    path = tmp_path / "log.jsonl"
    logged(JsonLines(path), progress(5, loss=0.25))
    row = {"kind": "progress", "epoch": 0.5, "step": 5, "cpu_seconds": 1.0, "loss": 0.25}
    assert unsealed(json.loads(path.read_text())) == row


def test_lines_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    logged(JsonLines(path), progress(5), progress(10), progress(15))
    logged(JsonLines(path, after=10), progress(20))
    assert steps(path) == [5, 10, 20]


def test_a_new_run_starts_an_empty_log(tmp_path):
    path = tmp_path / "log.jsonl"
    logged(JsonLines(path), progress(5))
    logged(JsonLines(path), progress(1))
    assert steps(path) == [1]


def test_a_line_cut_short_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    logged(JsonLines(path), progress(5))
    path.write_text(path.read_text() + '{"kind": "prog')
    logged(JsonLines(path, after=5))
    assert steps(path) == [5]


@pytest.mark.slow
def test_the_log_is_safe_where_the_disk_is_full(tmp_path):
    """A resumed run rewrites no line that it keeps."""
    path = tmp_path / "log.jsonl"
    logged(JsonLines(path), *map(progress, range(1, 200)))
    before = path.read_bytes().splitlines(keepends=True)
    code = f"""
import resource, signal
from pathlib import Path
from sparring.experiments.callbacks import JsonLines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
JsonLines(Path({str(path)!r}), after=150)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.read_bytes() == b"".join(before[:150])


def test_a_damaged_line_costs_no_other(tmp_path):
    path = tmp_path / "log.jsonl"
    logged(JsonLines(path), progress(5), progress(10))
    path.write_text("[1]\n{}\n" + path.read_text())
    logged(JsonLines(path, after=5))
    assert (
        path.read_text().startswith('[1]\n{}\n{"kind"') and len(path.read_text().splitlines()) == 3
    )


def test_the_end_of_a_stopped_training_is_no_end(tmp_path):
    path = tmp_path / "log.jsonl"
    logged(JsonLines(path), progress(5), Record("end", 0.5, 5, 1.0, {"stopped": 1.0}))
    logged(JsonLines(path, after=5))
    assert steps(path) == [5]


def test_the_bar_shows_loss_and_mrr():
    screen = io.StringIO()
    console = Console(file=screen, width=120)
    logged(
        ProgressBar(console, "small", steps=10, batch=4),
        progress(10, loss=0.25),
        validation(10, 0.5),
    )
    assert "small" in screen.getvalue()
    assert "loss 0.2500  MRR 0.5000" in screen.getvalue()


def test_a_resumed_bar_begins_where_training_stopped():
    bar = ProgressBar(Console(file=io.StringIO()), "small", steps=10, batch=4, done=5)
    bar.close()
    assert bar.progress.tasks[0].percentage == 50


def test_without_a_console_there_is_no_bar(config, graph, tmp_path):
    trainer = prepare(config, graph, tmp_path)
    assert progress_callbacks(trainer, None, "small") == []
    (bar,) = progress_callbacks(trainer, Console(file=io.StringIO()), "small")
    bar.close()


def test_the_bar_fits_80_columns(config, graph, tmp_path):
    screen = io.StringIO()
    console = Console(file=screen, width=80)
    bar = ProgressBar(console, "a name that is too long for the bar [red]", steps=10, batch=4)
    logged(bar, progress(10, loss=0.25), validation(10, 0.5))
    (text,) = screen.getvalue().splitlines()
    assert text.startswith("a name that is too long") and "loss 0.2500  MRR 0.5000" in text
