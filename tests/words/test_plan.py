"""A pipeline checked: what is wrong is told by name, value and remedy before anything starts."""

from __future__ import annotations

import functools
import operator
import typing
from collections.abc import AsyncIterator, Iterator
from operator import itemgetter
from typing import Any, TypeVar

import pytest

from pipeframe_async.errors import ConfigError
from pipeframe_async.pipeline_engine import PipelineEngine, Retry
from pipeframe_async.plan import AsyncSteps, DefSteps, Plan, feed_of, plan_of
from pipeframe_async.steps import apply, expand, keep_if, vectorize
from pipeframe_async.wire import ChainSpec

T = TypeVar("T")


def parse(record: Any) -> Any:
    return record, True


def no_record() -> Any:
    return None, True


def two(record: Any, rate: float) -> Any:
    return record * rate, True


async def awaits(record: Any) -> Any:
    return record, True


async def yields_and_awaits(record: Any) -> AsyncIterator[Any]:
    yield record, True


def yields(record: Any) -> Iterator[Any]:
    yield record, True


class Calls:
    def __call__(self, record: Any) -> Any:
        return record, True


class CallsAsync:
    async def __call__(self, record: Any) -> Any:
        return record, True


async def alone(record: Any) -> Any:
    return record


async def yields_of_it(record: Any) -> AsyncIterator[Any]:
    yield record


YIELDS_OF_IT: Any = yields_of_it


class Orders(PipelineEngine[Any, Any]):
    """Right in every way; the others change one thing."""

    steps: Any = [parse]


def orders(**attributes: Any) -> type[PipelineEngine[Any, Any]]:
    """A subclass of the right pipeline with some attributes of its own."""
    return type("Orders", (Orders,), attributes)


def refusal(pipeline: object) -> str:
    with pytest.raises(ConfigError) as caught:
        plan_of(pipeline)
    return str(caught.value)


def refused(**attributes: Any) -> str:
    return refusal(orders(**attributes))


# What is no pipeline.


@pytest.mark.parametrize("value", [None, 5, "Orders", parse, int, [parse], object()])
def test_what_is_no_pipeline_is_refused(value: object) -> None:
    said = "is no pipeline: pass a subclass of PipelineEngine, an instance of one, or pipeline(...)"
    assert refusal(value) == f"{value!r} {said}"


def test_the_engine_itself_is_no_pipeline() -> None:
    assert refusal(PipelineEngine) == "PipelineEngine itself has no steps: subclass it and pass the subclass"


class Parametrised(Orders):
    def __init__(self, path: str) -> None:
        self.path = path


def test_a_class_that_wants_arguments_is_to_be_passed_as_an_instance() -> None:
    message = refusal(Parametrised)
    assert message.startswith("Parametrised() cannot be made without arguments (")
    assert "'path'" in message
    assert message.endswith("pass an instance, e.g. run(Parametrised(...))")
    assert plan_of(Parametrised("orders.jsonl")).name == "Parametrised"


# Steps.


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([], "Orders.steps is empty: list at least one step, e.g. steps = [parse]"),
        ((), "Orders.steps is empty: list at least one step"),
        (None, "Orders.steps=None: must be a list of steps"),
        (7, "Orders.steps=7: must be a list of steps"),
        ("parse", "Orders.steps='parse': must be a list of steps"),
        (b"parse", "Orders.steps=b'parse': must be a list of steps"),
        ([parse, 7], "Orders.steps[1]=7: a step must be callable, a function of one record"),
        ([None], "Orders.steps[0]=None: a step must be callable"),
        ([parse, "parse"], "Orders.steps[1]='parse': a step must be callable"),
        ([parse, Calls], "Orders.steps[1] is the class Calls: apply(Calls) makes a step of it"),
        (
            [apply(yields_and_awaits)],
            "Orders.steps[0] (yields_and_awaits) is apply() of an async generator",
        ),
        ([keep_if(yields_and_awaits)], "Orders.steps[0] (yields_and_awaits) is keep_if() of an async generator"),
        ([parse, no_record], "Orders.steps[1] (no_record) cannot be called with one record: too many positional"),
        ([parse, two], "Orders.steps[1] (two) cannot be called with one record: missing a required argument: 'rate'"),
        ([parse, lambda: 1], "Orders.steps[1] (<lambda>) cannot be called with one record"),
        (
            [vectorize(alone)],  # type: ignore[arg-type]
            "Orders.steps[0] (alone) is vectorize() of an async function",
        ),
        (
            [vectorize(yields_and_awaits)],  # type: ignore[arg-type]
            "Orders.steps[0] (yields_and_awaits) is vectorize() of an async function",
        ),
        (
            [parse, vectorize(yields)],  # type: ignore[arg-type]
            "Orders.steps[1] (yields) is vectorize() of a generator function",
        ),
        ([functools.partial(vectorize(list))], "Orders.steps[0] is a partial of vectorize(): write vectorize(partial("),
    ],
)
def test_wrong_steps_are_refused_with_their_place_and_the_remedy(steps: Any, says: str) -> None:
    assert refused(steps=steps).startswith(says)


