"""What is defined in a script works as if it were in a module, and is the program's own before and after a run.

Each test is a script of its own, run by Python as a user's is; its asserts are the test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SECONDS = 60

TOP = '''
import asyncio, dataclasses, enum, functools, pickle, sys, threading, typing
from pipeframe_async import ConfigError, PipeFrame, PipelineEngine, apply, run

class Taken(PipelineEngine):
    """Runs one function on records and keeps what comes of it."""
    max_failures = None
    def __init__(self, function, feed):
        self.steps, self.feed, self.taken, self.failures = [apply(function)], feed, [], []
    def sink(self, results):
        self.taken += results
    def dead_letter(self, failures):
        self.failures += failures

def results(function, *records, **options):
    pipeline = Taken(function, list(records))
    run(pipeline, cpu_count=1, **options)
    assert not pipeline.failures, pipeline.failures[0]
    return pipeline.taken

def itself(record):
    return record
'''


def write(place: Path, body: str) -> Path:
    script = place / "script.py"
    script.write_text(TOP + textwrap.dedent(body), "utf-8")
    return script


def output_of(place: Path, *arguments: str, given: str | None = None) -> str:
    ended = subprocess.run(
        [sys.executable, *arguments],
        input=given,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": str(place)},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def holds(place: Path, body: str) -> str:
    return output_of(place, str(write(place, body)))


# --- the program's own classes stay its own ------------------------------------------------------------------------


def test_reading_results_leaves_the_programs_classes_as_they_are(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        RATE, LOG = 1, []
        class Order:
            seen, names = 0, {}
            def __init__(self, amount):
                self.amount = amount
                Order.seen += 1
                Order.names[amount] = self
            def total(self):
                LOG.append(self.amount)
                return RATE * self.amount
        methods = dict(vars(Order))
        def fed():
            for amount in range(300):
                yield Order(amount)
        class Streaming(Taken):
            source, batch_size = "stream", 10
        orders = Streaming(itself, fed())
        run(orders, cpu_count=1)
        assert len(orders.taken) == Order.seen == len(Order.names) == 300
        assert {type(order) for order in orders.taken} == {Order}
        RATE = 10
        assert Order(5).total() == 50 and LOG == [5]
        assert [name for name, value in methods.items() if callable(value) and vars(Order)[name] is not value] == []
        """,
    )


def test_so_do_failed_records(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        class Order:
            seen = []
            def total(self): return len(self.seen)
        own = Order.total
        def fails(order):
            order.seen.append("in the worker")
            raise ValueError("no")
        orders = Taken(fails, [Order(), Order()])
        run(orders, cpu_count=1)
        assert [type(failure.record) for failure in orders.failures] == [Order, Order]
        assert Order.total is own and Order.seen == []
        """,
    )


def test_hooks_of_classes_run_once_and_leave_no_ghosts(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        class Plugin:
            found = []
            def __init_subclass__(cls, tag, **options):
                super().__init_subclass__(**options)
                Plugin.found.append(tag)
        class First(Plugin, tag="first"): pass
        class Second(First, tag="second"): pass
        class Meta(type):
            made = []
            def __new__(meta, name, bases, body):
                meta.made.append(body["must"])
                return super().__new__(meta, name, bases, body)
        class Formed(metaclass=Meta):
            must = "have it"
        def looks(record):
            return Plugin.found, Meta.made, type(record) in (Second, Formed)
        assert results(looks, Second(), Formed()) == [(["first", "second"], ["have it"], True)] * 2
        assert {type(record) for record in results(itself, Second(), Formed())} == {Second, Formed}
        assert Plugin.found == ["first", "second"] and Meta.made == ["have it"]
        assert Plugin.__subclasses__() == [First]
        """,
    )


