"""Who imports whom, read from the sources without running them.

Every import counts: relative ones, those inside functions, and `import_module` of a literal name. Those under
`if TYPE_CHECKING:` count for the layers, since knowing a name is knowing it, but not for the cycles, since
they never run.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Import:
    """One module names another. `place` is `file:line`; `typing_only` when it never runs."""

    importer: str
    target: str
    place: str
    typing_only: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """What one part of the package may import: rooms of ours, and roots of other people's packages.

    A room is a module or a package directly below the root, or one inside such a room that has a row of its own; the
    root's own `__init__` is one too. Who may import a room may import the rooms inside it.
    """

    ours: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    outside: frozenset[str] = frozenset()


def imports_in(package: Path) -> list[Import]:
    """All imports of all modules of a package, in the order of files and lines."""
    files = {_module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    return [found for name, path in files.items() for found in _imports_of(name, path, package, files)]


def room_of(module: str, package: str, rooms: Collection[str] = ()) -> str:
    """The room a module is in: of those with a row the innermost, else the first part of its name after the root."""
    if module == package:
        return "__init__"
    parts = module.removeprefix(f"{package}.").split(".")
    inward = (".".join(parts[:depth]) for depth in range(len(parts), 0, -1))
    return next((name for name in inward if name in rooms), parts[0])


def broken_laws(imports: list[Import], rooms: Mapping[str, Room], package: str, standard: frozenset[str]) -> list[str]:
    """What the table of rooms forbids and the sources do, as `file:line: what and why`."""
    return [f"{found.place}: {why}" for found in imports if (why := _broken(found, rooms, package, standard))]


def import_cycle(imports: list[Import], package: str) -> str | None:
    """A chain of imports that leads back to its start, one `file:line` a link; None when there is none."""
    links = {
        (found.importer, found.target): found.place
        for found in imports
        if not found.typing_only and found.importer != found.target and _is_ours(found.target, package)
    }
    graph: dict[str, set[str]] = {}
    for importer, target in links:
        graph.setdefault(importer, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        path: list[str] = error.args[1][::-1]  # it lists what must come first, first
        return "\n".join(
            f"{links[importer, target]}: {importer} imports {target}" for importer, target in pairwise(path)
        )
    return None


def _broken(found: Import, rooms: Mapping[str, Room], package: str, standard: frozenset[str]) -> str | None:
    name = room_of(found.importer, package, rooms)
    if name not in rooms:
        return f"{name} is in no row of the table of rooms"
    room = rooms[name]
    if _is_ours(found.target, package):
        target = room_of(found.target, package, rooms)
        allowed = any(target == other or target.startswith(f"{other}.") for other in room.ours | {name})
        return None if allowed else f"{name} may not import {target} ({found.target})"
    root = found.target.partition(".")[0]
    if root in room.never:
        return f"{name} must not know {root}"
    if root not in standard | room.outside:
        return f"{name} may not import {root}, which is no part of Python"
    return None


def _is_ours(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports_of(name: str, path: Path, package: Path, files: Mapping[str, Path]) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    home = name if path.name == "__init__.py" else name.rpartition(".")[0]
    typing_only = _typing_only_nodes(tree)
    for node in ast.walk(tree):
        place = f"{path.relative_to(package.parent)}:{getattr(node, 'lineno', 0)}"
        for target in _targets(node, home, files):
            yield Import(name, target, place, node in typing_only)


def _targets(node: ast.AST, home: str, files: Mapping[str, Path]) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            source = _absolute(node, home)
            submodules = [f"{source}.{alias.name}" for alias in node.names]
            return sorted({name if name in files else source for name in submodules})
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(target)), *_],
        ):
            return [target]
    return []


def _absolute(node: ast.ImportFrom, home: str) -> str:
    if not node.level:
        return node.module or ""
    parents = home.split(".")
    parents = parents[: len(parents) - node.level + 1]
    return ".".join([*parents, node.module] if node.module else parents)


def _typing_only_nodes(tree: ast.Module) -> set[ast.AST]:
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _is_type_checking(node.test)]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False
