import anyio
import pytest

from sparring.serve.labels import LabelIndex
from sparring.serve.workspace import label_rows


def test_the_queue_holds_no_facts_and_its_probabilities_are_those_of_the_model(workspace, served):
    workspace.fill_queue(least=0.0)
    found = workspace.queue.next("ann", count=1000, reserve=False)
    triples = [each.triple for each in found]
    assert found and not any(served.known(triples))
    expected = served.probabilities(served.rate(triples))
    assert [each.probability for each in found] == pytest.approx(expected)


def test_enough_is_enough(workspace):
    assert workspace.fill_queue(enough=0) == 0
    assert workspace.fill_queue(least=1.1) == 0


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
