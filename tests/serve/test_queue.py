import pytest

from sparring.serve import queue as module
from sparring.serve.queue import Candidate, ReviewQueue
from sparring.serve.reviews import Reviews

CANDIDATES = [Candidate("h", f"r{i % 2}", f"t{i}", i / 10) for i in range(10)]


@pytest.fixture
def queue(tmp_path):
    queue = ReviewQueue(Reviews(tmp_path / "reviews.db"), "m")
    assert queue.add(CANDIDATES) == 10
    yield queue
    queue.reviews.close()


def tails(found):
    return [each.tail for each in found]


def test_orders(queue):
    next_of = lambda **options: tails(queue.next("ann", count=3, reserve=False, **options))
    assert next_of() == ["t9", "t8", "t7"]
    assert next_of(order="uncertainty")[0] == "t5" and "t9" not in next_of(order="uncertainty")
    assert next_of(order="relation") == ["t8", "t6", "t4"]
    assert next_of(relation="r1") == ["t9", "t7", "t5"]
    assert next_of(relation="none of these") == []


def test_candidates_come_once_and_belong_to_their_model(queue):
    assert queue.add([CANDIDATES[0], Candidate("h", "r0", "new", 0.2)]) == 1
    assert len(queue) == 11
    other = ReviewQueue(queue.reviews, "another model")
    assert other.next("ann") == [] and len(other) == 0
    assert queue.relations() == [("r0", 6), ("r1", 5)]


def test_what_is_decided_does_not_come_back(queue):
    decide = lambda tail, who, what: queue.reviews.record([(CANDIDATES[tail].triple, what)], who)
    decide(9, "ann", "accept")
    decide(8, "ann", "unsure")
    assert tails(queue.next("ann", count=2, reserve=False)) == ["t7", "t6"]
    assert tails(queue.next("bob", count=2, reserve=False)) == ["t8", "t7"]
    queue.reviews.undo("ann")
    assert tails(queue.next("ann", reserve=False)) == ["t8"]


def test_two_reviewers_have_different_candidates_on_their_screens(queue, monkeypatch):
    assert tails(queue.next("ann")) == ["t9"]
    assert tails(queue.next("bob")) == ["t8"]
    assert tails(queue.next("ann")) == ["t9"]  # reloading changes nothing
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + module.RESERVED_FOR + 1)
    assert tails(queue.next("bob")) == ["t9"]  # ann has gone home
