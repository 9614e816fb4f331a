import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.serve.queue import Candidate, ReviewQueue
from sparring.serve.reviews import DECISIONS, Reviews, Triple

ONE, TWO = Triple("a", "r", "b"), Triple("a", "r", "c")


@pytest.fixture
def reviews(tmp_path):
    found = Reviews(tmp_path / "reviews.db")
    yield found
    found.close()


def verdicts(reviews):
    return {each.triple: each.verdict for each in reviews.reviewed()}


def test_the_majority_decides(reviews):
    reviews.record([(ONE, "accept")], "ann")
    assert verdicts(reviews) == {ONE: "accepted"}
    reviews.record([(ONE, "reject")], "bob")
    assert verdicts(reviews) == {ONE: "disputed"}
    reviews.record([(ONE, "reject"), (TWO, "unsure")], "cem")
    assert verdicts(reviews) == {ONE: "rejected", TWO: "unsure"}
    assert [each.triple for each in reviews.reviewed("unsure")] == [TWO]
    assert reviews.reviewed(limit=1, offset=1)[0].triple == TWO


def test_a_later_decision_replaces_an_earlier_one_and_undo_restores_it(reviews):
    reviews.record([(ONE, "accept")], "ann")
    reviews.record([(ONE, "reject")], "ann")
    assert verdicts(reviews) == {ONE: "rejected"}
    assert reviews.last("ann") == (ONE, "reject")
    assert reviews.undo("ann") == (ONE, "reject")
    assert verdicts(reviews) == {ONE: "accepted"}
    assert reviews.undo("bob") is None
    assert reviews.undo("ann") == (ONE, "accept")
    assert reviews.undo("ann") is None and verdicts(reviews) == {}


def test_a_batch_is_kept_as_a_whole_or_not_at_all(reviews):
    with pytest.raises(ValueError, match="shorter"):
        reviews.record([(ONE, "accept"), (TWO, "accept")], "ann", probabilities=[0.5])
    assert reviews.reviewed() == []


def test_what_reviewers_saw_is_kept(reviews):
    reviews.record([(ONE, "accept"), (TWO, "reject")], "ann", probabilities=[0.9, None], model="m")
    reviews.record([(ONE, "accept")], "bob", probabilities=[0.7], model="m")
    found = reviews.decisions_on([ONE, TWO, Triple("x", "y", "z")])
    assert found[ONE].probability == pytest.approx(0.8) and found[TWO].probability is None
    assert len(found) == 2


def test_progress(reviews):
    queue = ReviewQueue(reviews, "m")
    queue.add([Candidate(*ONE, 0.9), Candidate(*TWO, 0.3), Candidate("c", "r", "a", 0.1)])
    reviews.record([(ONE, "accept"), (TWO, "reject")], "ann", probabilities=[0.9, 0.95])
    reviews.record([(TWO, "unsure")], "bob", probabilities=[0.95])
    found = reviews.progress("m")
    assert found.verdicts == {"accepted": 1, "rejected": 1, "disputed": 0, "unsure": 0}
    assert found.reviewers["ann"] == {"accept": 1, "reject": 1, "unsure": 0}
    assert found.waiting == 1
    assert found.precision == ((0.8, 1.0, 2, 0.5),)


steps = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from([ONE, TWO]), st.sampled_from([*DECISIONS, None])
    )
)


@settings(max_examples=8)
@given(steps)
def test_undo_is_a_stack_of_each_reviewer(tmp_path_factory, steps):
    reviews = Reviews(tmp_path_factory.mktemp("reviews") / "reviews.db")
    history = {"a": [], "b": []}
    for reviewer, triple, decision in steps:
        if decision is None:
            expected = history[reviewer].pop() if history[reviewer] else None
            assert reviews.undo(reviewer) == expected
        else:
            reviews.record([(triple, decision)], reviewer)
            history[reviewer].append((triple, decision))
    current = [dict(history[reviewer]) for reviewer in "ab"]
    for triple, found in itertools.zip_longest((ONE, TWO), [None] * 2):
        given = [decisions[triple] for decisions in current if triple in decisions]
        found = reviews.decisions_on([triple]).get(triple)
        counts = tuple(map(given.count, DECISIONS))
        assert counts == ((found.accepts, found.rejects, found.unsure) if found else (0, 0, 0))
    reviews.close()
