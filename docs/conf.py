"""How the site is built: `sphinx-build -W -n -b html docs build/site`. Everything it needs is here; nothing is fetched.

The pages are read on a code host too, so links between them are ordinary relative ones. What differs on the site is
done here: links to files above `docs/`, and names in docstrings that become links to the reference.
"""

from __future__ import annotations

import posixpath
import re
import sys
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import pipeframe_async  # noqa: E402 - the one beside this folder

project = "pipeframe_async"
release = version = pipeframe_async.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
pygments_dark_style = "github-dark"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

myst_heading_anchors = 4  # levels of headings that links lead to, by the names a code host gives them

add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"FeedLike": "FeedLike"}  # what it stands for is four lines
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
napoleon_use_rtype = False

nitpicky = True
nitpick_ignore_regex = [
    # Of the standard library and pyarrow, whose own reference is on the network.
    ("py:.*", r"(asyncio|collections|concurrent|contextlib|os|pa|pathlib|types|typing)\..*"),
    # Type variables say what they are.
    ("py:class", r"(pipeframe_async\..*\.)?(A|B|In|Out|T|T_co|T_contra|Value)"),
    # Types that nobody writes: of steps that were made, of DROP, of how a record is kept, of lanes.
    ("py:class", r"pipeframe_async\.(steps\.\w+|model\.Drop|keeping\.Kept)"),
    ("py:class", r"AnyExecutor|(pipeframe_async\.(contracts|testing\.trying)\.)?(Executor|FrameOptions)"),
    # What `run` and `pipeline` take by name, which is said where it belongs.
    ("py:class", r"(pipeframe_async\.(script|folding)\.)?(Attributes|Options|Fold)"),
]

# ----------------------------------------------------------------------------------- links to files above docs/

ABOVE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages that stand elsewhere in the repository, and what the site has of them."""

LINK = re.compile(r"\]\((?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")


def lead_within(text: str, place: str) -> str:
    """Relative links of a page in the folder `place` of the repository, as links from the top of the site."""

    def led(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(place, link[1]))
        if not (ROOT / path).exists():
            return link[0]  # a mistake, which is found, or no link: `steps[0](record)`
        if (ROOT / path).is_dir():
            path += "/README.md"
        path = path.removeprefix("docs/") if path.startswith("docs/") else ABOVE.get(path, f"../{path}")
        return f"](/{path}{link[2] or ''})"

    return LINK.sub(led, text)


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    """A page is about to be parsed."""
    source[0] = lead_within(source[0], posixpath.join("docs", posixpath.dirname(name)))


def read_included(app: Sphinx, path: Path, name: str, source: list[str]) -> None:
    """A page from above `docs/` is about to be parsed, in place of the one that includes it."""
    source[0] = lead_within(source[0], (HERE / path).resolve().relative_to(ROOT).parent.as_posix())


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
    """A docstring is about to be parsed."""
    lines[:] = mark_up("\n".join(lines)).split("\n")


def read_signature(
    app: Sphinx, what: str, name: str, it: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """A signature is about to be parsed; defaults that dataclasses make cannot be."""
    return signature and signature.replace("<factory>", "..."), returned


def setup(app: Sphinx) -> None:
    """Sphinx asks for this."""
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)  # before napoleon
