"""Every text of the package that a user can meet as an error or in a log, found in its source.

What varies in a text is `…`, so that one written as an f-string, with `%` or as a sum reads as a user sees it. Which
calls show a text is said here; what an expression may say, by `may_say`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.words.may_say import VARIES, Expressions, Function, Others, name_of, parameters, returned, with_scopes

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
    module = _Module(source, others or {})
    return {shown for text in module.all() if _says_something(shown := _shown(text))}


class _Module:
    def __init__(self, source: str, others: Others) -> None:
        self._all = Expressions(ast.parse(source), others)
        called = {name_of(call.func) for _, call in self._all.calls}
        makers = {name: _made_by(node) for name, node in self._all.functions.items() if name in called}
        self._makers = {name: messages for name, messages in makers.items() if messages}

    def all(self) -> Iterator[str]:
        for scope, node in with_scopes(self._all.tree):
            match node:
                case ast.Call():
                    yield from self._called(node, scope)
                case ast.Raise(exc=ast.Call(func=func) as call) if name_of(func) == "error":
                    yield from self._of_call(call, scope)
                case ast.Dict(keys=keys) if any(name_of(key) in ENDS for key in keys if key is not None):
                    for value in node.values:
                        yield from self._all.may_say(value, scope) if isinstance(value, ast.JoinedStr) else ()

    def _called(self, call: ast.Call, scope: ast.AST) -> Iterator[str]:
        name, within = name_of(call.func), getattr(scope, "name", "")
        if name in self._makers:
            yield from self._of_maker(name, call, scope)
        elif within not in self._makers and (_makes(call) or _is_logging(call) or _is_written(call)):
            yield from self._of_call(call, scope)
        for keyword in call.keywords:
            if keyword.arg in TOLD:
                yield from self._all.may_say(keyword.value, scope)

    def _of_call(self, call: ast.Call, scope: ast.AST) -> Iterator[str]:
        if (message := _message(call)) is not None:
            if _is_logging(call) and isinstance(message, ast.Constant) and len(call.args) > 1:
                yield from self._logged(call, scope)
            else:
                yield from self._all.may_say(message, scope)

    def _logged(self, call: ast.Call, scope: ast.AST) -> Iterator[str]:
        """A `%` format; its last `%s` may stand for texts that are known."""
        message = str(call.args[0].value)  # type: ignore[attr-defined]
        last = self._all.may_say(call.args[-1], scope)
        for text in filter(None, last):
            head, percent, tail = message.rpartition("%s")
            yield head + text + tail if percent and not tail else message

    def _of_maker(self, name: str, call: ast.Call, scope: ast.AST) -> Iterator[str]:
        function = self._all.functions[name]
        bound = self._all.bound(function, call, scope, 0)
        for message in self._makers[name]:
            yield from self._all.may_say(message, function, bound)


def _made_by(function: Function) -> list[ast.expr]:
    """The messages of the errors a function returns, where each is made of what the function is called with."""
    names = {*parameters(function)}
    messages = []
    for node in ast.walk(function):
        if isinstance(node, ast.Return):
            call = node.value
            message = _message(call) if isinstance(call, ast.Call) and _makes(call) else None
            if message is None or not names & {part.id for part in ast.walk(message) if isinstance(part, ast.Name)}:
                return []
            messages.append(message)
    return messages


def _makes(call: ast.Call) -> bool:
    """Whether it makes an error, or what becomes of one, of a text."""
    name = name_of(call.func)
    if name == "Refusal":  # the others are between a worker and its lane
        return bool(call.args) and name_of(call.args[0]) == "BROKEN_CHAIN"
    return name in MAKES_A_MESSAGE or (name.endswith("Error") and name not in NOBODYS)


def _is_written(call: ast.Call) -> bool:
    """Whether it goes to standard error as it is."""
    function, aloud = call.func, any(word.arg == "err" for word in call.keywords)
    stderr = isinstance(function, ast.Attribute) and function.attr == "write" and name_of(function.value) == "stderr"
    return stderr or (name_of(function) == "echo" and aloud)


def _message(call: ast.Call) -> ast.expr | None:
    name = name_of(call.func)
    at = MESSAGE.get(name, 1 if name.endswith("Error") and len(call.args) > 1 and name[:2] in ("OS", "Is") else 0)
    return call.args[at] if len(call.args) > at else None


def _is_logging(call: ast.Call) -> bool:
    function = call.func
    return isinstance(function, ast.Attribute) and function.attr in LOGGED and name_of(function.value) == "logger"


def _shown(text: str) -> str:
    """As a line of the page: without what comes behind its first line, and one `…` for all that varies at a place."""
    line = re.sub(r"%(?:\.\d+)?[sdrgf]", VARIES, text.strip().split("\n", 1)[0]).strip()
    return re.sub(rf"{VARIES}(?:{VARIES})+", VARIES, line)


def _says_something(text: str) -> bool:
    return len(re.sub(r"[^A-Za-z]", "", text)) >= 3