def test_a_function_in_place_of_the_list_is_told_how_to_be_one() -> None:
    assert refused(steps=staticmethod(parse)).endswith("must be a list of steps; write `steps = [parse]`")


def test_one_function_instead_of_a_list_is_refused() -> None:
    assert "must be a list of steps" in refused(steps=staticmethod(parse))
    assert "must be a list of steps" in refused(steps=Calls())


def test_a_step_that_takes_too_much_is_told_how_to_bind_the_rest() -> None:
    assert "functools.partial binds the rest" in refused(steps=[two])
    assert chain_of(plan_of(orders(steps=[functools.partial(two, rate=2.0)]))).names == ("two",)


@pytest.mark.parametrize(
    "step",
    [
        awaits,
        functools.partial(awaits),
        functools.partial(functools.partial(awaits)),
        CallsAsync(),
        functools.partial(CallsAsync()),
        apply(alone),
        keep_if(alone),
        apply(functools.partial(alone)),
        functools.partial(apply(alone)),
    ],
)
async def test_an_async_step_stays_on_the_loop_however_it_is_wrapped(step: Any) -> None:
    plan = plan_of(orders(steps=[parse, step, step, parse]))
    before, on_the_loop, after = plan.segments
    assert (before, after) == (DefSteps(("parse",), 0), DefSteps(("parse",), 1))
    assert chain_of(plan).segments == (1, 1)
    assert isinstance(on_the_loop, AsyncSteps)
    assert await on_the_loop.steps[1]("record") == ("record", True)


@pytest.mark.parametrize("step", [yields_and_awaits, functools.partial(yields_and_awaits), expand(YIELDS_OF_IT)])
async def test_an_async_generator_fans_out_on_the_loop(step: Any) -> None:
    plan = plan_of(orders(steps=[step]))
    (only,) = plan.segments
    assert isinstance(only, AsyncSteps)
    assert plan.fans_out
    assert plan.chain is None
    assert [child async for child in only.steps[0]("record")] == [("record", True)]


@pytest.mark.parametrize(
    "step",
    [
        parse,
        yields,
        lambda record: (record, True),
        Calls(),
        Calls().__call__,
        functools.partial(two, rate=2),
        apply(int),
        apply(str.split),
        keep_if(operator.itemgetter("paid")),
        expand(lambda record: [record]),
        expand(range),
        operator.itemgetter(0),
        {"paid": True}.get,
    ],
)
def test_a_step_of_any_make_is_taken_as_it_is(step: Any) -> None:
    assert chain_of(plan_of(orders(steps=[step]))).steps == (step,)


def test_a_run_of_steps_knows_how_many_records_one_of_them_has_at_once() -> None:
    plan = plan_of(orders(steps=[parse, vectorize(list, 8), vectorize(list, 32), awaits, parse]))
    first, _, last = plan.segments
    assert first == DefSteps(("parse", "list", "list"), 0, at_once=32)
    assert last == DefSteps(("parse",), 1)


class RunsItsOwn:
    """A step that has a function of its own to run, by whatever name."""

    def __init__(self, **functions: Any) -> None:
        vars(self).update(functions)

    def __call__(self, record: Any) -> Any:
        return record, True


@pytest.mark.parametrize("name", ["fn", "func"])
def test_a_callable_object_is_judged_by_its_own_call_and_not_by_what_it_holds(name: str) -> None:
    step = RunsItsOwn(**{name: awaits})
    assert chain_of(plan_of(orders(steps=[step]))).steps == (step,)


