"""One page of a Graph collection, and the opaque link to the next."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote

import orjson

from sandbox.entra.errors import bad_request

__all__ = ["next_link", "paginate"]

T = TypeVar("T")


def paginate(
    things: Sequence[T], key: Callable[[T], str], query: Mapping[str, str], sizes: tuple[int, int]
) -> tuple[Sequence[T], str | None]:
    """Return the page that *query* asks for and the skip token of the next. *sizes*: default, largest."""
    start = _start_index([key(thing) for thing in things], query.get("$skiptoken"))
    end = start + _page_size(query, *sizes)
    return things[start:end], _encode_skip_token(key(things[end - 1]), end) if end < len(things) else None


def next_link(url: str, query: Mapping[str, str], token: str) -> str:
    """Return the address of the next page as Graph writes it: dollar signs are not escaped, the rest is."""
    parameters = {name: value for name, value in query.items() if name not in ("$skiptoken", "$count")} | {
        "$skiptoken": token
    }
    return url + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())


def _page_size(query: Mapping[str, str], usual: int, largest: int) -> int:
    text = query.get("$top")
    if text is None:
        return usual
    if not text.isdecimal() or int(text) < 1:
        raise bad_request(f"Invalid page size specified: '{text}'.")
    return min(int(text), largest)


def _encode_skip_token(last: str, end: int) -> str:
    return urlsafe_b64encode(orjson.dumps([last, end])).decode()


def _start_index(keys: Sequence[str], token: str | None) -> int:
    """A page begins after the last row of the previous one, wherever that row is now."""
    if token is None:
        return 0
    try:
        last, end = orjson.loads(urlsafe_b64decode(token))
        end = int(end)
    except (ValueError, TypeError):
        raise bad_request("The skip token is not valid.") from None
    if keys[end - 1 : end] == [last]:
        return end
    return keys.index(last) + 1 if last in keys else min(max(end - 1, 0), len(keys))
