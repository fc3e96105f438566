"""Read a PATCH: the three paths that Pigment supports, and whether anything else was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.pigment.refusal import Refusal, bad_value
from sandbox.pigment.wish import SCHEMA, attributes, flag

__all__ = ["Patch", "patch"]

ACTIVE = "active"
NAMES = ("displayname", "name.formatted")


@dataclass(frozen=True, slots=True)
class Patch:
    """What a PATCH does (None: nothing), and *dropped*: the paths that Pigment silently ignores."""

    active: bool | None
    display_name: str | None
    dropped: tuple[str, ...]


def patch(body: object) -> Patch:
    """Return what *body* asks for. Raise `Refusal` (400) when it is no PATCH at all or a value can't be."""
    operations = attributes(body).get("operations")
    if not isinstance(operations, list) or not operations:
        raise Refusal(400, "Operations are required.", "invalidSyntax")
    active: bool | None = None
    display_name: str | None = None
    dropped: list[str] = []
    for path, value in (asked for operation in operations for asked in _asked(operation)):
        if path == ACTIVE:
            active = flag(value)
        elif path in NAMES:
            display_name = _name(value)
        else:
            dropped.append(path)
    return Patch(active, display_name, tuple(dropped))


def _asked(operation: object) -> Iterator[tuple[str, object]]:
    """Yield a folded path and its value for each thing that one operation asks for."""
    given = attributes(operation)
    kind = str(given.get("op", "")).casefold()
    if kind not in ("add", "replace", "remove"):
        raise Refusal(400, f"{kind!r} is not an operation.", "invalidSyntax")
    path = str(given.get("path") or "").casefold().removeprefix(SCHEMA)
    if kind == "remove":
        yield f"remove {path}", None
    elif path:
        yield path, given.get("value")
    else:
        yield from _flat(given.get("value"))


def _flat(value: object) -> Iterator[tuple[str, object]]:
    """Yield what an operation without a path sets; `name.formatted` may stand in an object `name`."""
    for name, inner in attributes(value).items():
        if name == "name" and isinstance(inner, dict):
            yield from ((f"name.{part}", text) for part, text in attributes(inner).items())
        else:
            yield name, inner


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise bad_value("displayName must be a text that is not empty.")
    return value
