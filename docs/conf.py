"""How the site is built: `sphinx-build -W -n -b html docs build/site`. Everything it needs is here; nothing is fetched.

The pages are read on a code host too, so links between them are ordinary relative ones. What differs on the site is
done here: links to files above `docs/`, and names in docstrings that become links to the reference.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import pipeframe_async  # noqa: E402 - the one beside this file

project = "pipeframe_async"
release = version = pipeframe_async.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

nitpicky = True
nitpick_ignore_regex = [
    # The standard library's own reference is on the network.
    ("py:.*", r"(asyncio|collections|concurrent|contextlib|os|types|typing)\..*"),
    ("py:class", r"pipeframe_async\..*\.(A|B|In|Out|T|T_co|T_contra)"),  # type variables say what they are
]

# An entry that matches no page is no mistake by itself: a page in no table of contents is one, and is found.
suppress_warnings = ["toc.empty_glob"]

myst_heading_anchors = 4  # as a code host names them

autodoc_default_options = {"members": True, "inherited-members": False, "member-order": "bysource"}
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_use_rtype = False

# ----------------------------------------------------------------------------------- links to files above docs/

ABOVE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages that stand elsewhere in the repository, and where the site has them."""

LINK = re.compile(r"\]\((?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")


def lead_within(text: str, place: str) -> str:
    """Relative links of a page in the folder `place` of the repository, to where the site has what they lead to."""

    def led(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(place, link[1]))
        if (ROOT / path).is_dir():
            path += "/README.md"
        path = ABOVE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}")
        return f"](/{path}{link[2] or ''})"

    return LINK.sub(led, text)


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = lead_within(source[0], posixpath.join("docs", posixpath.dirname(name)))


def read_included(app: Sphinx, path: Path, name: str, source: list[str]) -> None:
    source[0] = lead_within(source[0], (ROOT / "docs" / path).resolve().relative_to(ROOT).parent.as_posix())


# ------------------------------------------------------------------------------------------ names in docstrings

PUBLIC = {
    name: f"{module}.{name}"
    for module in ("pipeframe_async.testing", "pipeframe_async.sinks", "pipeframe_async.feeds", "pipeframe_async")
    for name in import_module(module).__all__
}
"""Where the reference has a name; of one that feeds and sinks both have, the feed."""

CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(?=(\w)?)")
ASIDE = re.compile(r"^(Cancellation|Errors|Process|Source): ", re.MULTILINE)


def mark_up(text: str) -> str:
    """A docstring's `code` as reStructuredText has it: a link where it is a public name."""

    def marked(code: re.Match[str]) -> str:
        glue = "\\ " if code[2] else ""
        target = PUBLIC.get(code[1])
        return f":py:obj:`{code[1]} <{target}>`{glue}" if target else f"``{code[1]}``{glue}"

    return ASIDE.sub(r"**\1**: ", CODE.sub(marked, text))


def read_docstring(app: Sphinx, what: str, name: str, it: object, options: object, lines: list[str]) -> None:
    lines[:] = mark_up("\n".join(lines)).split("\n")


def read_signature(
    app: Sphinx, what: str, name: str, it: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    return signature and signature.replace("<factory>", "..."), returned


def setup(app: Sphinx) -> None:
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)  # before napoleon
