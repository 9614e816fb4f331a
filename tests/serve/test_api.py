import json

import pytest
import rings

API = "/api/v1"
FACT = {"head": "e005", "relation": "next", "tail": "e006"}


def lines(response):
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def test_predictions_are_those_of_the_model(client, served):
    queries = [{"head": "e005", "relation": "next"}, {"relation": "next", "tail": "e005"}]
    found = client.post(f"{API}/predict?k=3&known=true", json=queries).json()
    assert [len(each["answers"]) for each in found] == [3, 3]
    assert found[0]["head"] == "e005" and found[0]["tail"] is None
    best = found[0]["answers"][0]
    assert best["name"] == "e006" and best["known"] and 0 <= best["probability"] <= 1
    without = client.post(f"{API}/predict?k=3", json=queries).json()
    assert not any(answer["known"] for each in without for answer in each["answers"])


def test_relations_are_predicted(client):
    (found,) = client.post(
        f"{API}/predict?known=true", json=[{"head": "e005", "tail": "e006"}]
    ).json()
    assert found["answers"][0]["name"] == "next"


def test_json_lines_in_and_out(client):
    rows = [("e005", "next", "e006"), (rings.ODD[0], "next", "e009")]
    triples = [dict(zip(("head", "relation", "tail"), row)) for row in rows]
    as_json = client.post(f"{API}/score", json=triples)
    headers = {"accept": "application/x-ndjson", "content-type": "application/x-ndjson"}
    text = "\n\n".join(map(json.dumps, triples)) + "\n"
    as_lines = client.post(f"{API}/score", content=text, headers=headers)
    assert lines(as_lines) == as_json.json()
    assert as_json.json()[0]["known"] and not as_json.json()[1]["known"]


def test_a_triple_is_explained(client, served):
    triple = {"head": "e005", "relation": "second", "tail": "e007"}
    (before,) = client.post(f"{API}/explain", json=[triple]).json()
    assert before["nearest"] and not before["reasons"]  # rules are not mined yet
    served.mine_rules()
    (after,) = client.post(f"{API}/explain", json=[triple]).json()
    served.rules = None
    assert any("next" in reason["rule"] for reason in after["reasons"])


def test_negatives_of_every_sampler(client):
    (found,) = client.post(f"{API}/negatives?side=head", json=[FACT]).json()
    names = [draw["sampler"] for draw in found["samplers"]]
    assert names[:2] == ["trained", "uniform"]
    (found,) = client.post(f"{API}/negatives?samplers=uniform", json=[FACT]).json()
    assert [draw["sampler"] for draw in found["samplers"]] == ["uniform"]
    answer = client.post(f"{API}/negatives?samplers=nonsense", json=[FACT])
    assert answer.status_code == 422 and "choose among" in answer.json()["error"]["message"]


def test_decisions_are_kept_listed_exported_and_undone(client, missing):
    row = dict(zip(("head", "relation", "tail"), missing))
    (kept,) = client.post(
        f"{API}/reviews?reviewer=ann", json=[{**row, "decision": "accept"}]
    ).json()
    assert kept == {"id": 1, **row, "decision": "accept"}
    (found,) = client.get(f"{API}/reviews?verdict=accepted").json()
    assert found["probability"] is not None and found["accepts"] == 1
    assert lines(client.get(f"{API}/reviews", headers={"accept": "application/x-ndjson"})) == [
        found
    ]
    assert lines(client.get(f"{API}/reviews/export?format=jsonl")) == [found]
    assert client.get(f"{API}/reviews/export").text.count("\n") == 2
    assert client.get(f"{API}/progress").json()["verdicts"]["accepted"] == 1
    undone = client.post(f"{API}/reviews/undo?reviewer=ann").json()
    assert undone == {"undone": {**row, "decision": "accept"}}
    assert client.post(f"{API}/reviews/undo?reviewer=ann").json() == {"undone": None}
    assert client.get(f"{API}/reviews").json() == []


