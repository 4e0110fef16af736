"""What the package says of itself beyond `pyproject.toml`: where its project is, and a description that leads there.

Built for a release, `PROJECT_HOME` is the address of the repository's page: the README's links and pictures, which are
files beside it, become addresses of that version's, and the project urls are its pages. Built without it, as by whoever
installs from a checkout, there are no urls, and the description is the README as it stands.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


def linked(page: str, home: str, tag: str) -> str:
    """A page of Markdown in which what it links and shows has the address it has in a repository, at a tag."""

    def at(found: re.Match[str]) -> str:
        shown, text, path = found.groups()
        return f"{shown}[{text}]({home}/{'raw' if shown else 'blob'}/{tag}/{path})"

    return _LINK.sub(at, page)


def urls(home: str, tag: str) -> dict[str, str]:
    """The pages of the project, by the names that indexes know."""
    pages = {"Documentation": "docs/index.md", "Changelog": "CHANGELOG.md", "Security": "SECURITY.md"}
    here = {name: f"{home}/blob/{tag}/{path}" for name, path in pages.items()}
    return {"Homepage": home, "Source": home, "Issues": f"{home}/issues", **here}


class Metadata(MetadataHookInterface):
    """Hatchling's hook."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what is dynamic."""
        page = Path(self.root, "README.md").read_text("utf-8")
        if home := os.environ.get("PROJECT_HOME", "").rstrip("/"):
            tag = f"v{metadata['version']}"
            page, metadata["urls"] = linked(page, home, tag), urls(home, tag)
        metadata["readme"] = {"content-type": "text/markdown", "text": page}
