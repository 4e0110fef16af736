"""Object stores: S3 and what speaks as it does, Google Cloud Storage, Azure, HTTP. All calls block: for threads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeframe_async.errors import ConfigError, text_of
from pipeframe_async.servers.reach import needed
from pipeframe_async.urls import shown

EXTRA = "objects"
SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https", "file")


def store(url: str, options: dict[str, Any], timeout: float) -> tuple[Any, str]:
    """A store, and the path in it that a URL names.

    Args:
        url: `s3://bucket/path`, for instance. What follows the bucket is the path, `?` and `#` included; only one of a
            file is quoted, as `Path.as_uri` has it.
        options: of the store, as obstore has them; else they are taken from the environment.
        timeout: seconds that a request may take, all tries together.

    Raises:
        ConfigError: the URL is none of a store's, an option is wrong, or the library is missing.
    """
    stores = needed("obstore.store", EXTRA)
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not (parts.netloc or parts.scheme == "file"):
        raise ConfigError(
            f"{shown(url)!r} is no URL of an object store: write s3://bucket/path, gs://…, az://…, https://…"
        )
    if parts.scheme in ("http", "https") and (parts.query or parts.fragment):
        raise ConfigError(f"{shown(url)!r} cannot be opened: nothing is asked for with a query or a fragment")
    root = f"{parts.scheme}://{parts.netloc}{'/' if parts.scheme == 'file' else ''}"
    retries = {} if parts.scheme == "file" else {"retry_config": {"retry_timeout": timedelta(seconds=timeout)}}
    try:
        made = stores.from_url(root, **retries, **options)
    except (needed("obstore.exceptions", EXTRA).BaseError, TypeError, ValueError) as error:
        raise ConfigError(f"{shown(url)!r} cannot be opened: {text_of(error)}") from error
    path = url.split("://", 1)[1].removeprefix(parts.netloc).removeprefix("/")
    return made, unquote(path) if parts.scheme == "file" else path
