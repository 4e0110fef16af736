"""What a user gets wrong: each line with `wrong:` must be an error to both checkers, and no other line."""

from __future__ import annotations

from typing import Any

from pipeframe_async import Bucket, PipeFrame, PipelineEngine, Retry, apply, pipeline, run, stream, vectorize


def length(text: str) -> Any:
    return len(text), True


def len_of_all(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


def cut(text: str, length: int) -> str:
    return text[:length]


def fill(bucket: Bucket[str]) -> None:
    bucket.put(3)  # wrong: its records are strings


class Lengths(PipelineEngine[str, int]):
    steps = [length]


class Source(PipelineEngine[str, int]):
    source = "strem"  # wrong: no such source


class Limit(PipelineEngine[str, int]):
    time_limit = "1 s"  # wrong: seconds are a number


class Steps(PipelineEngine[str, int]):
    steps = [1, 2]  # wrong: steps are called


async def use() -> None:
    frame = PipeFrame(cpu_count="2")  # wrong: a count
    PipeFrame(executor=3)  # wrong: no executor
    await frame.run(Lengths, [1, 2])  # wrong: its records are strings
    await frame.call(Lengths, 3)  # wrong: its record is a string
    await frame.run(str)  # wrong: no pipeline
    Retry("3")  # wrong: a count
    vectorize(len_of_all, "3")  # wrong: a count
    apply(cut)  # wrong: of two, and it is no method
    apply(3)  # wrong: no function
    run(Lengths, cpu_cuont=2)  # wrong: no such option
    run(Lengths, timeout=3)  # wrong: of the pipeline
    run(Lengths, cpu_count="2")  # wrong: a count
    stream(Lengths, [1])  # wrong: its records are strings
    pipeline(length, time_out=3)  # wrong: no such attribute
    pipeline(length, timeout="3")  # wrong: seconds are a number
    PipeFrame(max_workers=2)  # wrong: no such option
    await frame.run(Lengths, cpu_count=2)  # wrong: of the frame
    frame.stream(Lengths, cpu_count=2)  # wrong: of the frame
    async with frame.stream(Lengths) as lengths:
        async for each in lengths:
            each.upper()  # wrong: an int
