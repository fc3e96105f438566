"""Tell whether a member shows what was asked for. Pure: no write counts as made before this has said so."""

from __future__ import annotations

from agent.address import folded, same_name
from agent.model import Fields, Member

__all__ = ["lacking", "shows"]


def shows(member: Member, wanted: Fields) -> bool:
    """Tell whether *member* has every field of *wanted*; emails compare folded, names as `same_name` does."""
    return not lacking(member, wanted)


def lacking(member: Member, wanted: Fields) -> list[str]:
    """Return the attributes of *member* that are not as *wanted*, by their SCIM names."""
    return [
        name
        for name, is_shown in (
            ("userName", wanted.email is None or folded(member.email) == folded(wanted.email)),
            ("displayName", wanted.display_name is None or same_name(member.display_name, wanted.display_name)),
            ("active", wanted.active is None or member.active is wanted.active),
        )
        if not is_shown
    ]
