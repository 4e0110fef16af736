"""What one caller passes, or is, reaches no other: not its records, not its answers, not its context."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from pipeframe_async import DROP, Chunk, Delivery, StateError, StepError
from tests.engine.harness import FakeFrame, Through

pytestmark = pytest.mark.virtual_clock

USER: ContextVar[str] = ContextVar("USER", default="nobody")


def twice(record: Any) -> tuple[Any, bool]:
    return record * 2, True


@pytest.mark.parametrize("control", [Chunk([1, 2, 3]), Chunk([]), Delivery(1), DROP])
async def test_a_control_value_is_a_record_like_any_other_and_shifts_no_answer(control: Any) -> None:
    async with FakeFrame() as frame:
        pipeline = Through(steps=(twice,))
        odd, *others = await asyncio.gather(
            frame.call(pipeline, control), *(frame.call(pipeline, n) for n in range(20)), return_exceptions=True
        )
        assert isinstance(odd, StepError)
        assert others == [2 * n for n in range(20)]
        assert [await frame.call(pipeline, n) for n in range(3)] == [0, 2, 4]


async def seen(record: Any) -> tuple[Any, bool]:
    before = USER.get()
    USER.set("whoever was here last")
    await asyncio.sleep(0.01)
    return (record, before), True


async def test_async_steps_see_the_context_of_their_own_caller() -> None:
    async def call(frame: FakeFrame, user: str) -> Any:
        USER.set(user)
        return await frame.call(pipeline, user)

    pipeline = Through(steps=(seen, seen))
    async with FakeFrame() as frame:
        users = [f"user {n}" for n in range(10)]
        answers = await asyncio.gather(*(call(frame, user) for user in users))
    # Both are steps of one task: the second sees what the first has set, as in the caller's own code.
    assert answers == [((user, user), "whoever was here last") for user in users]


async def test_async_steps_of_a_run_see_the_context_it_was_begun_in_and_not_that_of_other_records() -> None:
    USER.set("operator")
    pipeline = Through([*range(30)], steps=(seen,), async_concurrency=2, taken=[])
    async with FakeFrame().stream(pipeline) as results:
        assert {user async for _, user in results} == {"operator"}


async def test_whoever_is_in_line_when_the_frame_closes_gets_an_error_of_its_own() -> None:
    async def never(record: Any) -> tuple[Any, bool]:
        await asyncio.Event().wait()
        return record, True

    frame = FakeFrame(buffer_size=2, drain_timeout=1.0)
    async with frame:
        pipeline = Through(steps=(never,))
        calls = [asyncio.ensure_future(frame.call(pipeline, n)) for n in range(9)]
        await asyncio.sleep(0.1)
    came = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in came] == [StateError] * 9
    assert len({id(error) for error in came}) == 9


async def test_a_call_that_is_cancelled_as_its_frame_closes_ends_with_its_cancel() -> None:
    frame = FakeFrame(buffer_size=1, drain_timeout=1.0)
    async with frame:
        pipeline = Through(steps=(twice,))
        calls = [asyncio.ensure_future(frame.call(pipeline, n)) for n in range(50)]
        await asyncio.sleep(0)
        for call in calls:
            asyncio.get_running_loop().call_soon(call.cancel)
    came = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in came if not isinstance(error, int)} <= {asyncio.CancelledError, StateError}


@pytest.mark.parametrize("turns", [1, 5])
@pytest.mark.parametrize("buffer_size", [5, 1000])
async def test_calls_in_line_when_a_frame_is_stopped_are_answered_by_the_run_that_begins_anew(
    turns: int, buffer_size: int
) -> None:
    async with FakeFrame(buffer_size=buffer_size) as frame:
        pipeline = Through(steps=(twice,))
        await frame.call(pipeline, 0)
        calls = [asyncio.ensure_future(frame.call(pipeline, n)) for n in range(50)]
        for _ in range(turns):
            await asyncio.sleep(0)
        frame.stop()
        calls[-1].cancel()
        came = await asyncio.gather(*calls, return_exceptions=True)
        assert came[:-1] == [2 * n for n in range(49)]
        assert isinstance(came[-1], asyncio.CancelledError)
        assert await frame.call(pipeline, 1) == 2