def test_what_setup_puts_on_a_class_stays_from_batch_to_batch(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        class Document:
            vocabulary = None
            read = 0
        MODEL = None
        def score(document):
            Document.read += 1
            return len(document.vocabulary), MODEL, Document.read
        class Scoring(Taken):
            source, batch_size = "stream", 2
            def setup(self):
                global MODEL
                Document.vocabulary, MODEL = ["a", "b"], "loaded"
        scoring = Scoring(score, [Document() for _ in range(7)])
        run(scoring, cpu_count=1)
        assert scoring.taken == [(2, "loaded", n) for n in range(1, 8)]
        assert Document.vocabulary is None and MODEL is None and Document.read == 0
        """,
    )


# --- what has changed is seen --------------------------------------------------------------------------------------


def test_what_the_program_changes_is_seen_by_the_next_run_of_a_warm_frame(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        RATE, SETUPS = 1, 0
        class Price:
            rate = 1
            def __init__(self, n): self.n = n
            def worth(self): return self.n * self.rate
        def more(n): return n + RATE
        def worth(price): return price.worth()   # names nothing of the script
        def with_more(price): return more(price.worth()), SETUPS
        class Counting(Taken):
            def setup(self):
                global SETUPS
                SETUPS += 1
        async def main():
            global RATE, Price, more
            async with PipeFrame(1) as frame:
                async def go(function, *prices):
                    pipeline = Counting(function, list(prices))
                    await frame.run(pipeline)
                    assert not pipeline.failures, pipeline.failures[0]
                    return pipeline.taken
                assert await go(worth, Price(2)) == [2]
                assert await go(with_more, Price(2)) == await go(with_more, Price(2)) == [(3, 1)]
                RATE = 5
                assert await go(with_more, Price(2)) == [(7, 1)]
                RATE = 1
                assert await go(with_more, Price(2)) == [(3, 1)]
                Price.rate = 10
                assert await go(worth, Price(2)) == [20]
                Price.worth = lambda self: -self.n
                assert await go(worth, Price(2)) == [-2]
                def more(n): return "more"
                assert await go(with_more, Price(2)) == [("more", 1)]
                before = Price(3)
                class Price:
                    def __init__(self, n): self.n = n
                    def worth(self): return "new"
                Price.__qualname__ = "Price"
                assert await go(worth, before, Price(2)) == [-3, "new"]
                old, new = Counting(worth, [before]), Counting(worth, [Price(1)])
                await asyncio.gather(frame.run(old), frame.run(new))
                assert (old.taken, new.taken) == ([-3], ["new"])
        asyncio.run(main())
        """,
    )


