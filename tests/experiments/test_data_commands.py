import json


def test_graphs_that_can_be_named_are_listed(command):
    told = json.loads(command("data", "list", "--json").stdout)
    assert told["atlas"] == "comes with sparring" and "fb15k-237" in told


def test_folders_of_graphs_stand_before_downloads(command, circle, monkeypatch):
    monkeypatch.setenv("SPARRING_DATA", str(circle.parent))
    assert json.loads(command("data", "list", "--json").stdout)["circle"] == str(circle)


def test_the_list_is_shown_as_a_table(command):
    assert "comes with sparring" in command("data", "list").stdout


def test_a_folder_is_described(command, circle):
    told = json.loads(command("data", "describe", circle, "--json").stdout)
    assert (told["entities"], told["splits"]["train"]["triples"]) == (24, 52)


def test_a_graph_is_described_by_name(command):
    assert json.loads(command("data", "describe", "atlas", "--json").stdout)["name"] == "atlas"


def test_a_description_is_shown_in_words(command, circle):
    shown = command("data", "describe", circle, "--relations", 1).stdout
    assert shown.startswith("circle: 24 entities, 3 relations, 0 entity types\n")
    assert "and 2 relations with fewer facts" in shown


def test_an_unknown_graph_is_a_failure(command, monkeypatch, tmp_path):
    monkeypatch.delenv("SPARRING_DATA", raising=False)
    told = command("data", "describe", "fb15k-238")
    assert told.exit_code == 1 and "fb15k-237" in told.stderr


def test_sound_files_pass(command, circle):
    told = command("data", "check", circle)
    assert (told.exit_code, told.stdout) == (0, f"{circle}: 0 errors, 0 warnings and notes\n")


def test_an_error_in_the_files_is_found(command, tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.tsv").write_text("a\tr\n")
    told = command("data", "check", tmp_path)
    assert told.exit_code == 1 and told.stdout.startswith("error: ")


def test_findings_are_told_as_json(command, tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.tsv").write_text("a\tr\n")
    assert json.loads(command("data", "check", tmp_path, "--json").stdout)[0]["severity"] == "error"


def test_parts_are_listed_with_options(command):
    shown = command("list", "losses").stdout
    assert "softmax" in shown and "temperature: float = 1.0" in shown


def test_parts_are_listed_as_json(command):
    told = json.loads(command("list", "--json").stdout)
    assert {part["name"] for part in told["corruption"]} >= {"both", "bernoulli", "chosen"}


def test_only_one_family_is_listed_where_asked(command):
    assert set(json.loads(command("list", "samplers", "--json").stdout)) == {"samplers"}


def test_an_unknown_family_is_misuse(command):
    told = command("list", "sampler")
    assert told.exit_code == 2 and "there is no 'sampler'; did you mean 'samplers'?" in told.stderr
