"""`python docs/figures` draws the picture of README again, and `python docs/figures FOLDER` all."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from figures import draw_all, overview

if __name__ == "__main__":
    if sys.argv[1:]:
        draw_all(Path(sys.argv[1]))
    else:
        overview.draw(Path(__file__).parents[1] / "overview.svg")
