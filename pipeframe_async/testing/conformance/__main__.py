"""`python -m pipeframe_async.testing.conformance`: the table of guarantees, as it is on this machine.

python -m pipeframe_async.testing.conformance                          all executors, as Markdown
python -m pipeframe_async.testing.conformance --page docs/guarantees.md   the same, into that page
python -m pipeframe_async.testing.conformance threads my.module:make    these, with figures
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pipeframe_async.testing.conformance.page import rewritten
from pipeframe_async.testing.conformance.rig import Make
from pipeframe_async.testing.conformance.suite import conform
from pipeframe_async.testing.conformance.usual import USUAL
from pipeframe_async.testing.conformance.verdicts import markdown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite over some executors. Returns the exit code: 1 where something did not hold that was asked for."""
    parser = argparse.ArgumentParser("python -m pipeframe_async.testing.conformance", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("executors", nargs="*", metavar="EXECUTOR", help="a name, or module:function; default: a table")
    parser.add_argument("--case", action="append", metavar="NAME", help="only this case; may be given again")
    parser.add_argument("--page", type=Path, help="a page whose table is to be replaced")
    options = parser.parse_args(arguments)
    if options.executors:
        found = [conform(_executor(text), cases=options.case, name=text) for text in options.executors]
        sys.stdout.write("\n\n".join(map(str, found)) + "\n")
        return int(any(one.broken for one in found))
    table = markdown([conform(make, cases=options.case, name=name) for name, make in USUAL.items()])
    if options.page is None:
        sys.stdout.write(f"{table}\n")
    else:
        options.page.write_text(rewritten(options.page.read_text("utf-8"), table), "utf-8")
    return 0


def _executor(text: str) -> Make:
    if text in USUAL:
        return USUAL[text]
    module, _, name = text.partition(":")
    if not name:
        raise SystemExit(f"{text!r}: must be one of {', '.join(USUAL)}, or module:function")
    make: Make = getattr(import_module(module), name)
    return make


if __name__ == "__main__":
    sys.exit(main())
