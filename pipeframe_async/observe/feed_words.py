"""How a pipeline's feed would be pulled, in words, before anything has run."""

from __future__ import annotations

from pipeframe_async._rules.feed_forms import feed_form


def feed_in_words(feed: object, owner: str) -> str:
    """Say what form of feed this is and where it runs.

    Args:
        feed: the feed as the pipeline has it.
        owner: the pipeline's name, for messages.

    Returns:
        A phrase such as `"async iterable, on the loop"`.

    Raises:
        ConfigError: it is no feed; the message says what it is and what to write.
    """
    return feed_form(feed, owner).form.value
