def test_a_triple_is_explained(command, finished):
    words = ("--head", "e3", "--relation", "next", "--tail", "e9")
    shown = command("explain", finished.folder, *words).stdout
    assert shown.startswith("Entity number 3 next Entity number 9") and "\n- " in shown


def test_explanations_are_printed_as_json(answer, finished):
    words = ("--head", "e3", "--relation", "fifth", "--tail", "e4", "--json")
    found = answer("explain", finished.folder, *words)
    assert found["triple"]["relation"] == "fifth"
    assert found["reasons"] or found["nearest"]
