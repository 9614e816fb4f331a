import polars as pl
import pytest

from sparring.data.vocabulary import UnknownNameError, Vocabulary

TOWNS = Vocabulary(["Q1", "Q2", "Q3", "Q4"], ["Bonn", "Ulm", "Halle", "Halle"])


def test_the_id_of_a_name_is_its_position():
    assert TOWNS.ids(["Q3", "Q1", "Q3"]).tolist() == [2, 0, 2]
    assert TOWNS[2] == "Q3" and TOWNS.id("Q3") == 2


def test_a_vocabulary_is_a_sequence_of_its_names():
    assert list(TOWNS) == ["Q1", "Q2", "Q3", "Q4"]
    assert TOWNS[1:3] == ("Q2", "Q3") and len(TOWNS) == 4


def test_a_label_stands_for_the_only_name_that_has_it():
    assert TOWNS.ids(["Ulm", "Q1"]).tolist() == [1, 0]


def test_a_name_stands_before_a_label():
    assert Vocabulary(["a", "b"], ["b", "c"]).id("b") == 1


def test_the_label_of_a_name_is_the_name_where_none_is_given():
    assert Vocabulary(["a", "b"]).label(1) == "b"
    assert Vocabulary(["a", "b"], ["A", ""]).label(1) == "b"


def test_finding_names_leaves_unknown_ones_null():
    assert TOWNS.find(["Q2", "Ulm", "Q1"]).to_list() == [1, None, 0]


def test_few_and_many_names_are_found_alike():
    names = [f"n{number}" for number in range(50)]
    towns = Vocabulary(names)
    wanted = pl.Series(["n7", None, "m", "n0", "n49"])
    assert towns.find(wanted).to_list() == [7, None, None, 0, 49]
    assert towns.find(pl.concat([wanted] * 4)).to_list() == [7, None, None, 0, 49] * 4


def test_finding_no_names_gives_no_ids():
    assert TOWNS.find(pl.Series([], dtype=pl.String)).to_list() == []


def test_names_that_look_like_values_are_names():
    names = ["nan", "NULL", "1", "1.0", ""]
    assert Vocabulary(names).ids(names).tolist() == [0, 1, 2, 3, 4]


def test_an_unknown_name_is_named_with_what_is_near():
    with pytest.raises(UnknownNameError, match=r"^unknown entity 'bon'; did you mean 'Bonn'\?$"):
        TOWNS.id("bon")


def test_a_misspelled_label_is_recognized():
    towns = Vocabulary(["Q1", "Q2"], ["Switzerland", "Sweden"])
    with pytest.raises(UnknownNameError, match=r"did you mean 'Switzerland'\?$"):
        towns.id("Swizerland")


def test_an_unknown_name_with_nothing_near_is_named_alone():
    vocabulary = Vocabulary(["likes"], kind="relation")
    with pytest.raises(UnknownNameError, match=r"^unknown relation 'zzz'$"):
        vocabulary.id("zzz")


def test_a_label_of_several_names_is_refused():
    message = "2 entity names have the label 'Halle': Q3, Q4; use the name instead of the label"
    with pytest.raises(UnknownNameError, match=message):
        TOWNS.id("Halle")


def test_a_name_that_occurs_twice_is_refused():
    with pytest.raises(ValueError, match="entity 'a' occurs more than once in the vocabulary"):
        Vocabulary(["a", "b", "a"])


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="1 labels for 2 names"):
        Vocabulary(["a", "b"], ["A"])


def test_other_names_give_another_digest():
    assert Vocabulary(["a", "b"]).digest() != Vocabulary(["b", "a"]).digest()
    assert Vocabulary(["a", "b"]).digest() != Vocabulary(["a", "b"], ["A", "B"]).digest()
    assert Vocabulary(["a\0b", "c"]).digest() != Vocabulary(["a", "b\0c"]).digest()
    assert Vocabulary(["a\0b", "c"]).digest(1) == Vocabulary(["a", "b\0c"]).digest(1)
