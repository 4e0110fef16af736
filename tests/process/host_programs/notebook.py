"""Runs a script as the one cell of a notebook: `notebook.py SCRIPT`. What it prints is what the script prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat

if __name__ == "__main__":
    make: Any = nbformat.v4
    notebook = make.new_notebook()
    source = Path(sys.argv[1]).read_text("utf-8").replace("asyncio.run(", "await (")
    notebook.cells = [make.new_code_cell(source)]
    nbclient.NotebookClient(notebook, timeout=40, kernel_name="python3").execute()
    for output in notebook.cells[0].outputs:
        print(output.get("text", output), end="")
