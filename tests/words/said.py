"""Every text of the package that a user can meet as an error or in a log, found in its source.

What varies in a text is `…`, so that one written as an f-string, with `%` or as a sum reads as a user sees it. A text
that is made elsewhere is looked for there: a name where it is assigned, a function of the same module where it returns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path

MAKES_A_MESSAGE = {
    "BadParameter",
    "CheckpointMismatch",
    "CommandFailed",
    "ConfigError",
    "Death",
    "DrainTimeout",
    "Ending",
    "Failure",
    "FeedError",
    "Overloaded",
    "PipelineFailed",
    "SinkError",
    "StartFailed",
    "StateError",
    "StepError",
    "UsageError",
    "WorkerLost",
    "WrongShape",
    "_finds",
    "_must",
    "kind",
    "warn",
}
"""What is called with a text that is shown: errors of the library and of click, how a worker has ended, warnings.
`kind` is a variable that stands for one of some errors."""
NOBODYS = {"AttributeError", "InternalError", "SystemExit"}
"""Raised for Python's own machinery; and `InternalError`, which has one entry for all: a bug, whatever it says."""
LOGGED = {"info", "warning", "error", "exception"}
TOLD = {"cause", "message"}
"""Keywords by which a text becomes the message of a failure."""
MESSAGE = {"Failure": 4, "Refusal": 1, "_finds": 1, "_must": 1}
"""Which argument is the message, where it is not the first; the last two are of the test kit."""
ENDS = {"TIME_LIMIT", "MEMORY"}
"""Why a worker was ended by its lane; a table has what to say of its record."""
VARIES = "…"
TELL = {
    "_rules/health.py": ("_blocked", "_stands", "_not_ready"),
    "observe/health_file.py": ("problem",),
}
"""Functions that return a text which others show: why it is not well."""
NOT_LOOKED_AT = (
    "_worker/forks.py",
    "testing/conformance/",
    "testing/clock.py",
    "testing/doubles.py",
    "testing/ends.py",
    "testing/executor.py",
    "cli/demo",
)
"""What a forked child says ends with it; the suites' verdicts are rows of a table; the demo, the virtual clock and the
doubles are nobody's pipeline."""
MOST = 40
"""Alternatives of one text. A text of more of them is none that a page could list."""
DEEP = 3
"""Names and functions between a text and who shows it."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Bound = Mapping[str, list[str]]
Others = Mapping[tuple[str, str], list[str]]
"""What functions of other modules return, by the module's last name and theirs."""


def said(package: Path) -> dict[str, set[str]]:
    """By text, the modules that say it."""
    sources = {path.relative_to(package).as_posix(): path.read_text("utf-8") for path in sorted(package.rglob("*.py"))}
    others = {key: texts for name, source in sources.items() for key, texts in returned(Path(name).stem, source)}
    found: dict[str, set[str]] = {}
    for module, source in sources.items():
        if not module.startswith(NOT_LOOKED_AT):
            told = [text for function in TELL.get(module, ()) for text in others[Path(module).stem, function]]
            for text in texts(source, others) | {_shown(text) for text in told if text}:
                found.setdefault(text, set()).add(module)
    return found


def texts(source: str, others: Others | None = None) -> set[str]:
    """Those of one module; the first line of each."""
    module = _Module(ast.parse(source), others or {})
    return {shown for text in module.all() if _says_something(shown := _shown(text))}


def returned(name: str, source: str) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """What the functions of a module return, where that is a text."""
    module = _Module(tree := ast.parse(source), {})
    for function in tree.body:
        if isinstance(function, FUNCTIONS) and _name(function.returns or tree) == "str":
            yield (name, function.name), module.returned(function, 1)


