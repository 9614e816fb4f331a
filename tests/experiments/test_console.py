import io

import pytest
import torch
from rich.console import Console

from sparring.experiments import console
from sparring.experiments.cli import main
from sparring.experiments.console import line


def test_a_mistake_in_a_file_is_misuse_in_one_line(command, write, tables):
    path = write({**tables, "model": {"name": "distmlt"}})
    result = command("run", path)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {path}: [model] unknown name 'distmlt'; did you mean 'distmult'?\n"
    )


def test_a_graph_that_cannot_be_read_is_a_failure_in_one_line(command, write, tables):
    result = command("run", write({**tables, "graph": {"path": "nowhere"}}))
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_a_folder_without_a_run_is_a_failure_in_one_line(command, tmp_path):
    result = command("evaluate", tmp_path)
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {tmp_path} is not the folder of a run: it has no config.json\n",
    )


def test_a_missing_checkpoint_is_a_failure_in_one_line(command, finished):
    (finished.folder / "best.json").unlink()
    (finished.folder / "last.json").unlink()
    result = command("evaluate", finished.folder)
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: there is no checkpoint {finished.folder / 'last.json'}\n",
    )


def test_an_altered_checkpoint_is_a_failure_in_one_line(command, finished):
    best = finished.folder / "best.json"
    best.write_text(best.read_text().replace('"format": 2', '"format": 3'))
    result = command("evaluate", finished.folder)
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {best} was altered; restore it from a copy, or train again in another folder\n",
    )


def test_an_unknown_entity_is_a_failure_in_one_line(command, finished):
    result = command("predict", finished.folder, "--head", "e99", "--relation", "next")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: query: unknown entity 'e99'; did you mean")


def test_divergence_is_a_failure_in_one_line(command, write, tables):
    result = command("run", write(tables), "--quiet", "--set", "optimizer.lr=1e30")
    assert result.exit_code == 1
    assert "Lower the learning rate" in result.stderr and result.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_a_failure_in_one_line(command, write, tables, tmp_path):
    (tmp_path / "file").write_text("")
    result = command("run", write(tables), "--quiet", "--folder", tmp_path / "file" / "run")
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {tmp_path / 'file' / 'run'}: Not a directory\n",
    )


@pytest.mark.parametrize("place", [0, 2])
def test_the_traceback_is_shown_with_debug(command, tmp_path, place):
    words = ["evaluate", str(tmp_path)]
    result = command(*words[:place], "--debug", *words[place:])
    assert type(result.exception).__name__ == "RunError"


def test_a_mistake_of_the_library_is_never_hidden(command, finished, monkeypatch):
    def broken(*args, **options):
        raise KeyError("a mistake")

    monkeypatch.setattr("sparring.experiments.opened.evaluate_split", broken)
    assert isinstance(command("evaluate", finished.folder).exception, KeyError)


def test_an_interrupt_ends_any_command(command, finished, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sparring.experiments.opened.evaluate_split", interrupted)
    result = command("evaluate", finished.folder)
    assert (result.exit_code, result.stderr) == (130, "stopped\n")


def test_a_second_interrupt_while_the_first_is_reported_has_no_traceback(monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sparring.experiments.cli.app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["list"])
    assert ended.value.code == 130


def test_a_closed_pipe_is_no_failure_of_ours(command, finished, monkeypatch):
    def closed(*args, **options):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("sparring.experiments.opened.evaluate_split", closed)
    assert command("evaluate", finished.folder).stderr == ""


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.dim=10000000000000", "error: not enough memory: "),
        ("model.dim={name='transe', dim=3}", "[model.dim] expects int; got {'name': 'transe'"),
        ("model.dim=4", "does not fit the model and its options: "),
    ],
)
def test_options_that_do_not_fit_are_a_failure_in_one_line(command, finished, override, said):
    result = command("evaluate", finished.folder, "--set", override)
    assert result.exit_code in (1, 2) and said in result.stderr
    assert result.stderr.count("\n") == 1


ABSURD = 100_000_000_000


@pytest.mark.parametrize(
    "override",
    [
        "model={name='distmult',init=-1.0}",
        "model={name='distmult',init_range=1e308}",
        f"model={{name='nbfnet',dim=4,layers={ABSURD}}}",
        "threads=1000000",
        "optimizer={name='adagrad',lr=1e308}",
        f"sampler={{name='resample-known',rounds={ABSURD},inner={{name='uniform',k=3}}}}",
        f"sampler={{name='mcns',steps={ABSURD},inner={{name='uniform',k=3}}}}",
        f"sampler={{name='eans',k=3,width=4.0,clusters=4,rounds={ABSURD}}}",
        "sampler={name='adversarial-tree',k=3,dim=-1}",
        "sampler={name='softmax-generator',k=3,lr=1e308}",
    ],
)
def test_numbers_that_no_training_can_use_are_an_error_in_one_line(
    command, write, tables, tmp_path, override
):
    result = command("run", write(tables), "--folder", tmp_path / "run", "-q", "--set", override)
    assert result.exit_code in (console.FAILED, console.MISUSED)
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("shape", [(2**40,), (128, 2**63 - 1), (2**40, 2**40, 2**40)])
def test_more_memory_than_there_can_be_is_an_error_in_one_line(shape):
    with pytest.raises(RuntimeError) as found:
        torch.empty(shape)
    assert console.exit_code(found.value) == console.FAILED
    assert console.sentence(found.value).startswith("not enough memory")


@pytest.mark.parametrize("sampler", ["k-hop", "random-walk", "sans"])
def test_an_absurd_number_of_hops_is_refused(command, write, tables, sampler):
    tables["sampler"] = {"name": sampler, "k": 2, "hops": 10**12}
    result = command("run", write(tables), "--quiet")
    assert result.exit_code == 2 and "more than 1000 hops take for ever" in result.stderr


def test_many_hops_reach_what_can_be_reached(command, write, tables):
    tables["sampler"] = {"name": "k-hop", "k": 2, "hops": 1000}
    assert command("run", write(tables), "--quiet").exit_code == 0


@pytest.mark.parametrize("columns", [1, 4, 7])
def test_tables_fit_80_columns_and_numbers_stay_whole(monkeypatch, columns):
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, width=80))
    heading = ("", *(f"of column {place}" for place in range(columns)))
    row = ("https://an.example/entity/with-a-long-name" * 3, *["0.1234567"] * columns)
    console.table("a title", heading, [row])
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert screen.getvalue().count("0.1234567") == columns
    assert row[0] in "".join(text.split()[0] for text in lines[4:] if text.strip())


def test_a_line_holds_no_control_character(capsys):
    line("a\x1b[2J\u202eb\0c\nd", to=Console(width=80))
    assert capsys.readouterr().out == "a\\x1b[2J\\u202eb\\x00c\nd\n"