@pytest.mark.timeout(3)
def test_a_callable_object_that_has_any_attribute_is_looked_at_only_once() -> None:
    class HasEverything(RunsItsOwn):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return self

    assert len(chain_of(plan_of(orders(steps=[HasEverything()]))).steps) == 1


class Methods(PipelineEngine[Any, Any]):
    """Steps named in the class body, before there is an instance to bind them to."""

    def method(self, record: Any) -> Any:
        return (self, record), True

    @staticmethod
    def static(record: Any) -> Any:
        return record, True

    @classmethod
    def of_class(cls, record: Any) -> Any:
        return (cls, record), True

    steps: Any = [method, static, of_class, parse]


def test_methods_named_in_the_class_body_are_bound_to_the_instance() -> None:
    engine = Methods()
    chain = chain_of(plan_of(engine))
    assert chain.names == ("method", "static", "of_class", "parse")
    assert [step(1)[0] for step in chain.steps] == [(engine, 1), 1, (Methods, 1), 1]


def test_methods_of_a_base_class_are_bound_too() -> None:
    class Inherits(Methods):
        pass

    engine = Inherits()
    assert chain_of(plan_of(engine)).steps[0](1) == ((engine, 1), True)


def test_steps_that_an_instance_lists_are_those_that_run() -> None:
    class Chosen(PipelineEngine[Any, Any]):
        def __init__(self) -> None:
            self.steps = [self.method, parse]

        def method(self, record: Any) -> Any:
            return record, True

    engine = Chosen()
    assert chain_of(plan_of(engine)).steps == (engine.method, parse)


@pytest.mark.parametrize(
    ("attributes", "travels"),
    [
        ({}, False),
        ({"setup": lambda self: None}, True),
        ({"teardown": lambda self: None}, True),
        ({"sink": lambda self, records: None}, False),
    ],
)
def test_the_pipeline_travels_only_where_a_worker_needs_it(attributes: dict[str, Any], travels: bool) -> None:
    engine = orders(**attributes)()
    assert chain_of(plan_of(engine)).pipeline is (engine if travels else None)


def test_a_pipeline_with_a_method_among_its_steps_travels() -> None:
    engine = Methods()
    assert chain_of(plan_of(engine)).pipeline is engine


# Hooks.


async def async_hook(self: Any, values: Any = None) -> None: ...


def yielding_hook(self: Any, values: Any) -> Iterator[Any]:
    yield values


async def async_yielding_hook(self: Any, values: Any) -> AsyncIterator[Any]:
    yield values


@pytest.mark.parametrize("hook", ["sink", "dead_letter"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (5, "=5: must be a method that takes one list"),
        ("path", "='path': must be a method that takes one list"),
        (yielding_hook, " is a generator function: it takes one list and returns, it does not yield"),
        (async_yielding_hook, " is a generator function: it takes one list and returns"),
        (lambda self: None, " cannot be called with one list: too many positional arguments"),
        (lambda self, records, more: None, " cannot be called with one list: missing a required argument: 'more'"),
    ],
)
def test_a_wrong_hook_is_refused_with_its_name_and_what_it_must_be(hook: str, value: Any, says: str) -> None:
    assert refused(**{hook: value}).startswith(f"Orders.{hook}{says}")


@pytest.mark.parametrize("hook", ["sink", "dead_letter"])
@pytest.mark.parametrize("value", [async_hook, lambda self, values: None, staticmethod(print), None])
def test_a_hook_may_be_sync_or_async_or_absent(hook: str, value: Any) -> None:
    plan = plan_of(orders(**{hook: value}))
    assert (getattr(plan, hook) is None) is (value is None)


@pytest.mark.parametrize("hook", ["setup", "teardown"])
def test_an_async_setup_or_teardown_is_refused_for_nobody_would_await_it(hook: str) -> None:
    assert f"Orders.{hook}" in refused(**{hook: async_hook})


@pytest.mark.parametrize("hook", ["setup", "teardown"])
@pytest.mark.parametrize("value", [5, lambda self, record: None])
def test_a_setup_or_teardown_that_cannot_be_called_is_refused(hook: str, value: Any) -> None:
    assert f"Orders.{hook}" in refused(**{hook: value})


# Knobs.


