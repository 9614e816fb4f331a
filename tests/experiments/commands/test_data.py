import json


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
