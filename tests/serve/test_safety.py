import pytest
import rings
from starlette.testclient import TestClient

from sparring.serve.app import create_app
from sparring.serve.safety import CSP, Access, RateLimit, host_name, is_loopback

SCORE = "/api/v1/score"
TRIPLE = [{"head": "e005", "relation": "next", "tail": "e006"}]


def client_of(workspace, base_url="http://127.0.0.1", **access):
    return TestClient(
        create_app(workspace, Access(**access)), base_url=base_url, follow_redirects=False
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.", "[::2]"]
)
def test_other_names_are_refused(workspace, host):
    client = client_of(workspace)
    for path in ("/", "/api/v1/model", "/static/style.css", "/nothing"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == 400
    assert client.get("/api/v1/model", headers={"host": "LOCALHOST:99"}).status_code == 200
    assert client.get("/api/v1/model", headers={"host": "[::1]:99"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1234"},
        {"origin": "https://127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_origins_cannot_write(workspace, headers):
    client = client_of(workspace)
    answer = client.post(SCORE, json=TRIPLE, headers=headers)
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "other-origin"
    assert client.post("/review", data={}, headers=headers).status_code == 403
    own = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert client.post(SCORE, json=TRIPLE, headers=own).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_forms_cannot_reach_the_api(workspace, kind):
    headers = {"content-type": kind} if kind else {}
    answer = client_of(workspace).post(SCORE, content=b"[]", headers=headers)
    assert answer.status_code == 415


def test_a_token_is_needed_and_enough(workspace):
    client = client_of(workspace, "http://kg.example", hosts=["kg.example"], token="secret word")
    assert client.get("/api/v1/model").status_code == 401
    answer = client.get("/?entity=a&relation=b")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login?next=/%3Fentity%3Da%26relation%3Db",
    )
    for wrong in ("Bearer secret", "Basic secret word", "secret word", "Bearer sécret"):
        headers = {"authorization": wrong.encode()}
        assert client.get("/api/v1/model", headers=headers).status_code == 401
    headers = {"authorization": "Bearer secret word"}
    assert client.get("/api/v1/model", headers=headers).status_code == 200
    assert client.get("/static/style.css").status_code == 200


def csrf_of(page):
    return page.text.partition('name="csrf" value="')[2].partition('"')[0]


def test_logging_in(workspace):
    client = client_of(workspace, token="secret word")
    csrf = csrf_of(client.get("/login?next=//evil.example"))
    wrong = client.post("/login", data={"csrf": csrf, "token": "x", "next": "/"})
    assert wrong.status_code == 403 and "not the token" in wrong.text
    right = {"csrf": csrf, "token": "secret word", "next": "//evil.example"}
    answer = client.post("/login", data=right)
    assert (answer.status_code, answer.headers["location"]) == (303, "/review")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "secret" not in cookie
    assert client.get("/").status_code == 200
    client.cookies.set("sparring-login", "0" * 64)
    assert client.get("/model").status_code == 303


def test_forms_need_the_token_of_their_session(workspace, missing):
    client = client_of(workspace)
    csrf = csrf_of(client.get("/review"))
    fields = dict(zip(("head", "relation", "tail"), missing)) | {"decision": "accept", "next": "/"}
    assert client.post("/review", data=fields).status_code == 403
    assert client.post("/review", data={**fields, "csrf": "0" * 64}).status_code == 403
    other = client_of(workspace)
    assert other.post("/review", data={**fields, "csrf": csrf}).status_code == 403
    assert workspace.reviews.reviewed() == []
    assert client.post("/review", data={**fields, "csrf": csrf}).status_code == 303
    assert len(workspace.reviews.reviewed()) == 1


def test_rates_are_limited(workspace):
    client = client_of(workspace, rate=0.001, burst=3)
    answers = [client.get("/api/v1/labels") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) > 0


def test_a_bucket_fills_again():
    limit = RateLimit(rate=2.0, burst=3)
    assert [limit.wait("a", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait("b", 0.0) == 0
    assert limit.wait("a", 0.5) == 0 and limit.wait("a", 0.5) > 0
    assert [limit.wait("a", 99.0) > 0 for _ in range(4)] == [False, False, False, True]
    assert (
        RateLimit(rate=0.0, burst=1).wait("a", 0.0)
        == RateLimit(rate=0.0, burst=1).wait("a", 0.0)
        == 0
    )


def test_sizes_are_limited(workspace):
    client = client_of(workspace, max_body=500)
    assert client.post(SCORE, json=TRIPLE * 20).status_code == 413
    headers = {"content-type": "application/json"}
    pieces = (b" " * 400 for _ in range(5))  # without a content length
    assert client.post(SCORE, content=pieces, headers=headers).status_code == 413
    assert client.post(SCORE, json=TRIPLE).status_code == 200


def test_every_answer_has_the_headers(client):
    for path in (
        "/",
        "/model",
        "/nothing",
        "/api/v1/model",
        "/api/v1/nothing",
        "/static/style.css",
    ):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CSP
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["..%2Fapp.py", "%2Fetc%2Fpasswd", "../app.py", "app.py"])
def test_no_path_reaches_the_disk(client, path):
    assert client.get(f"/static/{path}").status_code == 404


def test_pages_hold_no_inline_code(client, served):
    for name in rings.ODD:
        for path in ("/", "/look", "/why", "/negatives"):
            params = {"entity": name, "relation": "next", "head": name, "tail": name}
            text = client.get(path, params=params).text
            assert "<script>" not in text and " style=" not in text and " onclick=" not in text
    assert "<b>complex" not in client.get("/model").text


def test_addresses():
    assert host_name("A.b:80") == "a.b" and host_name("[::1]:80") == "::1"
    assert is_loopback("127.0.0.2") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("::") and not is_loopback("example.org")
