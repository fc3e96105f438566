"""Parse a PATCH: the three paths that Pigment supports, and whether it has others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sandbox.pigment.errors import ScimError, invalid_value
from sandbox.pigment.user_resource import SCHEMA, normalized_attributes, parse_boolean

__all__ = ["ParsedPatch", "parse_patch"]

ACTIVE_PATH = "active"
NAME_PATHS = ("displayname", "name.formatted")
ADDRESS_PATHS = ("username", 'emails[type eq "work"].value')


@dataclass(frozen=True, slots=True)
class ParsedPatch:
    """What a PATCH does (None: nothing), and *dropped*: the paths that Pigment silently ignores.

    *values* are all folded paths with their values.
    """

    active: bool | None
    display_name: str | None
    dropped: tuple[str, ...]
    values: Mapping[str, object]

    @property
    def address(self) -> str | None:
        """The address that a workspace would take where a PATCH may change it."""
        found = next((value for path, value in self.values.items() if path in ADDRESS_PATHS), None)
        return found if isinstance(found, str) else None

    @property
    def has_text_as_active(self) -> bool:
        return isinstance(self.values.get(ACTIVE_PATH), str)


def parse_patch(body: object) -> ParsedPatch:
    """Return the changes of *body*. Raise `ScimError` (400) when it is not a PATCH or a value is invalid."""
    operations = normalized_attributes(body).get("operations")
    if not isinstance(operations, list) or not operations:
        raise ScimError(400, "Operations are required.", "invalidSyntax")
    active: bool | None = None
    display_name: str | None = None
    dropped: list[str] = []
    values: dict[str, object] = {}
    for path, value in (pair for operation in operations for pair in _operation_values(operation)):
        values[path] = value
        if path == ACTIVE_PATH:
            active = parse_boolean(value)
        elif path in NAME_PATHS:
            display_name = _display_name(value)
        else:
            dropped.append(path)
    return ParsedPatch(active, display_name, tuple(dropped), values)


def _operation_values(operation: object) -> Iterator[tuple[str, object]]:
    """Yield a folded path and its value for each change of one operation."""
    given = normalized_attributes(operation)
    kind = str(given.get("op", "")).casefold()
    if kind not in ("add", "replace", "remove"):
        raise ScimError(400, f"{kind!r} is not an operation.", "invalidSyntax")
    path = str(given.get("path") or "").casefold().removeprefix(SCHEMA)
    if kind == "remove":
        yield f"remove {path}", None
    elif path:
        yield path, given.get("value")
    else:
        yield from _pathless_values(given.get("value"))


def _pathless_values(value: object) -> Iterator[tuple[str, object]]:
    """Yield what an operation without a path sets; `name.formatted` may stand in an object `name`."""
    for name, inner in normalized_attributes(value).items():
        if name == "name" and isinstance(inner, dict):
            yield from ((f"name.{part}", text) for part, text in normalized_attributes(inner).items())
        else:
            yield name, inner


def _display_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise invalid_value("displayName must be a text that is not empty.")
    return value
