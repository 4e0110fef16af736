"""How pages are read: which blocks run, together with which, and what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.readme.snippets import Command, PageError, Script, pages, read_page, readme_command

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_each_python_block_is_a_script() -> None:
    page = read_page("# Title\n\n```python\na = 1\n```\ntext\n```python\nb = 2\n```\n")
    assert page.scripts == [Script(3, "", "a = 1\n"), Script(7, "", "b = 2\n")]


def test_a_block_may_continue_the_one_before() -> None:
    page = read_page("```python\na = 1\n```\n<!-- snippet: continues -->\n```python\nassert a\n```\n")
    assert page.scripts == [Script(1, "", "a = 1\n\nassert a\n")]


def test_a_block_may_name_its_file() -> None:
    page = read_page("<!-- snippet: file orders.py -->\n```python\na = 1\n```\n")
    assert page.scripts == [Script(2, "orders.py", "a = 1\n")]


def test_a_block_in_a_list_loses_its_indent() -> None:
    page = read_page("- item\n\n  ```python\n  if a:\n      b\n  ```\n")
    assert page.scripts == [Script(3, "", "if a:\n    b\n")]


def test_a_skipped_block_is_kept_with_its_reason() -> None:
    page = read_page("<!-- snippet: skip needs a broker -->\n```python\nconnect()\n```\n")
    assert page.scripts == []
    assert [(block.line, block.rest) for block in page.skipped] == [(2, "needs a broker")]


def test_a_block_of_another_library_is_compiled_and_not_run() -> None:
    page = read_page("<!-- snippet: of joblib -->\n```python\nimport joblib\n```\n")
    assert (page.scripts, page.skipped) == ([], [])
    assert [(block.line, block.rest) for block in page.others] == [(2, "joblib")]


def test_a_page_may_be_one_folder_whose_blocks_run_as_they_stand_there() -> None:
    text = "```console\n$ pipeframe demo\n```\n```python\na = 1\n```\n```console\n$ pipeframe\n```\n"
    assert not read_page(text).one_folder
    page = read_page(f"<!-- page: one folder -->\n{text}")
    assert page.one_folder
    assert [shown.line for shown in page.in_order()] == [3, 5, 9]


def test_blocks_in_other_languages_are_not_run() -> None:
    page = read_page("```bash\nrm -rf /\n```\n```text\nx\n```\n```\ny\n```\n")
    assert (page.scripts, page.commands) == ([], [])


def test_blocks_for_the_site_are_not_run_and_end_where_they_end() -> None:
    page = read_page("```{include} ../README.md\n```\n```{toctree}\n:hidden:\ninstall\n```\n```python\na = 1\n```\n")
    assert page.scripts == [Script(7, "", "a = 1\n")]


def test_commands_of_ours_are_found_among_others_and_their_output() -> None:
    text = (
        "```console\n$ cd somewhere\n$ pipeframe run orders:Orders --set 'a=b c'\nfed 3\n"
        "$ python -m pipeframe_async check orders:Orders  # as before\n$ pipeframe\n```\n"
    )
    assert read_page(text).commands == [
        Command(3, ("run", "orders:Orders", "--set", "a=b c")),
        Command(5, ("check", "orders:Orders")),
        Command(6, ()),
    ]


def test_a_block_may_be_kept_from_type_checkers_with_a_reason() -> None:
    text = (
        "<!-- types: skip it is wrong -->\n<!-- snippet: file a.py -->\n```python\na = 1\n```\n"
        "```python\nb = 1\n```\n<!-- types: skip so is this -->\n<!-- snippet: continues -->\n```python\nc = 1\n```\n"
        "```python\nd = 1\n```\n"
    )
    assert [script.untyped for script in read_page(text).scripts] == ["it is wrong", "so is this", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\na = 1\n", "line 1: this block is never closed"),
        ("<!-- snippet: skip -->\n```python\n```\n", "line 2: a skipped block needs its reason"),
        ("<!-- snippet: skip later -->\n```python\n```\n", "line 2: a skipped block needs its reason"),
        ("<!-- snippet: continues -->\n```python\n```\n", "line 2: there is no python block to continue"),
        ("<!-- snippet: dances -->\n```python\n```\n", "line 2: a block cannot 'dances'"),
        ("<!-- snippet: file ../a.py -->\n```python\n```\n", "line 2: '../a.py' is no name"),
        ("<!-- snippet: continues -->\n```bash\n```\n", "line 2: only python blocks"),
        ("<!-- snippet: of joblib -->\n```bash\n```\n", "line 2: `of` names the one library"),
        ("<!-- snippet: of -->\n```python\n```\n", "line 2: `of` names the one library"),
        ("<!-- snippet: of joblib -->\n```python\na b\n```\n", "line 2: invalid syntax"),
        (
            "<!-- snippet: continues -->\n\n```python\n```\n",
            "line 1: a snippet comment must stand just above",
        ),
        ("text\n<!-- snippet: continues -->\n", "line 2: a snippet comment must stand just above"),
        ("<!-- snippet continues -->\n", "line 1: not a snippet comment"),
        ("<!-- types: skip -->\n```python\n```\n", "line 1: a block without types needs its reason"),
        ("<!-- types: wrong -->\n```python\n```\n", "line 1: a block without types needs its reason"),
        (
            "<!-- types: skip is wrong -->\n\n```python\n```\n",
            "line 1: a comment on types must stand just above a block",
        ),
        ("<!-- types: skip is wrong -->\n", "line 1: a snippet comment must stand just above a block"),
    ],
)
def test_a_page_that_is_written_wrong_is_refused(text: str, message: str) -> None:
    with pytest.raises(PageError, match=message):
        read_page(text)


def test_the_pages_are_the_readme_and_all_below_docs(tmp_path: Path) -> None:
    for name in ("README.md", "docs/guide.md", "docs/decisions/one.md", "other.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in pages(tmp_path)]
    assert found == ["README.md", "docs/decisions/one.md", "docs/guide.md"]


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_readme_has_each_command_once_on_one_line(name: str) -> None:
    assert readme_command(README, name)


@pytest.mark.parametrize("text", ["", "<!-- command: test -->\n```bash\na\nb\n```\n", "```bash\npytest\n```\n"])
def test_a_readme_without_its_command_is_refused(text: str) -> None:
    with pytest.raises(PageError, match="one command marked 'test'"):
        readme_command(text, "test")


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell script")
@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_checks_run_the_command_as_the_readme_has_it(name: str) -> None:
    script = f'source "{ROOT}/.ci/readme" && readme_command "{ROOT}/README.md" {name}'
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=10, check=True)
    assert shown.stdout.strip() == readme_command(README, name)
