"""Verify that a member has what was written. Pure. No write counts as done before this check."""

from __future__ import annotations

from agent.model import Fields, Member
from agent.model.email import is_same_name, normalize

__all__ = ["expected_formatted", "is_persisted", "missing_fields", "put_fields"]


def is_persisted(member: Member, wanted: Fields, formatted: str | None = None) -> bool:
    """Return whether *member* has every field of *wanted*; emails compare normalized, names by `is_same_name`."""
    return not missing_fields(member, wanted, formatted)


def missing_fields(member: Member, wanted: Fields, formatted: str | None = None) -> list[str]:
    """Return the attributes of *member* that are not as *wanted*, by their SCIM names."""
    return [
        name
        for name, is_shown in (
            ("userName", wanted.email is None or normalize(member.email) == normalize(wanted.email)),
            ("displayName", wanted.display_name is None or is_same_name(member.display_name, wanted.display_name)),
            ("active", wanted.active is None or member.active is wanted.active),
            ("name.formatted", None in (formatted, member.formatted) or _is_same_name(member.formatted, formatted)),
        )
        if not is_shown
    ]


def put_fields(member: Member, wanted: Fields) -> Fields:
    """Return all fields that a full PUT of *member* with *wanted* sends: unchanged fields are verified too."""
    return Fields(
        wanted.email or member.email or None,
        wanted.display_name or member.display_name or None,
        member.active if wanted.active is None else wanted.active,
    )


def expected_formatted(member: Member, display_name: str | None) -> str | None:
    """Return the `name.formatted` that the member must have with *display_name*, None where it can't be expected.

    Where it differed from the display name before, the server may build it from other parts of the name.
    """
    return display_name if _is_same_name(member.formatted, member.display_name) else None


def _is_same_name(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and is_same_name(one, other)
