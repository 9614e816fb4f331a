"""What a release says of the place it comes from: addresses of the project, and links in README.

The address of the repository is not written down here, because a fork has another one. The release
workflow sets SPARRING_REPOSITORY to it, and SPARRING_DOCS to the address of the site. Without them
a build has no addresses, and README keeps its links between files.
"""

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ProjectAddresses(MetadataHookInterface):
    """Fills in the fields `urls` and `readme`."""

    def update(self, metadata: dict) -> None:
        """Set both fields."""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = os.environ.get("SPARRING_REPOSITORY", "").rstrip("/")
        version = metadata["version"]
        if repository:
            readme = absolute_links(
                readme, f"{repository}/blob/v{version}", f"{repository}/raw/v{version}"
            )
            metadata["urls"] = {
                "Documentation": os.environ.get("SPARRING_DOCS") or f"{repository}#readme",
                "Repository": repository,
                "Changelog": f"{repository}/blob/v{version}/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}


def absolute_links(text: str, pages: str, files: str) -> str:
    """Markdown whose links to files of the repository lead there from anywhere."""
    pictures = re.sub(r"(!\[[^\]]*\]\()(?!\w+:)([^)]+\))", rf"\1{files}/\2", text)
    return re.sub(r"((?<!!)\[[^\]]*\]\()(?!\w+:|#)([^)]+\))", rf"\1{pages}/\2", pictures)
