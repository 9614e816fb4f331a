"""Pictures of `sparring serve`: all pages to look at, and those that README and docs show.

    python research/scripts/screenshots.py [RUN] [--folder FOLDER] [--width PIXELS ...]

RUN is a run on the graph atlas (`sparring fit atlas`). With --folder, writes every page at every
width, light and dark, as PNG. Without it, writes docs/_static/serve/NAME-SCHEME.webp. Needs
Playwright, Pillow, and Chromium (`apt-get install chromium`; CHROMIUM names another place).
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "_static" / "serve"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
TRIPLE = "head=territory:LI&relation=official_language&tail=language:de"
WIDTH, HEIGHT = 1280, 800  # of what README and docs show
SHOWN = {
    "ask": "/?entity=territory:CH&relation=spoken_language",
    "look": "/look?entity=territory:CH",
    "review": "/review",
}
PICTURES = {
    **SHOWN,
    "ask-empty": "/",
    "ask-unknown": "/?entity=Swizerland&relation=spoken_language",
    "ask-heads": "/?entity=language:ar&relation=spoken_language&side=head&hide=1",
    "why": f"/why?{TRIPLE}",
    "why-missing": "/why?head=territory:CH&relation=spoken_language&tail=language:nl",
    "look-empty": "/look",
    "look-unknown": "/look?entity=nobody",
    "negatives-empty": "/negatives",
    "negatives": f"/negatives?{TRIPLE}",
    "review-nothing": "/review?relation=nonsense",
    "model": "/model",
    "nothing": "/nothing",
}


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """The address of a server of the run, once nothing runs in the background."""
    with tempfile.TemporaryDirectory() as temporary:
        words = ["serve", str(run), "--port", "0", "--reviews", str(Path(temporary, "reviews.db"))]
        process = subprocess.Popen(
            [sys.executable, "-m", "sparring", *words], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[1].rstrip("/")
            while b"In the background" in urllib.request.urlopen(address).read():
                time.sleep(1)
            yield address
        finally:
            process.terminate()
            process.wait()


@contextmanager
def page_of(browser: Browser, address: str, scheme: str, width: int, height: int) -> Iterator[Page]:
    """A page of somebody who has reviewed something."""
    context = browser.new_context(
        base_url=address, color_scheme=scheme, viewport={"width": width, "height": height}
    )
    page = context.new_page()
    page.goto("/review")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Accept").click()
    page.get_by_text("Your last decision").wait_for()
    yield page
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/atlas"), metavar="RUN")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--width", type=int, nargs="+", default=[400, 1280])
    options = parser.parse_args()
    folder = options.folder or DOCS
    folder.mkdir(parents=True, exist_ok=True)
    with serving(options.run) as address, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for scheme in ("light", "dark"):
            for width in options.width if options.folder else [WIDTH]:
                with page_of(browser, address, scheme, width, HEIGHT) as page:
                    for name, place in (PICTURES if options.folder else SHOWN).items():
                        page.goto(place)
                        if options.folder:
                            target = folder / f"{name}-{width}-{scheme}.png"
                            page.screenshot(path=target, full_page=True)
                        else:
                            picture = Image.open(io.BytesIO(page.screenshot()))
                            picture.save(folder / f"{name}-{scheme}.webp", quality=80, method=6)
        browser.close()


if __name__ == "__main__":
    main()
