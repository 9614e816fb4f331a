from sparring.files import read_object

QUERY = ("--head", "e3", "--relation", "next", "--format", "json")


def test_predictions_have_probabilities_afterwards(command, answer, finished):
    before = answer("predict", finished.folder, *QUERY)
    assert command("calibrate", finished.folder).exit_code == 0
    after = answer("predict", finished.folder, *QUERY)
    assert all(one["probability"] is None for one in before)
    assert all(0 < one["probability"] < 1 for one in after)
    assert [one["name"] for one in after] == [one["name"] for one in before]


def test_the_errors_are_printed(command, finished):
    shown = command("calibrate", finished.folder).stdout
    assert "expected calibration error" in shown and "probability" in shown


def test_the_file_is_what_is_printed_as_json(answer, finished):
    found = answer("calibrate", finished.folder, "--method", "isotonic", "--json")
    assert read_object(finished.folder / "calibration.json") == found


def test_a_calibration_is_for_one_guide_weight(command, answer, guided):
    assert command("calibrate", guided, "--guide", 0.5).exit_code == 0
    assert answer("predict", guided, *QUERY)[0]["probability"] is None
    assert answer("predict", guided, *QUERY, "--guide", 0.5)[0]["probability"] is not None


def test_whole_triples_have_probabilities(command, finished, tmp_path):
    path = tmp_path / "triples.tsv"
    path.write_text("e3\tnext\te9\n")
    before = command("score", finished.folder, path, "--probability")
    assert before.exit_code == 1 and "has no calibration" in before.stderr
    assert command("calibrate", finished.folder).exit_code == 0
    plain = command("score", finished.folder, path).stdout.split("\t")
    *same, probability = command("score", finished.folder, path, "--probability").stdout.split("\t")
    assert [cell.strip() for cell in plain] == same
    assert 0 < float(probability) < 1