class _Module:
    def __init__(self, tree: ast.Module, others: Others) -> None:
        self._tree = tree
        self._others = others
        self._functions = {node.name: node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}
        self._calls = [(scope, node) for scope, node in _with_scopes(tree) if isinstance(node, ast.Call)]
        called = {_name(call.func) for _, call in self._calls}
        makers = {name: self._made_by(node) for name, node in self._functions.items() if name in called}
        self._makers = {name: messages for name, messages in makers.items() if messages}

    def all(self) -> Iterator[str]:
        for scope, node in _with_scopes(self._tree):
            if isinstance(node, ast.Call):
                name = _name(node.func)
                if name in self._makers:
                    yield from self._of_maker(name, node, scope)
                elif (_makes(node) or _is_logging(node) or _is_written(node)) and getattr(
                    scope, "name", ""
                ) not in self._makers:
                    yield from self._of_call(node, scope)
                for keyword in node.keywords:
                    if keyword.arg in TOLD:
                        yield from self._alternatives(keyword.value, scope)
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _name(node.exc.func) == "error":
                yield from self._of_call(node.exc, scope)
            elif isinstance(node, ast.Dict) and any(_name(key) in ENDS for key in node.keys if key is not None):
                for value in node.values:
                    yield from self._alternatives(value, scope) if isinstance(value, ast.JoinedStr) else ()

    def _of_call(self, call: ast.Call, scope: ast.AST) -> Iterator[str]:
        if (message := _message(call)) is not None:
            if _is_logging(call) and isinstance(message, ast.Constant) and len(call.args) > 1:
                yield from self._logged(call, scope)
            else:
                yield from self._alternatives(message, scope)

    def _logged(self, call: ast.Call, scope: ast.AST) -> Iterator[str]:
        """A `%` format; its last `%s` may stand for texts that are known."""
        message = str(call.args[0].value)  # type: ignore[attr-defined]
        last = self._alternatives(call.args[-1], scope)
        for text in filter(None, last):
            head, percent, tail = message.rpartition("%s")
            yield head + text + tail if percent and not tail else message

    def _made_by(self, function: Function) -> list[ast.expr]:
        """The messages of the errors a function returns, where each is made of what the function is called with."""
        names = {*_parameters(function)}
        messages = []
        for node in ast.walk(function):
            if isinstance(node, ast.Return):
                call = node.value
                message = _message(call) if isinstance(call, ast.Call) and _makes(call) else None
                if message is None or not names & {part.id for part in ast.walk(message) if isinstance(part, ast.Name)}:
                    return []
                messages.append(message)
        return messages

    def _of_maker(self, name: str, call: ast.Call, scope: ast.AST) -> Iterator[str]:
        function = self._functions[name]
        bound = self._bound(function, call, scope, 0)
        for message in self._makers[name]:
            yield from self._alternatives(message, function, bound)

    def _bound(self, function: Function, call: ast.Call, scope: ast.AST, deep: int) -> Bound:
        """By parameter, what a function is called with."""
        given = _arguments(function, call)
        return {name: self._alternatives(value, scope, None, deep) for name, value in given.items()}

    def _alternatives(
        self, node: ast.expr | None, scope: ast.AST, bound: Bound | None = None, deep: int = 0
    ) -> list[str]:
        """All that an expression may say, with `…` for what is not known here."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=values):
                return _joined(self._piece(value, bound) for value in values)
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return _joined(self._alternatives(side, scope, bound, deep) for side in (left, right))
            case ast.IfExp(body=body, orelse=other):
                return [text for side in (body, other) for text in self._alternatives(side, scope, bound, deep)]
            case ast.Name(id=name) if bound and name in bound:
                return bound[name]
            case ast.BoolOp(values=sides):
                return [text for side in sides for text in self._alternatives(side, scope, bound, deep)]
            case ast.Name(id=name) if deep < DEEP:
                top = [each for each in self._tree.body if isinstance(each, (ast.Assign, ast.AnnAssign))]
                return (
                    self._assigned(name, ast.walk(scope), deep + 1)
                    or self._passed(name, scope, deep + 1)
                    or self._assigned(name, top, deep + 1)
                    or [VARIES]
                )
            case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[ast.List(elts=[first, *_])]):
                return self._alternatives(first, scope, bound, deep)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if (module, name) in self._others:
                return self._others[module, name]
            case ast.Call(func=func) if deep < DEEP and (name := _name(func)) in self._functions:
                function = self._functions[name]
                return self.returned(function, deep + 1, self._bound(function, node, scope, deep + 1)) or [VARIES]
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
        scope = self._tree
        for node in nodes:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
                for target in targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        found += self._alternatives(node.value, scope, None, deep)
                    elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        for one, value in zip(target.elts, node.value.elts, strict=False):
                            if isinstance(one, ast.Name) and one.id == name:
                                found += self._alternatives(value, scope, None, deep)
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Name) and node.target.id == name:
                found += self._alternatives(node.iter, scope, None, deep)
        return found

    def _passed(self, name: str, scope: ast.AST, deep: int) -> list[str]:
        """What a parameter of a function is given, by those of the module that call it."""
        if not isinstance(scope, FUNCTIONS) or name not in _parameters(scope):
            return []
        calls = [(caller, call) for caller, call in self._calls if _name(call.func) == scope.name]
        given = [(caller, _arguments(scope, call).get(name)) for caller, call in calls]
        return [text for caller, value in given if value for text in self._alternatives(value, caller, None, deep)]

    def returned(self, function: ast.AST, deep: int, bound: Bound | None = None) -> list[str]:
        """What a function of it returns, called with that."""
        return [
            text
            for node in ast.walk(function)
            if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None
            for text in self._alternatives(node.value, function, bound, deep)
        ]


def _parameters(function: Function) -> list[str]:
    arguments = function.args
    return [each.arg for each in (*arguments.args, *arguments.kwonlyargs) if each.arg not in ("self", "cls")]


def _arguments(function: Function, call: ast.Call) -> dict[str, ast.expr]:
    """By parameter, what stands in a call."""
    named = {word.arg: word.value for word in call.keywords if word.arg}
    return dict(zip(_parameters(function), call.args, strict=False)) | named


def _with_scopes(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every node, with the innermost function it is in."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while waiting:
        scope, node = waiting.pop()
        yield scope, node
        inner = node if isinstance(node, FUNCTIONS) else scope
        waiting += [(inner, child) for child in ast.iter_child_nodes(node)]


def _name(function: ast.AST) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _makes(call: ast.Call) -> bool:
    """Whether it makes an error, or what becomes of one, of a text."""
    name = _name(call.func)
    if name == "Refusal":  # the others are between a worker and its lane
        return bool(call.args) and _name(call.args[0]) == "BROKEN_CHAIN"
    return name in MAKES_A_MESSAGE or (name.endswith("Error") and name not in NOBODYS)


def _is_written(call: ast.Call) -> bool:
    """Whether it goes to standard error as it is."""
    function, aloud = call.func, any(word.arg == "err" for word in call.keywords)
    stderr = isinstance(function, ast.Attribute) and function.attr == "write" and _name(function.value) == "stderr"
    return stderr or (_name(function) == "echo" and aloud)


def _message(call: ast.Call) -> ast.expr | None:
    name = _name(call.func)
    at = MESSAGE.get(name, 1 if name.endswith("Error") and len(call.args) > 1 and name[:2] in ("OS", "Is") else 0)
    return call.args[at] if len(call.args) > at else None


def _is_logging(call: ast.Call) -> bool:
    function = call.func
    return isinstance(function, ast.Attribute) and function.attr in LOGGED and _name(function.value) == "logger"


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


def _shown(text: str) -> str:
    """As a line of the page: without what comes behind its first line, and one `…` for all that varies at a place."""
    line = re.sub(r"%(?:\.\d+)?[sdrgf]", VARIES, text.strip().split("\n", 1)[0]).strip()
    return re.sub(rf"{VARIES}(?:{VARIES})+", VARIES, line)


def _says_something(text: str) -> bool:
    return len(re.sub(r"[^A-Za-z]", "", text)) >= 3
