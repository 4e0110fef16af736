"""The demo's steps: read a Python file, tokenize it, parse it, measure it. Plain functions, run in workers.

A file that cannot be decoded or parsed raises, and so becomes a failure that names the step.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator
from typing import Final, NamedTuple

MOST_PER_FILE: Final = 10
"""Functions that are told about per file: as many as any ranking over all files needs of one."""

BRANCHES: Final = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert, ast.match_case)
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


class Source(NamedTuple):
    """A file that has been read."""

    path: str
    text: str


class Tokens(NamedTuple):
    """A file that has been tokenized."""

    path: str
    text: str
    lines: int
    code: int
    comments: int


class Parsed(NamedTuple):
    """A file that has been parsed."""

    tokens: Tokens
    tree: ast.Module


class Function(NamedTuple):
    """A function's measures; `complexity` is 1 and one more for each branch."""

    name: str
    line: int
    lines: int
    complexity: int


class FileMetrics(NamedTuple):
    """A file's measures: lines in all, with code, with comments; `hardest` are its most complex functions."""

    path: str
    lines: int
    code: int
    comments: int
    functions: int
    complexity: int
    longest: Function | None
    hardest: tuple[Function, ...]


def read(path: str) -> tuple[Source, bool]:
    """Read a file in the encoding that it declares."""
    with tokenize.open(path) as file:
        return Source(path, file.read()), True


def count_tokens(source: Source) -> tuple[Tokens, bool]:
    """Count its lines: those with code, and those with comments."""
    code: set[int] = set()
    comments: set[int] = set()
    blank = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in blank:
            code.update(range(token.start[0], token.end[0] + 1))
    return Tokens(*source, len(source.text.splitlines()), len(code), len(comments)), True


def parse(tokens: Tokens) -> tuple[Parsed, bool]:
    """Make its syntax tree."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about somebody else's code
        return Parsed(tokens, ast.parse(tokens.text, tokens.path)), True


def measure(parsed: Parsed) -> tuple[FileMetrics, bool]:
    """Measure its functions."""
    tokens = parsed.tokens
    functions = [*_functions(parsed.tree)]
    by_complexity = sorted(functions, key=lambda function: (-function.complexity, function.line))
    metrics = FileMetrics(
        path=tokens.path,
        lines=tokens.lines,
        code=tokens.code,
        comments=tokens.comments,
        functions=len(functions),
        complexity=sum(function.complexity for function in functions),
        longest=max(functions, key=lambda function: function.lines, default=None),
        hardest=tuple(by_complexity[:MOST_PER_FILE]),
    )
    return metrics, True


def _functions(tree: ast.Module) -> Iterator[Function]:
    """Every function and method, with its dotted name; one inside another counts for itself."""
    found: list[tuple[str, ast.AST]] = [("", tree)]
    for prefix, scope in found:  # grows while it is walked: scopes are found in scopes
        branches = 0
        inner = [*ast.iter_child_nodes(scope)]
        for node in inner:
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                found.append((f"{prefix}{node.name}.", node))
                continue
            branches += _branches(node)
            inner.extend(ast.iter_child_nodes(node))
        if isinstance(scope, FUNCTIONS):
            lines = (scope.end_lineno or scope.lineno) - scope.lineno + 1
            yield Function(prefix.removesuffix("."), scope.lineno, lines, 1 + branches)


def _branches(node: ast.AST) -> int:
    """Ways to go on that this node adds."""
    match node:
        case ast.BoolOp(values=values):
            return len(values) - 1
        case ast.comprehension(ifs=ifs):
            return 1 + len(ifs)
    return isinstance(node, BRANCHES)
