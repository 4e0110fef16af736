"""`python -m pipeframe_async`, and where the `pipeframe` script starts."""

from __future__ import annotations

import sys
from pathlib import Path

NEEDED = ("click", "rich")


def main() -> None:
    """Run the command line and exit with its code: 0 done, 1 failed, 2 usage, 130 interrupted."""
    try:
        from pipeframe_async.cli.program import program
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in NEEDED:
            raise
        missing = error.name.partition(".")[0]
        sys.stderr.write(f'The command line needs {missing}: pip install "pipeframe_async[cli]"\n')
        sys.exit(2)
    sys.exit(program())


def _forget_working_directory() -> None:
    """Take back what `python -m` has put on the path: modules from here are loaded with --app-dir only."""
    here = Path.cwd()
    if not sys.flags.safe_path and sys.path[0] == str(here) and Path(__file__).parents[1] != here:
        del sys.path[0]


if __name__ == "__main__":
    _forget_working_directory()
    main()
