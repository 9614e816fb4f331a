"""Pictures of `sparring serve` for the documentation.

    python research/scripts/screenshots.py [RUN] [FOLDER]

RUN is a run on the graph atlas; FOLDER is docs/_static/serve by default. Needs Playwright and
Chromium (`apt-get install chromium`; CHROMIUM names another place).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
TRIPLE = "head=territory:LI&relation=official_language&tail=language:de"
PICTURES = {
    "ask": "/?entity=territory:CH&relation=spoken_language",
    "why": f"/why?{TRIPLE}",
    "look": "/look?entity=territory:CH",
    "negatives": f"/negatives?{TRIPLE}",
    "review": "/review",
    "model": "/model",
}


def wait(address: str) -> None:
    """Until nothing runs in the background."""
    while b"In the background" in urllib.request.urlopen(address).read():
        time.sleep(1)


def take(address: str, folder: Path) -> None:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for scheme in ("light", "dark"):
            context = browser.new_context(
                base_url=address, color_scheme=scheme, viewport={"width": 1200, "height": 800}
            )
            page = context.new_page()
            page.goto("/review")
            page.get_by_label("Your name").fill("Ada")
            page.get_by_role("button", name="Start").click()
            page.get_by_text("Is this true?").wait_for()
            for name, place in PICTURES.items():
                page.goto(place)
                page.screenshot(path=folder / f"{name}-{scheme}.png")
            context.close()
        browser.close()


def main() -> None:
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/atlas")
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs" / "_static" / "serve"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        words = ["serve", str(run), "--port", "0", "--reviews", str(Path(temporary, "reviews.db"))]
        process = subprocess.Popen(
            [sys.executable, "-m", "sparring", *words], stdout=subprocess.PIPE, text=True
        )
        try:
            address = process.stdout.readline().split()[1].rstrip("/")
            wait(address)
            take(address, folder)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