@pytest.mark.parametrize(
    ("knob", "value", "says"),
    [
        ("source", "file", "Orders.source='file': must be 'batch' or 'stream'"),
        ("source", None, "Orders.source=None: must be 'batch' or 'stream'"),
        ("timeout", 0, "Orders.timeout=0: must be a number of seconds above 0; None for no idle timeout"),
        ("timeout", -1.5, "Orders.timeout=-1.5: must be a number of seconds above 0; None"),
        ("timeout", True, "Orders.timeout=True: must be a number of seconds above 0; None"),
        ("timeout", float("inf"), "Orders.timeout=inf: must be a number of seconds above 0; None"),
        ("timeout", "2", "Orders.timeout='2': must be a number of seconds above 0; None"),
        ("time_limit", 0, "Orders.time_limit=0: must be a number of seconds above 0; None for no limit"),
        ("time_limit", -0.1, "Orders.time_limit=-0.1: must be a number of seconds above 0; None"),
        ("time_limit", True, "Orders.time_limit=True: must be a number of seconds above 0; None"),
        ("time_limit", float("inf"), "Orders.time_limit=inf: must be a number of seconds above 0; None"),
        ("time_limit", "2", "Orders.time_limit='2': must be a number of seconds above 0; None"),
        ("order", "random", "Orders.order='random': must be 'input' or 'completion'"),
        ("order", None, "Orders.order=None: must be 'input' or 'completion'"),
        ("batch_size", 0, "Orders.batch_size=0: must be an int of at least 1; None lets it tune itself"),
        ("batch_size", True, "Orders.batch_size=True: must be an int of at least 1; None"),
        ("batch_size", 1.5, "Orders.batch_size=1.5: must be an int of at least 1; None"),
        (
            "max_failures",
            -1,
            "max_failures=-1: must be an int of at least 0 (records), a float in (0, 1] (ratio), or None",
        ),
        ("max_failures", 1.5, "max_failures=1.5: must be an int of at least 0 (records), a float in (0, 1] (ratio)"),
        ("max_failures", True, "max_failures=True: must be an int of at least 0"),
    ],
)
def test_a_wrong_knob_is_refused_with_its_name_the_value_and_the_remedy(knob: str, value: Any, says: str) -> None:
    assert says in refused(**{knob: value})


@pytest.mark.parametrize("knob", ["source", "timeout", "time_limit", "order", "batch_size", "max_failures"])
def test_a_wrong_knob_is_told_with_the_pipeline_it_is_of(knob: str) -> None:
    assert refused(**{knob: object()}).startswith(f"Orders.{knob}=<object object at ")


@pytest.mark.parametrize(
    ("knob", "value"),
    [("source", "stream"), ("timeout", 0.5), ("timeout", None), ("batch_size", 7), ("batch_size", None)],
)
def test_a_right_knob_is_taken_as_it_is(knob: str, value: Any) -> None:
    assert getattr(plan_of(orders(**{knob: value})), knob) == value


@pytest.mark.parametrize("order", ["input", "completion"])
def test_an_order_by_name_is_taken_as_it_is(order: str) -> None:
    assert plan_of(orders(order=order)).order == order


@pytest.mark.parametrize(("limit", "borne"), [(0, 0), (3, 3), (0.5, 0.5), (None, None)])
@pytest.mark.parametrize("dead_letter", [None, async_hook])
def test_a_given_limit_of_failures_holds_with_dead_letter_or_without(limit: Any, borne: Any, dead_letter: Any) -> None:
    assert plan_of(orders(max_failures=limit, dead_letter=dead_letter)).max_failures == borne


def test_without_a_limit_no_failure_is_borne_unless_dead_letter_takes_them() -> None:
    assert plan_of(Orders).max_failures == 0
    assert plan_of(orders(dead_letter=async_hook)).max_failures is None


@pytest.mark.parametrize("retry", [3, "twice", Retry, True])
def test_what_is_no_retry_is_refused(retry: Any) -> None:
    assert refused(retry=retry) == f"Orders.retry={retry!r}: must be a Retry, e.g. Retry(3), or None for one attempt"


def test_a_retry_goes_along_with_the_chain() -> None:
    plan = plan_of(orders(retry=Retry(3, on=OSError)))  # type: ignore[arg-type]  # one class will do
    assert plan.retry == Retry(3, on=(OSError,))
    assert chain_of(plan).retry_on == (OSError,)


