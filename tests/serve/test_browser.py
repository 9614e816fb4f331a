"""The pages in a real browser."""

import os
import shutil
import threading
import time

import polars as pl
import pytest
import rings
import uvicorn

from sparring.serve.app import create_app
from sparring.serve.safety import Access
from sparring.serve.workspace import label_rows

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


ODD_LABELS = {
    "e005": "Long" * 80,
    "e006": "محطة قطارات " * 6,
    "e007": "a long label of many words " * 12,
    "e008": "",
}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(params=["plain"])
def labels(request):
    """Labels of entities, by name: none, or some that are hard to show."""
    return {"plain": {}, "odd": ODD_LABELS}[request.param]


@pytest.fixture
def address(workspace, labels):
    """Of a server of the workspace."""
    names = workspace.served.graph.entities
    names.labels = pl.Series([labels.get(name, name) for name in names])
    workspace.labels.build(str(labels), label_rows(workspace.served))
    workspace.fill_queue(least=0.0)
    app = create_app(workspace, Access(rate=0.0))
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
    names.labels = names.names


@pytest.fixture
def new_page(browser, address):
    """Pages of new browsers; a script that fails, or that the policy refuses, fails the test."""
    contexts, problems = [], []

    def opened(**options):
        contexts.append(browser.new_context(base_url=address, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on(
            "console",
            lambda message: "Content Security" in message.text and problems.append(message.text),
        )
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def sign_in(page, name):
    page.goto("/review")
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    page.get_by_text("Is this true?").wait_for()


def statement(page):
    return page.locator(".candidate .statement").inner_text()


CHANGED = "before => document.querySelector('.candidate .statement')?.innerText !== before"


def decide(page, key):
    """Press a key, and wait for the next candidate."""
    before = statement(page)
    page.keyboard.press(key)
    page.wait_for_function(CHANGED, arg=before)
    return before


def test_ask_with_the_keyboard_only(new_page):
    page = new_page()
    page.goto("/")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "entity":
            break
    page.keyboard.type("e00")
    page.locator("#entity-names [role=option]").first.wait_for()
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#entity-names [aria-selected=true]").inner_text()
    assert page.get_attribute("#entity", "aria-activedescendant") == "entity-names-0"
    page.keyboard.press("Enter")
    assert page.input_value("#entity") == chosen and page.locator("#entity-names").is_hidden()
    page.keyboard.press("Tab")
    page.keyboard.type("next")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=chosen).wait_for()
    assert page.locator(".answers tbody tr").count() > 5
    page.get_by_role("link", name="why").first.press("Enter")
    page.get_by_role("heading", name="Why").wait_for()


def test_review_with_the_keyboard_and_undo(new_page, workspace):
    page = new_page()
    sign_in(page, "Ann")
    first = decide(page, "a")
    decide(page, "r")
    decide(page, "u")
    assert workspace.reviews.progress().reviewers == {
        "Ann": {"accept": 1, "reject": 1, "unsure": 1}
    }
    decide(page, "z")
    decide(page, "z")
    decide(page, "z")
    assert statement(page) == first and workspace.reviews.reviewed() == []


def test_keys_do_nothing_while_somebody_types(new_page, workspace):
    page = new_page()
    sign_in(page, "Ann")
    page.locator("#order").focus()
    page.keyboard.press("a")
    page.goto("/why?head=e005&relation=next&tail=e009")
    page.keyboard.press("Control+a")
    assert workspace.reviews.reviewed() == []


def test_export(new_page):
    page = new_page()
    sign_in(page, "Ann")
    decide(page, "a")
    with page.expect_download() as download:
        page.get_by_role("link", name="TSV").click()
    lines = download.value.path().read_text().splitlines()
    assert download.value.suggested_filename == "reviews.tsv" and len(lines) == 2
    assert lines[1].split("\t")[3] == "accepted"


def test_two_browsers_do_not_see_the_same_candidate(new_page, workspace):
    pages = {name: new_page() for name in ("Ann", "Bob")}
    for name, page in pages.items():
        sign_in(page, name)
    seen = []
    for _ in range(4):
        assert statement(pages["Ann"]) != statement(pages["Bob"])
        seen += [decide(page, "a") for page in pages.values()]
    assert len(set(seen)) == 8
    reviewers = workspace.reviews.progress().reviewers
    assert {name: counts["accept"] for name, counts in reviewers.items()} == {"Ann": 4, "Bob": 4}


def test_hostile_names_are_shown_as_they_are(new_page):
    page = new_page()
    name = rings.ODD[0]
    page.goto("/")
    page.locator("#entity").fill("<scri")
    option = page.locator("#entity-names [role=option]").first
    option.wait_for()
    assert option.inner_text() == name
    option.click()
    assert page.input_value("#entity") == name
    page.locator("#relation").fill("next")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("link", name=name).first.click()
    assert page.locator("h1").inner_text() == name


def test_without_scripts(new_page, workspace):
    page = new_page(java_script_enabled=False)
    page.goto("/")
    page.locator("#entity").fill("e005")
    page.locator("#relation").fill("next")
    page.get_by_role("button", name="Ask").click()
    assert page.locator(".answers tbody tr").count() > 5
    sign_in(page, "Ann")
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("button", name="Undo").wait_for()
    assert len(workspace.reviews.reviewed()) == 1


PLACES = [
    "/", "/?entity=e005&relation=next", "/?entity=nobody&relation=next", "/look",
    "/look?entity=e005", "/negatives?head=e005&relation=next&tail=e006", "/model",
    "/why?head=e005&relation=next&tail=e009", "/review", "/nothing",
]  # fmt: skip


@pytest.mark.parametrize("labels", ["plain", "odd"], indirect=True)
@pytest.mark.parametrize("width", [400, 1600])
def test_no_page_is_wider_than_the_screen(new_page, width):
    page = new_page(viewport={"width": width, "height": 800})
    sign_in(page, "A name without any place to break it " + "x" * 40)
    for place in PLACES:
        page.goto(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place


@pytest.fixture
def violations():
    """Rules of axe-core that a page breaks, with the place, the rule, and the first element."""
    bindings = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="axe-core is not installed: pip install axe-playwright-python",
    )

    def found(page):
        return [
            (page.url, each["id"], each["nodes"][0]["html"])
            for each in bindings.Axe().run(page).response["violations"]
        ]

    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(new_page, violations, scheme):
    page = new_page(color_scheme=scheme)
    found = violations(page) if page.goto("/review") else []
    sign_in(page, "Ann")
    decide(page, "a")
    for place in PLACES:
        page.goto(place)
        found += violations(page)
    assert found == []