def test_decisions_by_label_are_kept_by_name(client, workspace, missing, monkeypatch):
    names = workspace.served.graph.entities
    monkeypatch.setattr(names, "labels", "the label of " + names.names)
    head, relation, tail = missing
    row = {"head": f"the label of {head}", "relation": relation, "tail": tail}
    (kept,) = client.post(
        f"{API}/reviews?reviewer=ann", json=[{**row, "decision": "accept"}]
    ).json()
    assert kept["head"] == head
    (found,) = workspace.reviews.reviewed()
    assert found.triple == missing


def test_nothing_of_a_batch_with_an_unknown_name_is_kept(client, missing):
    row = dict(zip(("head", "relation", "tail"), missing))
    batch = [{**row, "decision": "accept"}, {**row, "tail": "nobody", "decision": "accept"}]
    answer = client.post(f"{API}/reviews?reviewer=ann", json=batch)
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "unknown-name"
    assert client.get(f"{API}/reviews").json() == []


def test_the_queue(client, workspace):
    assert client.get(f"{API}/queue?reviewer=ann").json() == []
    workspace.fill_queue(least=0.0)
    found = client.get(f"{API}/queue?reviewer=ann&count=3").json()
    values = [each["probability"] for each in found]
    assert len(found) == 3 and values == sorted(values, reverse=True)
    again = client.get(f"{API}/queue?reviewer=bob&count=3").json()
    assert again == found  # nothing is reserved unless that is asked for
    client.get(f"{API}/queue?reviewer=ann&count=1&reserve=true")
    assert client.get(f"{API}/queue?reviewer=bob&count=1").json() == found[1:2]


def test_labels_and_entities(client):
    found = client.get(f"{API}/labels?q=e00&count=3").json()
    assert len(found) == 3 and all(each["name"].startswith("e00") for each in found)
    entity = client.get(f"{API}/entity", params={"name": rings.ODD[0]}).json()
    assert entity["name"] == rings.ODD[0] and entity["facts"] and len(entity["nearest"]) == 8


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/predict", [{"head": "e005"}], 422, "query 0 asks for"),
        ("/predict", [{"head": "e5", "relation": "next"}], 404, "unknown entity 'e5'"),
        ("/predict", [], 422, "a batch has 1 to 256 items; got 0"),
        ("/predict", [{"head": "e005", "relation": "next"}] * 257, 422, "got 257"),
        ("/predict?k=0", [{"head": "e005", "relation": "next"}], 422, "query.k"),
        ("/predict?k=1001", [{"head": "e005", "relation": "next"}], 422, "query.k"),
        ("/predict?types=x", [{"head": "e005", "relation": "next"}], 422, "no entity types"),
        ("/predict", [{"head": "e005", "relation": "next", "x": 1}], 422, "body.0.x"),
        ("/score", {"head": "e005"}, 422, "list"),
        ("/score", [{"head": "", "relation": "next", "tail": "e006"}], 422, "body.0.head"),
        ("/reviews", [], 422, "query.reviewer"),
        ("/reviews?reviewer=a", [{**FACT, "decision": "x"}], 422, "'accept', 'reject'"),
        ("/nothing", [], 404, "nothing at this address"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(client, path, body, status, message):
    answer = client.post(API + path, json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("text", ["{", "[1", "null", '["a"]', "\xff", ""])
def test_broken_bodies_are_refused(client, text):
    for kind in ("application/json", "application/x-ndjson"):
        headers = {"content-type": kind}
        answer = client.post(f"{API}/score", content=text.encode("latin-1"), headers=headers)
        assert answer.status_code in (400, 422) and answer.json()["error"]["message"]


def test_the_api_describes_itself(client):
    found = client.get(f"{API}/openapi.json").json()
    assert {
        f"{API}/{name}" for name in ("predict", "score", "explain", "negatives", "reviews")
    } <= set(found["paths"])
    assert not any(path in found["paths"] for path in ("/", "/review"))


def test_the_model(client, served):
    found = client.get(f"{API}/model").json()
    assert found["entities"] == rings.SIZE and found["calibrated"] and "test" in found["metrics"]