def test_a_warm_worker_is_not_set_up_again_for_a_class_that_only_records_name(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        SETUPS = 0
        class First: rate = 1
        class Second: rate = 2
        def rate(record): return type(record).rate, SETUPS
        class Counting(Taken):
            def setup(self):
                global SETUPS
                SETUPS += 1
        async def main():
            async with PipeFrame(1) as frame:
                for records in ([First()], [First(), Second()], [Second()]):
                    pipeline = Counting(rate, records)
                    await frame.run(pipeline)
                    assert pipeline.taken == [(type(record).rate, 1) for record in records], pipeline.failures
                    First.rate += 10
        asyncio.run(main())
        """,
    )


# --- what a script may define --------------------------------------------------------------------------------------


def test_classes_of_every_make_go_there_and_come_back(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        import abc, collections
        T = typing.TypeVar("T")
        UserId = typing.NewType("UserId", int)
        @dataclasses.dataclass(slots=True)
        class Slotted:
            x: int = 3
            y: list = dataclasses.field(default_factory=list)
        @dataclasses.dataclass(slots=True)
        class SubSlotted(Slotted): z: int = 0
        @dataclasses.dataclass(frozen=True)
        class Frozen: x: int
        class Hidden:
            __slots__ = ("a", "__b", "__weakref__")
            def __init__(self): self.a, self.__b = 1, 2
            def __eq__(self, other): return (self.a, self.__b) == (other.a, other.__b)
        class Colour(enum.Enum): RED = 1; GREEN = 2; CRIMSON = 1
        class Planet(enum.Enum):
            EARTH = (5.9, 6.3)
            def __init__(self, mass, radius): self.mass, self.radius = mass, radius
        class Status(enum.IntEnum):
            def __new__(cls, value, phrase):
                made = int.__new__(cls, value)
                made._value_, made.phrase = value, phrase
                return made
            OK = 200, "fine"
        class Flags(enum.Flag): R = 1; W = 2
        class Named(typing.NamedTuple):
            a: int
            b: str = "x"
        Odd = collections.namedtuple("Different", "x y")
        @dataclasses.dataclass
        class Box(typing.Generic[T]): value: T
        class Held:
            lock, again, ready = threading.Lock(), threading.RLock(), threading.Event()
            def __eq__(self, other): return type(other) is type(self)
            def go(self):
                with self.lock, self.again: return not self.ready.is_set()
        @dataclasses.dataclass
        class Item:
            price: int
            @functools.cached_property
            def total(self): return self.price * 100
            @functools.lru_cache
            def by(self, n): return self.price * n
            __hash__ = object.__hash__
        class Outer:
            @dataclasses.dataclass
            class Inner: x: int
        def local():
            @dataclasses.dataclass
            class Local: x: int
            return Local
        one, other = local(), local()
        def area(a, b=2): return a * b
        cached = functools.lru_cache(area)
        class Rebuilt:
            def __init__(self, n): self.n = n
            def __reduce__(self): return rebuild, (self.n,)
            def __eq__(self, other): return self.n == other.n
        def rebuild(n): return Rebuilt(n)

        for value in (
            Slotted(1), SubSlotted(1), Frozen(1), Hidden(), Colour.CRIMSON, Planet.EARTH, Status.OK, Flags.R | Flags.W,
            Named(1), Odd(1, 2), Box(1), Held(), Item(3), Outer.Inner(1), one(1), other(1), area, Slotted, UserId, T,
            Box[int], functools.partial, Rebuilt(3),
        ):
            (back,) = results(itself, value)
            assert back == value and type(back) is type(value), value
        assert results(lambda s: (hasattr(s, "__dict__"), s.x, dataclasses.replace(s, x=9)), Slotted(1)) == [
            (False, 1, Slotted(9))
        ]
        assert results(lambda p: (p.mass, Planet(p.value) is p), Planet.EARTH) == [(5.9, True)]
        assert results(lambda s: (s.phrase, s + 1), Status.OK) == [("fine", 201)]
        assert results(lambda c: (Colour["CRIMSON"] is c, len(Colour)), Colour.RED) == [(True, 2)]
        assert results(Held.go, Held()) == [True]
        assert results(lambda i: (i.total, i.by(3)), Item(3)) == [(300, 9)]
        assert results(lambda job: job(3), functools.partial(area, 4), area) == [12, 6]
        """,
    )


