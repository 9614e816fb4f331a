import json
import sqlite3


def test_graphs_that_can_be_named_are_listed(command):
    result = json.loads(command("data", "list", "--json").stdout)
    assert result["atlas"] == "comes with sparring" and "fb15k-237" in result


def test_folders_of_graphs_stand_before_downloads(command, circle, monkeypatch):
    monkeypatch.setenv("SPARRING_DATA", str(circle.parent))
    assert json.loads(command("data", "list", "--json").stdout)["circle"] == str(circle)


def test_the_list_is_shown_as_a_table(command):
    assert "comes with sparring" in command("data", "list").stdout


def test_a_folder_is_described(command, circle):
    result = json.loads(command("data", "describe", circle, "--json").stdout)
    assert (result["entities"], result["splits"]["train"]["triples"]) == (24, 52)


def test_a_graph_is_described_by_name(command):
    assert json.loads(command("data", "describe", "atlas", "--json").stdout)["name"] == "atlas"


def test_a_description_is_shown_in_words(command, circle):
    shown = command("data", "describe", circle, "--relations", 1).stdout
    assert shown.startswith("circle: 24 entities, 3 relations, 0 entity types\n")
    assert "and 2 relations with fewer facts" in shown


def test_an_unknown_graph_is_a_failure(command, monkeypatch, tmp_path):
    monkeypatch.delenv("SPARRING_DATA", raising=False)
    result = command("data", "describe", "fb15k-238")
    assert result.exit_code == 1 and "fb15k-237" in result.stderr


def test_sound_files_pass(command, circle):
    result = command("data", "check", circle)
    assert (result.exit_code, result.stdout) == (0, f"{circle}: 0 errors, 0 warnings and notes\n")


def test_an_error_in_the_files_is_found(command, tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.tsv").write_text("a\tr\n")
    result = command("data", "check", tmp_path)
    assert result.exit_code == 1 and result.stdout.startswith("error: ")


def test_findings_are_told_as_json(command, tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.tsv").write_text("a\tr\n")
    assert json.loads(command("data", "check", tmp_path, "--json").stdout)[0]["severity"] == "error"


def test_files_are_read_with_the_options_of_the_command(command, circle, tmp_path):
    rows = [line.split("\t") for line in (circle / "train.tsv").read_text().splitlines()]
    path = tmp_path / "facts.txt"
    path.write_text("".join(f"{t};x;{h};{r}\n" for h, r, t in rows))
    words = ("--separator", ";", "--columns", "3,4,1", "--no-header")
    result = json.loads(command("data", "describe", path, *words, "--json").stdout)
    assert result["entities"] == 24 and len(result["relation"]) == 3
    result = command("data", "check", path)
    assert result.exit_code == 1 and "--separator" in result.stdout


def test_defects_are_dropped_if_asked(command, circle, tmp_path):
    path = tmp_path / "facts.tsv"
    path.write_text((circle / "train.tsv").read_text() + "a\tr\n")
    assert command("data", "check", path).exit_code == 1
    assert command("data", "check", path, "--on-defect", "drop").exit_code == 0
    assert command("data", "describe", path, "--on-defect", "drop").exit_code == 0
    assert (tmp_path / "facts.tsv.dropped.tsv").exists()


def test_a_graph_by_name_has_no_columns(command):
    result = command("data", "describe", "atlas", "--columns", "1,2,3")
    assert result.exit_code == 2 and "columns are for files" in result.stderr


def test_an_experiment_file_keeps_how_files_are_read(command, circle, tmp_path):
    rows = [line.split("\t") for line in (circle / "train.tsv").read_text().splitlines()]
    with sqlite3.connect(tmp_path / "facts.db") as database:
        database.execute("CREATE TABLE facts (a, b, c)")
        database.executemany("INSERT INTO facts VALUES (?, ?, ?)", rows)
    query = "SELECT a, b, c FROM facts"
    done = command("init", f"sqlite:///{tmp_path}/facts.db", "circle.toml", "--query", query)
    assert done.exit_code == 0, done.stderr
    words = ("--set", "train.epochs=1", "--set", "evaluate.bootstrap=20", "-q")
    done = command("run", "circle.toml", "--folder", "run", *words)
    assert done.exit_code == 0, done.stderr
    done = command(
        "fit", tmp_path / "facts.db", "--query", query, "--epochs", 1, "--folder", "fit", "-q"
    )
    assert done.exit_code == 0, done.stderr
