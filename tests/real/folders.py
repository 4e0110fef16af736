"""Where servers for tests have their data: by that their processes are told from those of a test."""

from __future__ import annotations

from typing import Final

SERVER_FOLDER: Final = "pipeframe-test-server-"
"""Part of the commands of servers that a session starts for its tests, and that a test may kill and start again."""