@pytest.mark.parametrize("on", [(), (3,), ("OSError",), (OSError, int), OSError(), None])
def test_a_retry_after_what_is_no_exception_class_is_refused(on: Any) -> None:
    with pytest.raises(ConfigError, match=r"Retry\(on=.*: must be exception classes"):
        Retry(3, on=on)


@pytest.mark.parametrize(("limit", "seconds"), [(None, None), (5, 5.0), (0.25, 0.25)])
def test_a_time_limit_goes_along_with_the_chain(limit: Any, seconds: float | None) -> None:
    assert chain_of(plan_of(orders(time_limit=limit))).time_limit == seconds


def by_customer(record: Any) -> Any:
    return record["customer"]


@pytest.mark.parametrize("order", [by_customer, staticmethod(by_customer), itemgetter("customer"), len])
def test_a_function_in_the_class_body_gives_the_key_and_is_not_bound(order: Any) -> None:
    key_of: Any = plan_of(orders(order=order)).order
    assert key_of == getattr(order, "__func__", order)


def test_a_lambda_in_the_class_body_and_one_of_the_instance_do_as_well() -> None:
    class Keyed(Orders):
        order = lambda record: record["customer"]  # noqa: E731

    key_of: Any = plan_of(Keyed).order
    assert key_of({"customer": 7}) == 7
    keyed = Orders()
    keyed.order = lambda record: record["product"]
    key_of = plan_of(keyed).order
    assert key_of({"product": 8}) == 8


async def asks(record: Any) -> Any:
    return record


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (asks, "must be a def function that returns the record's key"),
        (lambda record, other: record, "cannot be called with one record"),
        (7, "must be 'input' or 'completion' or a function of the record"),
        ("feed", "must be 'input' or 'completion' or a function of the record"),
    ],
)
def test_an_order_that_is_none_is_refused(order: Any, says: str) -> None:
    assert says in refused(order=order)


# The plan.


def test_a_pipeline_that_says_nothing_has_the_defaults() -> None:
    engine = Orders()
    plan = plan_of(engine)
    assert plan == Plan(
        name="Orders",
        pipeline=engine,
        segments=(DefSteps(("parse",), 0),),
        chain=ChainSpec(("parse",), (parse,), None, pipeline_name="Orders"),
        source="batch",
        timeout=2.0,
        order="input",
        retry=None,
        async_concurrency=64,
        fans_out=False,
        max_failures=0,
        sink=None,
        dead_letter=None,
        on_progress=None,
        batch_size=None,
    )


def chain_of(plan: Plan) -> ChainSpec:
    assert plan.chain is not None
    return plan.chain


def test_the_feed_is_handed_on_bound_and_uncalled() -> None:
    class Fed(Orders):
        async def feed(self) -> AsyncIterator[int]:
            raise AssertionError("called")
            yield 1

    engine = Fed()
    assert feed_of(engine).value == engine.feed


def test_attributes_of_an_instance_outrank_those_of_its_class() -> None:
    engine = Orders()
    engine.batch_size = 5
    engine.source = "stream"
    assert (plan_of(engine).batch_size, plan_of(engine).source) == (5, "stream")


def test_a_checked_pipeline_can_be_checked_again() -> None:
    engine = Methods()
    assert plan_of(engine) == plan_of(engine)


def test_steps_that_can_be_iterated_only_once_are_refused_for_a_second_run_would_have_none() -> None:
    assert "must be a list of steps" in refused(steps=map(apply, [str, int]))


def test_what_looks_like_a_knob_and_is_none_is_refused_with_what_was_meant() -> None:
    assert refused(time_out=3.0) == (
        "Orders has `time_out`, which means nothing here: did you mean `timeout`? If it is your own, let its name "
        "begin with an underscore"
    )


def test_a_pipeline_may_leave_out_its_types_or_the_second() -> None:
    assert typing.get_args(PipelineEngine[int]) == (int, Any)
    assert typing.get_args(PipelineEngine[int, str]) == (int, str)


def test_a_generic_pipeline_of_ones_own_has_its_own_parameters() -> None:
    class Same(PipelineEngine[T, T]):
        steps = (parse,)

    assert typing.get_args(Same[int]) == (int,)