def test_globals_of_every_make_are_there(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        import contextvars, weakref
        LOCK, LOCAL, READY = threading.Lock(), threading.local(), threading.Condition()
        USER, NOBODY = contextvars.ContextVar("user", default="nobody"), contextvars.ContextVar("other")
        KNOWN = weakref.WeakValueDictionary()
        @functools.lru_cache(maxsize=None)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        @functools.singledispatch
        def kind(value): return "any"
        @kind.register
        def _(value: int): return "int"
        class Node:
            @functools.singledispatchmethod
            def kind(self, value): return "any"
            @kind.register
            def _(self, value: str): return "str"
        @kind.register
        def _(value: Node): return "node"
        Pair = tuple[int, Node]
        COUNT = 0
        def counted(n):
            global COUNT
            COUNT += 1
            return COUNT
        def all_of(n):
            with LOCK, READY:
                LOCAL.n = n
                return USER.get(), NOBODY.get("none"), fib(n), kind(n), kind(Node()), Node().kind(""), Pair.__args__[0]
        assert results(all_of, 20) == [("nobody", "none", 6765, "int", "node", "str", int)]
        assert results(counted, 0, 0, 0) == [1, 2, 3] and COUNT == 0
        assert fib.cache_info().currsize == 0
        """,
    )


def test_steps_find_the_main_module_they_expect(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        import inspect, multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        @dataclasses.dataclass
        class Node:
            value: int
            other: "typing.Optional[Leaf]" = None
        class Leaf: pass
        def area(a, b): return a * b
        def annotated(node: "Node", leaf: "Leaf"): ...
        def stored(n):
            return pickle.loads(pickle.dumps(Node(n))) == Node(n) and pickle.loads(pickle.dumps(area)) is area
        def pooled(n, method):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
                return pool.submit(area, n, 2).result(40)
        def hinted(n):
            return typing.get_type_hints(Node)["other"].__args__[0] is Leaf, sorted(typing.get_type_hints(annotated))
        def placed(n):
            return __name__, __file__, sys.modules["__main__"].area is area, inspect.getsource(area)
        if __name__ == "__main__":
            assert results(stored, 1) == [True]
            for method in ("fork", "spawn"):
                assert results(functools.partial(pooled, method=method), 3) == [6], method
            assert results(hinted, 1) == [(True, ["leaf", "node"])]
            assert results(placed, 1) == [("__main__", __file__, True, "def area(a, b): return a * b\\n")]
        """,
    )


