"""The tester at work. What records are made of is in a module that workers can import."""

from __future__ import annotations

import sys

from tests.differential import tester

if __name__ == "__main__":
    sys.exit(tester.main())
