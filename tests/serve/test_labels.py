import pytest

from sparring.serve.labels import Label, LabelIndex

ROWS = [
    ("relation", "capital", "has the capital"),
    ("entity", "Q90", "Paris"),
    ("entity", "Q60", "New York City"),
    ("entity", "Q2", "parish"),
    ("entity", "x_1", "Île-de-France"),
    ("entity", "/m/02j9z", "باريس"),
    ("entity", "par", "a rule of golf"),
    ("type", "Capital", "Capital"),
]


@pytest.fixture
def labels(tmp_path):
    found = LabelIndex(tmp_path / "labels.db")
    assert found.build("1", ROWS)
    yield found
    found.close()


def names(labels, text, kind="entity", count=10):
    return [label.name for label in labels.search(text, kind, count)]


def test_words_are_completed_and_the_most_used_comes_first(labels):
    assert names(labels, "pari") == ["Q90", "Q2"]
    assert names(labels, "par") == ["par", "Q90", "Q2"]  # the whole name comes first
    assert names(labels, "york new") == names(labels, "new yo") == ["Q60"]
    assert names(labels, "new yorks") == []
    assert names(labels, "") == ["Q90", "Q60", "Q2", "x_1", "/m/02j9z", "par"]
    assert names(labels, "", count=2) == ["Q90", "Q60"]
    assert names(labels, "cap", "relation") == ["capital"]
    assert labels.search("cap", "type") == [Label("Capital", "Capital", "Capital")]


def test_signs_accents_and_scripts(labels):
    assert names(labels, "ile") == names(labels, "ÎLE-DE") == ["x_1"]
    assert names(labels, "X_1") == ["x_1"]
    assert names(labels, "بار") == names(labels, "/m/02") == ["/m/02j9z"]


@pytest.mark.parametrize(
    "text", ['"', "' OR 1=1 --", "a* OR b", "NEAR(", "^", "{name}:x", "kind", "\0"]
)
def test_no_text_is_a_query_language(labels, text):
    assert names(labels, text) in ([], ["par"])


def test_an_index_is_rebuilt_for_other_rows_only(labels):
    assert not labels.build("1", ROWS[:1]) and names(labels, "pari")
    assert labels.build("2", ROWS[4:5])
    assert names(labels, "pari") == [] and names(labels, "ile") == ["x_1"]


def test_a_label_is_typed_where_it_means_nothing_else(labels):
    labels.build(
        "2",
        [
            ("entity", "Q1", "Halle"),
            ("entity", "Q2", "Halle"),
            ("entity", "Q3", "Ulm"),
            ("entity", "Q4", "Q3"),
            ("relation", "Q5", "Ulm"),
            ("entity", "Q6", "ulm"),
            ("entity", "Q7", ""),
        ],
    )
    assert [each.text for each in labels.search("Halle", "entity")] == ["Q1", "Q2"]
    assert [each.text for each in labels.search("Ulm", "entity")] == ["Ulm", "ulm"]
    assert [each.text for each in labels.search("Q4", "entity")] == ["Q4"]
    assert [each.text for each in labels.search("Q7", "entity")] == ["Q7"]
    assert labels.text("Q5", "Ulm", "relation") == "Ulm"
