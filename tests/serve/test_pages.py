import html
import re

import pytest
import rings


def csrf_of(page):
    return re.search(r'name="csrf" value="(\w+)"', page.text)[1]


def sent(client, place, fields, page="/review"):
    return client.post(place, data={"csrf": csrf_of(client.get(page)), **fields})


@pytest.fixture
def reviewing(client, workspace):
    """A client of a reviewer with a name, and a queue that is full."""
    workspace.fill_queue(least=0.0)
    sent(client, "/review/name", {"reviewer": "Ann"})
    return client


def statement_of(page):
    """The triple on the screen."""
    names = ("head", "relation", "tail")
    card = page.text.partition('class="card candidate"')[2]
    return {
        name: html.unescape(re.search(f'name="{name}" value="([^"]*)"', card)[1]) for name in names
    }


def test_asking_in_both_directions(client):
    page = client.get("/", params={"entity": "e005", "relation": "next"})
    assert page.status_code == 200 and page.text.count('class="number">1</td>') == 1
    assert "e006" in page.text.partition("<tbody>")[2].partition("</tr>")[0]
    assert 'class="tag fact"' in page.text
    page = client.get(
        "/", params={"entity": "e005", "relation": "next", "side": "head", "hide": "1"}
    )
    assert 'class="tag fact"' not in page.text


def test_half_a_question_and_unknown_names(client):
    assert "Give a name for: relation" in client.get("/?entity=e005").text
    page = client.get("/?entity=e05&relation=next")
    assert page.status_code == 404 and "did you mean" in html.unescape(page.text)
    assert "did you mean" in html.unescape(client.get("/look?entity=e05").text)
    assert client.get("/why?head=e05&relation=next&tail=e006").status_code == 404
    assert client.get("/negatives?head=e05&relation=next&tail=e006").status_code == 404
    assert client.get("/nothing").status_code == 404


def test_the_reasons_of_an_answer(client, served):
    place = "/why?head=e005&relation=second&tail=e007"
    assert "still being mined" in client.get(place).text
    served.mine_rules()
    page = client.get(place).text
    served.rules = None
    assert 'class="rule"' in page and "confidence" in page


def test_an_entity_and_its_neighborhood(client):
    page = client.get("/look?entity=e005").text
    assert page.count("<line class=") == 8 and "Nearest" in page


def test_negatives_of_samplers(client):
    assert "holds a validation fact" in client.get("/negatives").text
    page = client.get("/negatives?head=e005&relation=next&tail=e006&side=head").text
    assert page.count('class="card"') >= 4


def test_the_model_and_its_audit(client):
    page = client.get("/model")
    assert "for the head" in page.text and "By relation" in page.text
    assert "Calibration" in page.text and "&lt;b&gt;complex" in page.text
    page = sent(client, "/model/audit", {}, page="/model")
    assert "49.9%" in page.text


def test_reviewing_and_undo(reviewing, workspace):
    page = reviewing.get("/review")
    first = statement_of(page)
    page = sent(reviewing, "/review", {**first, "decision": "reject", "next": "/review"})
    assert statement_of(page) != first and "Your last decision" in page.text
    (found,) = workspace.reviews.reviewed()
    assert found.triple._asdict() == first and found.verdict == "rejected"
    assert found.probability is not None
    page = sent(reviewing, "/review/undo", {"next": "/review"})
    assert statement_of(page) == first and workspace.reviews.reviewed() == []


def test_the_queue_of_one_relation(reviewing):
    page = reviewing.get("/review?relation=third&order=uncertainty")
    assert statement_of(page)["relation"] == "third"
    assert "Nothing is left" in reviewing.get("/review?relation=nonsense").text


def test_decisions_on_answers_lead_back_to_them(reviewing, workspace, missing):
    fields = dict(zip(("head", "relation", "tail"), missing))
    place = f"/?entity={missing[0]}&relation=next"
    page = sent(reviewing, "/review", {**fields, "decision": "accept", "next": place})
    assert page.url.path == "/" and page.url.query
    for other in ("//evil.example", "http://evil.example", "/\\evil.example", ""):
        page = sent(reviewing, "/review", {**fields, "decision": "accept", "next": other})
        assert (page.url.host, page.url.path) == ("127.0.0.1", "/review")


def test_decisions_on_what_is_not_there_are_refused(reviewing, workspace):
    fields = {"head": "nobody", "relation": "next", "tail": "e006", "next": "/"}
    assert sent(reviewing, "/review", {**fields, "decision": "accept"}).status_code == 404
    assert sent(reviewing, "/review", {**fields, "decision": "nonsense"}).status_code == 403
    assert workspace.reviews.reviewed() == []


@pytest.mark.parametrize("name", ["Ann; Path=/x", "أحمد", "  ", "<b>", "x" * 200])
def test_any_name_of_a_reviewer(client, workspace, name):
    workspace.fill_queue(least=0.0)
    page = sent(client, "/review/name", {"reviewer": name})
    assert page.status_code == 200 and "Is this true?" in page.text
    fields = {**statement_of(page), "decision": "accept", "next": "/review"}
    assert sent(client, "/review", fields).status_code == 200
    assert len(workspace.reviews.progress().reviewers) == 1


def test_hostile_names_are_text(reviewing):
    for name in rings.ODD:
        for path in ("/", "/look"):
            page = reviewing.get(path, params={"entity": name, "relation": "next"})
            assert page.status_code == 200 and "<script>alert" not in page.text


def test_an_empty_queue_says_why(client, workspace, served):
    sent(client, "/review/name", {"reviewer": "Ann"})
    assert "Nothing is left" in client.get("/review").text
    workspace.task = "finding facts"
    assert "is being filled" in client.get("/review").text
