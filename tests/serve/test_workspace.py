from functools import partial

import anyio
import pytest

from sparring.serve import queue
from sparring.serve import workspace as module
from sparring.serve.labels import LabelIndex
from sparring.serve.missing import probably_missing
from sparring.serve.reviews import Reviews
from sparring.serve.workspace import Workspace, label_rows


def test_the_queue_holds_no_facts_and_its_probabilities_are_those_of_the_model(workspace, served):
    workspace.fill_queue(least=0.0)
    found = workspace.queue.next("ann", count=1000, reserve=False)
    triples = [each.triple for each in found]
    assert found and not any(served.known(triples))
    expected = served.probabilities(served.rate(triples))
    assert [each.probability for each in found] == pytest.approx(expected)


def test_only_probable_candidates_are_kept(workspace):
    assert workspace.fill_queue(least=1.1) == 0


def test_the_queue_is_filled_in_several_goes(served, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "probably_missing", partial(probably_missing, batch_size=8))

    def queue_of(name, goes):
        for options in goes:
            labels, reviews = LabelIndex(tmp_path / f"{name}.labels"), tmp_path / f"{name}.db"
            workspace = Workspace(served, Reviews(reviews), labels)
            workspace.fill_queue(least=0.0, **options)
            found = workspace.queue.next("ann", count=1000, reserve=False)
            asked = workspace.queue.asked
            workspace.close()
        return asked, {each.triple for each in found}

    whole = queue_of("whole", [{}])
    first = queue_of("first", [{"until": 1}])
    assert 0 < first[0] < whole[0] and first[1] < whole[1]
    assert whole[0] == len(served.graph.training.known.queries())
    assert queue_of("goes", [{"until": 1}, {"seconds": 0.0}, {}]) == whole


def test_the_queue_keeps_the_most_probable_of_all(workspace, monkeypatch):
    monkeypatch.setattr(queue, "PER_RELATION", 2)
    workspace.fill_queue(least=0.0)
    everything = workspace.queue.next("ann", count=1000, reserve=False)
    workspace.queue.trim(10)
    kept = workspace.queue.next("ann", count=1000, reserve=False)
    best = everything[:10]
    for relation, _ in workspace.queue.relations():
        best += [each for each in everything if each.relation == relation][:2]
    assert set(kept) == set(best) and len(set(best)) < len(everything)


def test_the_background_mines_rules_and_ends(workspace, served):
    workspace.start()
    workspace.wait()
    assert workspace.task == "" and len(served.rules) > 0
    served.rules = None


def test_closing_stops_the_background(workspace):
    workspace.start()
    workspace.close()
    workspace.wait()
    assert workspace.task == ""


def test_the_model_answers_one_request_at_a_time(workspace):
    running, most = [], []

    def work():
        running.append(1)
        most.append(len(running))
        running.pop()

    async def many():
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(workspace.ask, work)

    anyio.run(many)
    assert len(most) == 50 and max(most) == 1


def test_the_most_used_names_come_first(served, tmp_path):
    labels = LabelIndex(tmp_path / "labels.db")
    labels.build("1", label_rows(served))
    best = int(served.degree.argmax())
    assert labels.search("", "entity", 1)[0].name == served.graph.entities[best]
    labels.close()