def test_what_a_step_looks_up_by_a_name_it_computes_is_there(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        import socket
        class Stored:
            def __init__(self, n): self.n = n
        class Line:
            line = socket.socket()
        def handle_a(n): return "a", n
        def handle_b(n): return "b", n
        def handled(n): return globals()["handle_" + "ab"[n]](n)
        def read(data): return pickle.loads(data).n
        assert results(handled, 0, 1) == [("a", 0), ("b", 1)]
        assert results(read, pickle.dumps(Stored(3))) == [3]
        Line.line.close()
        """,
    )


def test_a_child_of_a_step_does_not_run_a_script_that_has_no_guard(tmp_path: Path) -> None:
    written = holds(
        tmp_path,
        """
        import math, multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        print("run")
        def root(n):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                return pool.submit(math.sqrt, n).result(40)
        assert results(root, 4) == [2.0]
        """,
    )
    assert written == "run\n"


@pytest.mark.parametrize("library", ["msgspec", "pydantic", "attrs"])
def test_classes_of_libraries_that_make_them_anew(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    bodies = {
        "msgspec": """
            import msgspec
            class Item(msgspec.Struct):
                name: str
                count: int = 1
                tags: list = msgspec.field(default_factory=list)
                def up(self): return self.name.upper()
            class Sub(Item, frozen=True, tag="sub", rename="camel"):
                more_of: "Item | None" = None
            class Only(msgspec.Struct, kw_only=True):
                a: int = 0
                b: str
                def __post_init__(self): self.b += "!"
            assert results(itself, Item("a"), Sub("b", more_of=Item("c"))) == [Item("a"), Sub("b", more_of=Item("c"))]
            assert results(lambda n: (Item("a").up(), Item("a").tags, Only(b="x").b), 1) == [("A", [], "x!")]
            assert results(lambda s: msgspec.json.encode(s), Sub("b")) == [msgspec.json.encode(Sub("b"))]
            """,
        "pydantic": """
            import pydantic
            class Item(pydantic.BaseModel):
                a: int
                other: "typing.Optional[Item]" = None
                @pydantic.field_validator("a")
                @classmethod
                def positive(cls, value):
                    if value < 0: raise ValueError("negative")
                    return value
            class Sub(Item): b: int = 2
            def refused(n):
                try: Item(a=-n)
                except pydantic.ValidationError: return Sub.model_validate_json('{"a": 4}').b
            assert results(itself, Item(a=1, other=Item(a=2)), Sub(a=1)) == [Item(a=1, other=Item(a=2)), Sub(a=1)]
            assert results(refused, 1) == [2]
            """,
        "attrs": """
            import attrs
            @attrs.define
            class Item:
                a: int = attrs.field(validator=attrs.validators.instance_of(int))
                b: list = attrs.field(factory=list)
            def refused(n):
                try: Item("x")
                except TypeError: return attrs.evolve(Item(1), a=2)
            assert results(itself, Item(1)) == [Item(1)] and results(refused, 1) == [Item(2)]
            """,
    }
    holds(tmp_path, bodies[library])


def test_modules_that_were_loaded_by_path_work(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "job.py").write_text(
        textwrap.dedent("""
            import dataclasses
            from pipeframe_async import PipelineEngine, run
            RATE = 2
            @dataclasses.dataclass(slots=True)
            class Item:
                n: int
                def worth(self): return self.n * RATE
            def double(n): return Item(n * 2), True
            class Job(PipelineEngine):
                steps, feed = [double], [1, 2]
                def __init__(self): self.taken = []
                def sink(self, results): self.taken += results
            """),
        "utf-8",
    )
    holds(
        tmp_path,
        """
        import importlib.util, types
        for name in ("unusual_prefix_job", "another_name"):
            spec = importlib.util.spec_from_file_location(name, "plugins/job.py")
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            job = module.Job()
            run(job, cpu_count=1)
            assert job.taken == [module.Item(2), module.Item(4)]
            assert results(lambda item: item.worth(), module.Item(3)) == [6]
            assert results(lambda n: module.double(n)[0].worth(), 3) == [12]
        made = sys.modules["made_of_text"] = types.ModuleType("made_of_text")
        exec(open("plugins/job.py").read(), vars(made))
        assert results(lambda item: item.worth(), made.Item(3), module.Item(4)) == [6, 8]
        """,
    )


# --- what cannot travel --------------------------------------------------------------------------------------------


def test_what_cannot_travel_is_named_with_a_remedy_that_fits(tmp_path: Path) -> None:
    holds(
        tmp_path,
        """
        import socket
        NUMBERS = (n for n in range(3))
        class Bad:
            line = socket.socket()
        def helper(): return next(NUMBERS)
        def uses(record): return helper()
        def refused(pipeline):
            try: run(pipeline, cpu_count=1)
            except ConfigError as error: return str(error)
        text = refused(Taken(uses, [1]))
        assert "the global 'NUMBERS' of __main__" in text and "setup(self)" in text and "a module" in text, text
        text = refused(Taken(lambda record: Bad.line, [1]))
        assert "the attribute 'line' of Bad" in text, text
        records = Taken(itself, [1, Bad(), 2, Bad()])
        run(records, cpu_count=1)
        assert records.taken == [1, 2] and [failure.kind for failure in records.failures] == ["unpicklable"] * 2
        text = records.failures[0].message
        assert "the attribute 'line' of Bad" in text and "beside the script" in text, text
        Bad.line.close()
        """,
    )


# --- tracebacks, executors, ways to be a main module ---------------------------------------------------------------

USUAL = """
@dataclasses.dataclass(slots=True)
class Rec:
    n: int
RATE = 3
def triple(rec):
    if rec.n == 2:
        raise ValueError("no")  # the line
    return Rec(rec.n * RATE)
pipeline = Taken(triple, [Rec(1), Rec(2)])
run(pipeline, cpu_count=1)
assert pipeline.taken == [Rec(3)], (pipeline.taken, pipeline.failures)
assert pipeline.failures[0].record == Rec(2)
print(pipeline.failures[0].traceback)
"""
SHOWN = re.compile(r'script\.py", line \d+, in triple\n    raise ValueError\("no"\)  # the line')


def test_a_traceback_has_the_scripts_file_and_line(tmp_path: Path) -> None:
    assert SHOWN.search(holds(tmp_path, USUAL))


def test_so_has_one_of_a_module_that_is_run(tmp_path: Path) -> None:
    write(tmp_path, USUAL)
    assert SHOWN.search(output_of(tmp_path, "-m", "script"))


def test_relative_imports_in_steps_of_a_package_that_is_run(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "rates.py").write_text("RATE = 4\n", "utf-8")
    body = """
        def rated(n):
            from .rates import RATE
            return n * RATE
        assert results(rated, 2) == [8]
        """
    (tmp_path / "package" / "__main__.py").write_text(TOP + textwrap.dedent(body), "utf-8")
    output_of(tmp_path, "-m", "package")


def test_dash_c_and_standard_input(tmp_path: Path) -> None:
    for output in (output_of(tmp_path, "-c", TOP + USUAL), output_of(tmp_path, "-", given=TOP + USUAL)):
        assert "in triple" in output


def test_cells_see_each_other_as_they_are_now_and_have_lines(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    cells = [
        TOP,
        USUAL,
        "def triple(rec):\n    return Rec(rec.n * 100)",
        "assert results(lambda rec: triple(rec), Rec(1)) == [Rec(100)]",
        "before = Rec(7)",
        "@dataclasses.dataclass(slots=True)\nclass Rec:\n    n: int\n    def worth(self): return -self.n",
        "assert results(lambda rec: rec.worth(), Rec(1)) == [-1]",
        "assert results(lambda rec: rec.n, before, Rec(1)) == [7, 1]",
    ]
    program = f"""
        from IPython.core.interactiveshell import InteractiveShell
        import sys, types
        shell = InteractiveShell.instance(user_module=sys.modules["__main__"])
        for cell in {cells!r}:
            shell.run_cell(cell).raise_error()
        """
    (tmp_path / "cells.py").write_text(textwrap.dedent(program), "utf-8")
    assert 'raise ValueError("no")  # the line' in output_of(tmp_path, "cells.py")


FOREIGN = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    FACTOR = 2
    class Order:
        seen = []
        def __init__(self, n):
            self.n = n
            Order.seen.append(n)
        def twice(self): return self.n * FACTOR
    @dataclasses.dataclass(slots=True)
    class Slotted: n: int
    def area(a, b): return a * b
    def holds(executor):
        Order.seen.clear()
        own = Order.twice
        assert results(lambda order: (order, order.twice()), Order(1), executor=executor)[0][1] == 2
        assert results(itself, Slotted(1), Slotted(2), executor=executor) == [Slotted(1), Slotted(2)]
        assert results(lambda job: job(3), functools.partial(area, 2), executor=executor) == [6]
        assert Order.seen == [1] and Order.twice is own
    """


@pytest.mark.parametrize("executor", ["inline", "threads", "auto", "processes"])
def test_every_executor_of_ours_takes_them(tmp_path: Path, executor: str) -> None:
    holds(tmp_path, FOREIGN + f"\n    holds({executor!r})\n")


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_so_does_a_pool_of_somebody_elses(tmp_path: Path, method: str) -> None:
    holds(
        tmp_path,
        FOREIGN
        + f"""
    if __name__ == "__main__":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({method!r})) as pool:
            holds(pool)
            assert pool.submit(area, 2, 3).result() == 6  # its own main module is there again
    """,
    )


def test_so_do_threads_of_somebody_elses_and_loky(tmp_path: Path) -> None:
    pytest.importorskip("loky")
    holds(
        tmp_path,
        FOREIGN
        + """
    import loky
    with ThreadPoolExecutor(1) as pool:
        holds(pool)
    pool = loky.get_reusable_executor(1)
    holds(pool)
    pool.shutdown()
    """,
    )


def test_a_child_of_multiprocessing_is_a_program_as_well(tmp_path: Path) -> None:
    written = holds(
        tmp_path,
        """
        import multiprocessing
        @dataclasses.dataclass(slots=True)
        class Rec: n: int
        def child():
            assert results(lambda rec: Rec(rec.n + 1), Rec(1)) == [Rec(2)]
            print(Rec.__module__, flush=True)
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                process = multiprocessing.get_context(method).Process(target=child)
                process.start()
                process.join()
                assert process.exitcode == 0
        """,
    )
    assert written.split() == ["__main__", "__mp_main__"]
