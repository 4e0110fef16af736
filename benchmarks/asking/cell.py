"""Contestants in processes of their own: fresh interpreters that answer in JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIMEOUT = 120.0
"""Seconds; a cell that needs more hangs."""


def cell(module: str, *arguments: object) -> Any:
    """What `python -m MODULE ARGUMENTS` prints, as a value.

    Raises:
        subprocess.CalledProcessError: it has failed; its words are on standard error.
        subprocess.TimeoutExpired: it hangs.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT)
    return json.loads(done.stdout)
