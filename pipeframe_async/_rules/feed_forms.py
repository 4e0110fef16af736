"""Which kind of feed something is: decided before anything starts, by looking, not by calling.

A value comes in (the class's `feed`, or what was passed for it), a `Feed` goes out that says how to open it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from pipeframe_async._rules.edges import Edge, edge_of, plain_function
from pipeframe_async.errors import ConfigError
from pipeframe_async.stats import SourceCounts


class Form(Enum):
    """How a feed is pulled."""

    ASYNC = "async iterable, on the loop"
    STREAM = "aiostream Stream, on the loop"
    SYNC = "iterable, in a thread"
    ASYNC_BUCKET = "async feed(bucket), on the loop"
    SYNC_BUCKET = "feed(bucket), in a thread"
    TAKEN = "async take(room), on the loop"
    RETURNS = "function that returns a feed, called on the loop"
    RAISES = "function that has raised"


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed and its form. `value` is called first where `called` says so.

    Attributes:
        edge: it is opened and closed.
        decode: makes of what it yields what the first step gets.
        streams: it is worked on as it is read, and has its own end.
        live: it goes on, and may be quiet for long.
        results: it wants to know what its records have come to.
        lease: seconds after which its server gives a record that nobody has answered to others.
        counts: says how it stands with its server.
        seeks: it says where it is, and can begin there.
        replays: it yields again what the pipeline's own feed has yielded, and that had failed.
    """

    form: Form
    value: Any
    called: bool = False
    edge: Edge | None = None
    decode: Callable[[Any], Any] | None = None
    streams: bool = False
    live: bool = False
    results: bool = False
    lease: float | None = None
    counts: Callable[[], SourceCounts] | None = None
    seeks: bool = False
    replays: bool = False


def length_of(records: Any) -> int | None:
    """How many records something says it has, which may block and be wrong; None where it has no length."""
    try:
        return len(records)
    except Exception:  # it has none, or one that cannot be known
        return None


REMEDY = "write `async def feed(self)` with `yield record`, or pass an iterable or async iterable as feed="


def feed_form(feed: Any, owner: str) -> Feed:
    """Say what kind of feed this is.

    Args:
        feed: the feed as the user gave it.
        owner: the pipeline's name, for messages.

    Raises:
        ConfigError: it is no feed; the message says what it is and what to write.
    """
    if feed is None:
        raise ConfigError(f"{owner} has no feed: {REMEDY}")
    if inspect.iscoroutine(feed):
        feed.close()  # it will never be awaited, and that has been said
        raise ConfigError(f"the feed of {owner} is a coroutine: it returns once and yields nothing; {REMEDY}")
    if isinstance(feed, (str, bytes, bytearray)):
        raise ConfigError(f"the feed of {owner} is {type(feed).__name__} {feed[:40]!r}, not records: {REMEDY}")
    if _is_function(feed):
        return _function(feed, owner)
    return _object(feed, owner)


def returned(feed: Feed, owner: str) -> Feed:
    """What a function gives that returns a feed, called now; any other feed as it is.

    Raises:
        ConfigError: it gave none.
    """
    if feed.form is not Form.RETURNS:
        return feed
    try:
        given = feed.value()
    except Exception as error:
        return Feed(Form.RAISES, error)
    if given is None:
        raise ConfigError(f"the feed of {owner} returned None: is a `yield` missing in it, or a `return`? {REMEDY}")
    found = feed_form(given, owner)
    if found.form is Form.RETURNS:
        raise ConfigError(f"the feed of {owner} is a function that returns a function: one call must give the feed")
    return found


def _is_function(feed: Any) -> bool:
    if inspect.isroutine(feed) or isinstance(feed, (partial, type)):
        return True
    return callable(feed) and not (hasattr(feed, "__iter__") or hasattr(feed, "__aiter__"))


