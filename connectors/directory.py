"""What every provider does with its rows: read fields tolerantly, select groups, notice hidden fields.

Every sentence names the provider that it is given.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from connectors.base import IncompleteRead, ReadNote
from connectors.http import ApiResponse, escape_control

__all__ = [
    "AppGroup",
    "FirstPage",
    "GroupNaming",
    "as_integer",
    "as_name",
    "as_object",
    "as_text",
    "as_texts",
    "fullest_rows",
    "group_memberships",
    "is_path_id",
    "missing_fields",
    "path_id",
    "require_object",
    "require_visible",
    "select_groups",
    "unidentified_notes",
]

PATH_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What may stand in a path: the ids of all providers fit, and nothing that could lead elsewhere does."""

MAX_DIGITS = 15

T = TypeVar("T")


class FirstPage(NamedTuple, Generic[T]):
    """The first page of a list, and the link or cursor of the next one; None where the list ends."""

    rows: list[T]
    next_link: str | None


@dataclass(frozen=True, slots=True, order=True)
class AppGroup:
    """A group (OneLogin: role) assigned to an application. *name* is empty where a row does not show it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNaming:
    """How a provider names and identifies its groups. *assign_remedy* starts the hint for a missing group."""

    provider: str
    assign_remedy: str
    noun: str = "group"
    id_noun: str = "id"
    ignores_id_case: bool = False


def select_groups(
    assigned: Sequence[AppGroup], wanted: Sequence[str], app: str, naming: GroupNaming
) -> tuple[AppGroup, ...]:
    """Return the groups that *wanted* names by id or exact name, in its order, or all when it names none.

    Raises `IncompleteRead` for a name that the application does not have, or has twice: an unknown group is not an
    empty group.
    """
    if not wanted:
        return tuple(assigned)
    return tuple(dict.fromkeys(_find_group(assigned, each, app, naming) for each in wanted))


def _find_group(assigned: Sequence[AppGroup], wanted: str, app: str, naming: GroupNaming) -> AppGroup:
    by_id = [
        group
        for group in assigned
        if group.id == wanted or (naming.ignores_id_case and group.id.lower() == wanted.lower())
    ]
    found = by_id or [group for group in assigned if group.name == wanted]
    if len(found) == 1:
        return found[0]
    noun, place = naming.noun, f"the application {escape_control(app)} in {naming.provider}"
    if found:
        ids = escape_control(", ".join(sorted(group.id for group in found)))
        raise IncompleteRead(
            f"{len(found)} {noun}s of {place} are named {wanted!r}: {ids}.",
            f"Write the {naming.id_noun} of the one you mean under `groups` of this source.",
        )
    names = escape_control(", ".join(sorted(group.name for group in assigned))) or "none"
    raise IncompleteRead(
        f"{place[0].upper()}{place[1:]} has no {noun} {wanted!r}; its {noun}s are: {names}.",
        f"{naming.assign_remedy}, or correct `groups` of this source ({naming.id_noun}s, or names as spelled).",
    )


def group_memberships(people_by_group: Mapping[AppGroup, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return the ids of the groups of each person, sorted."""
    memberships: dict[str, tuple[str, ...]] = {}
    for group in sorted(people_by_group):
        # Shared by everyone with the same groups.
        extended: dict[tuple[str, ...], tuple[str, ...]] = {}
        for person in people_by_group[group]:
            before = memberships.get(person, ())
            memberships[person] = extended.get(before) or extended.setdefault(before, (*before, group.id))
    return memberships


def fullest_rows(
    people_by_group: Mapping[AppGroup, Mapping[str, T]],
    is_blank: Callable[[T], bool],
    known: Mapping[str, T] = MappingProxyType({}),
) -> dict[str, T]:
    """Return *known* and the members of all groups by id. A blank row gives way to the next group's row."""
    rows = dict(known)
    for group in sorted(people_by_group):
        for key, row in people_by_group[group].items():
            if key not in rows or is_blank(rows[key]):
                rows[key] = row
    return rows


def require_visible(
    rows: Sequence[T],
    fields: Mapping[str, Callable[[T], bool]],
    description: str,
    *,
    provider: str,
    hint: str,
    is_plausible: Callable[[T], bool] | None = None,
) -> None:
    """Raise when a field that everyone has is in no row: a permission is missing, and nothing can be concluded.

    *fields* has a check for each field. A single row that *is_plausible* accepts is one odd person, and passes.
    """
    if is_plausible is not None and len(rows) == 1 and is_plausible(rows[0]):
        return
    if absent := missing_fields(rows, fields):
        raise IncompleteRead(
            f"{provider} returned {description} ({len(rows):,} rows), and none of them shows: {', '.join(absent)}.",
            hint,
        )


def missing_fields(rows: Sequence[T], fields: Mapping[str, Callable[[T], bool]]) -> tuple[str, ...]:
    """Return the fields that no row shows, none where there are no rows."""
    return tuple(field for field, is_shown in fields.items() if rows and not any(map(is_shown, rows)))


def unidentified_notes(provider: str, emails: Sequence[str]) -> Iterator[ReadNote]:
    """Yield a note for each distinct email of the rows without an id; "" stands for a row without an email too."""
    for email, count in Counter(emails).items():
        owner = email or "without an email"
        reason = (
            f"{provider} returned {count} row(s) without an id ({owner}): no one they might belong to is deactivated."
        )
        yield ReadNote("unidentified-row", email, reason)


def is_path_id(text: str) -> bool:
    """Return whether *text* is an id that can stand in a path."""
    return PATH_ID.fullmatch(text) is not None


def path_id(value: str, provider: str, hint: str) -> str:
    """Return *value*, an id, for use in a path. Raises `IncompleteRead` for anything else."""
    if not is_path_id(value):
        raise IncompleteRead(f"{value[:100]!r} can't be an id in {provider}.", hint)
    return value


def require_object(response: ApiResponse, description: str, hint: str, *, object_id: str = "") -> Mapping[str, object]:
    """Return the JSON object of a response. With *object_id*, it must show that id, in either case of letters."""
    document = response.json()
    if isinstance(document, dict) and (not object_id or str(document.get("id")).lower() == object_id.lower()):
        return document
    raise IncompleteRead(
        f"{response.server} answered with something that is not {description}{response.request_label}.", hint
    )


def as_object(value: object) -> Mapping[str, object]:
    """Return a JSON object, empty for anything else."""
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str:
    """Return a text without spaces around it, empty for anything else."""
    return value.strip() if isinstance(value, str) else ""


def as_name(value: object) -> str:
    """Return the name of a group, empty for anything but text. Spaces around it are part of the name."""
    return value if isinstance(value, str) else ""


def as_texts(value: object) -> tuple[str, ...]:
    """Return the non-empty texts of a list, none for anything else."""
    return tuple(filter(None, map(as_text, value))) if isinstance(value, list) else ()


def as_integer(value: object) -> int | None:
    """Return an integer, also one that came as text, None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
