"""What an expression of a module's source may say, as texts in which `…` stands for what is not known there.

A name is what it is assigned, or what those of the module that call the function give it; a function is what it
returns. All of it is read, and nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from itertools import product

VARIES = "…"
MOST = 40
"""Alternatives of one text. A text of more of them is none that a page could list."""
DEEP = 3
"""Names and functions between a text and who shows it."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Bound = Mapping[str, list[str]]
Others = Mapping[tuple[str, str], list[str]]
"""What functions of other modules return, by the module's last name and theirs."""


class Expressions:
    """Those of one module."""

    def __init__(self, tree: ast.Module, others: Others) -> None:
        self.tree = tree
        self.functions = {node.name: node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}
        self.calls = [(scope, node) for scope, node in with_scopes(tree) if isinstance(node, ast.Call)]
        self._others = others

    def may_say(self, node: ast.expr | None, scope: ast.AST, bound: Bound | None = None, deep: int = 0) -> list[str]:
        """All that an expression may say, with `…` for what is not known here."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=values):
                return _joined(self._piece(value, bound) for value in values)
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return _joined(self.may_say(side, scope, bound, deep) for side in (left, right))
            case ast.IfExp(body=body, orelse=other):
                return [text for side in (body, other) for text in self.may_say(side, scope, bound, deep)]
            case ast.Name(id=name) if bound and name in bound:
                return bound[name]
            case ast.BoolOp(values=sides):
                return [text for side in sides for text in self.may_say(side, scope, bound, deep)]
            case ast.Name(id=name) if deep < DEEP:
                top = [each for each in self.tree.body if isinstance(each, (ast.Assign, ast.AnnAssign))]
                return (
                    self._assigned(name, ast.walk(scope), deep + 1)
                    or self._passed(name, scope, deep + 1)
                    or self._assigned(name, top, deep + 1)
                    or [VARIES]
                )
            case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[ast.List(elts=[first, *_])]):
                return self.may_say(first, scope, bound, deep)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if (module, name) in self._others:
                return self._others[module, name]
            case ast.Call(func=func) if deep < DEEP and (name := name_of(func)) in self.functions:
                function = self.functions[name]
                return self.returned(function, deep + 1, self.bound(function, node, scope, deep + 1)) or [VARIES]
        return [VARIES]

    def _piece(self, node: ast.expr, bound: Bound | None) -> list[str]:
        """Of an f-string: its literal parts, what a function was called with, and `…`."""
        match node:
            case ast.Constant(value=value):
                return [str(value)]
            case ast.FormattedValue(value=ast.Name(id=name)) if bound and name in bound:
                return bound[name]
        return [VARIES]

    def _assigned(self, name: str, nodes: Iterable[ast.AST], deep: int) -> list[str]:
        found: list[str] = []
        scope = self.tree
        for node in nodes:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
                for target in targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        found += self.may_say(node.value, scope, None, deep)
                    elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        for one, value in zip(target.elts, node.value.elts, strict=False):
                            if isinstance(one, ast.Name) and one.id == name:
                                found += self.may_say(value, scope, None, deep)
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Name) and node.target.id == name:
                found += self.may_say(node.iter, scope, None, deep)
        return found

    def _passed(self, name: str, scope: ast.AST, deep: int) -> list[str]:
        """What a parameter of a function is given, by those of the module that call it."""
        if not isinstance(scope, FUNCTIONS) or name not in parameters(scope):
            return []
        calls = [(caller, call) for caller, call in self.calls if name_of(call.func) == scope.name]
        given = [(caller, _arguments(scope, call).get(name)) for caller, call in calls]
        return [text for caller, value in given if value for text in self.may_say(value, caller, None, deep)]

    def returned(self, function: ast.AST, deep: int, bound: Bound | None = None) -> list[str]:
        """What a function of it returns, called with that."""
        return [
            text
            for node in ast.walk(function)
            if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None
            for text in self.may_say(node.value, function, bound, deep)
        ]

    def bound(self, function: Function, call: ast.Call, scope: ast.AST, deep: int) -> Bound:
        """By parameter, what a function is called with."""
        given = _arguments(function, call)
        return {name: self.may_say(value, scope, None, deep) for name, value in given.items()}


def parameters(function: Function) -> list[str]:
    arguments = function.args
    return [each.arg for each in (*arguments.args, *arguments.kwonlyargs) if each.arg not in ("self", "cls")]


def _arguments(function: Function, call: ast.Call) -> dict[str, ast.expr]:
    """By parameter, what stands in a call."""
    named = {word.arg: word.value for word in call.keywords if word.arg}
    return dict(zip(parameters(function), call.args, strict=False)) | named


def with_scopes(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every node, with the innermost function it is in."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while waiting:
        scope, node = waiting.pop()
        yield scope, node
        inner = node if isinstance(node, FUNCTIONS) else scope
        waiting += [(inner, child) for child in ast.iter_child_nodes(node)]


def name_of(function: ast.AST) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _joined(pieces: Iterable[list[str]]) -> list[str]:
    """All ways to put together what each piece may say."""
    found = [*pieces]
    ways = 1
    for piece in found:
        ways *= len(piece)
    return (
        ["".join(way) for way in product(*found)]
        if ways <= MOST
        else ["".join(piece[0] if len(piece) == 1 else VARIES for piece in found)]
    )


def returned(name: str, source: str) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """What the functions of a module return, where that is a text."""
    module = Expressions(tree := ast.parse(source), {})
    for function in tree.body:
        if isinstance(function, FUNCTIONS) and name_of(function.returns or tree) == "str":
            yield (name, function.name), module.returned(function, 1)