def _function(feed: Callable[..., Any], owner: str) -> Feed:
    code = feed if inspect.isroutine(feed) or isinstance(feed, (partial, type)) else type(feed).__call__
    wants_bucket = _wants_bucket(feed, owner)
    yields = inspect.isasyncgenfunction(code) or inspect.isgeneratorfunction(code)
    if yields and wants_bucket:
        raise ConfigError(f"the feed of {owner} takes a bucket and yields as well: do one or the other")
    if inspect.isasyncgenfunction(code):
        return Feed(Form.ASYNC, feed, called=True)
    if inspect.isgeneratorfunction(code):
        return Feed(Form.SYNC, feed, called=True)
    if inspect.iscoroutinefunction(code):
        if not wants_bucket:
            raise ConfigError(f"the feed of {owner} is a coroutine function that never yields: {REMEDY}")
        return Feed(Form.ASYNC_BUCKET, feed)
    return Feed(Form.SYNC_BUCKET, feed) if wants_bucket else Feed(Form.RETURNS, feed)


def _wants_bucket(feed: Callable[..., Any], owner: str) -> bool:
    try:
        parameters = inspect.signature(feed, follow_wrapped=False).parameters.values()
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):  # a wrapper that passes on what it gets
            parameters = inspect.signature(feed).parameters.values()
    except ValueError:
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    wanted = [p for p in parameters if p.kind in positional and (p.default is p.empty or p.name == "bucket")]
    wanted += [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is p.empty]
    if len(wanted) > 1:
        names = ", ".join(p.name for p in wanted)
        raise ConfigError(
            f"the feed of {owner} takes {len(wanted)} arguments ({names}): it may take a bucket, or nothing"
        )
    return bool(wanted)


def _streams(feed: Any) -> bool:
    """Whether it is iterated by entering what its `stream()` gives, as an aiostream Stream is."""
    if not callable(stream := getattr(feed, "stream", None)):
        return False
    try:
        inspect.signature(stream).bind()
    except (TypeError, ValueError):
        return False  # a client that has streams, of something it must be told
    return True


def _iterates(feed: Any) -> bool:
    """Whether it can be pulled in a thread; where it can be awaited as well, that is where it cannot block the loop.

    A progress bar of tqdm has both, and is what its `iterable` is.
    """
    if hasattr(feed, "__aiter__") and not _iterates(getattr(feed, "iterable", ())):
        return False
    kind = type(feed)
    if hasattr(kind, "__iter__"):
        return kind.__iter__ is not None
    return hasattr(kind, "__getitem__")  # of the sequence protocol


def _is_asked(feed: Any) -> bool:
    """Whether it is a source that is asked for records; another's `take` may mean anything."""
    says = _flag(feed, "streams") or _flag(feed, "live")
    return says and inspect.iscoroutinefunction(getattr(type(feed), "take", None))


def _object(feed: Any, owner: str) -> Feed:
    if inspect.isasyncgen(feed) and (feed.ag_frame is None or feed.ag_running):
        raise ConfigError(f"the feed of {owner} is an async generator that is used up or running: make a new one")
    if inspect.isgenerator(feed) and (feed.gi_frame is None or feed.gi_running):
        raise ConfigError(f"the feed of {owner} is a generator that is used up or running: make a new one")
    if _is_asked(feed):
        return _source(Form.TAKEN, feed, owner)
    if hasattr(feed, "__aiter__") and _streams(feed):
        return Feed(Form.STREAM, feed)
    if _iterates(feed):
        return _source(Form.SYNC, feed, owner)
    if hasattr(feed, "__aiter__"):
        return _source(Form.ASYNC, feed, owner)
    raise ConfigError(f"the feed of {owner} is {feed!r} ({type(feed).__name__}), which yields nothing: {REMEDY}")


def _source(form: Form, feed: Any, owner: str) -> Feed:
    """With what it says of itself."""
    if type(feed) in (list, tuple, range):
        return Feed(form, feed)
    return Feed(
        form,
        feed,
        edge=edge_of(feed, "feed", owner),
        decode=plain_function(feed, "decode", f"the feed of {owner}, {type(feed).__name__}"),
        streams=_flag(feed, "streams") or _flag(feed, "live"),
        live=_flag(feed, "live"),
        results=_flag(feed, "results"),
        lease=getattr(feed, "lease", None) if _flag(feed, "live") else None,
        counts=getattr(feed, "counts", None) if _flag(feed, "live") else None,
        replays=_flag(feed, "replays"),
        seeks=callable(getattr(type(feed), "seek", None)) and hasattr(feed, "position"),
    )


def _flag(feed: Any, name: str) -> bool:
    """What a class of sources says; anything else of that name is something else."""
    return getattr(type(feed), name, False) is True
