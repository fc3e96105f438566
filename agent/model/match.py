"""The rule for a person who meets a member with their address (design, rows 6 and 7).

The planner applies it to a listed member, and the apply step to one that a create ran into.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import Enum, auto

from agent.model.email import normalize_name
from agent.model.inputs import Member

__all__ = ["MatchVerdict", "judge_match"]


class MatchVerdict(Enum):
    """What may be done with the member."""

    LINK = auto()
    """It is active: link it, and send nothing."""
    REACTIVATE = auto()
    """It is inactive and has the person's name: link and reactivate it."""
    POSSIBLY_RECYCLED = auto()
    """It is inactive and has another name, so it may be another human's."""
    UNREADABLE = auto()
    """Whether it is active can't be read: conclude nothing."""
    TAKEN = auto()
    """It is linked to another person."""


def judge_match(display_name: str, member: Member, taken: AbstractSet[str] = frozenset()) -> MatchVerdict:
    """Return what may be done with *member* for a person of *display_name*. *taken* are SCIM ids of other people."""
    if member.scim_id in taken:
        return MatchVerdict.TAKEN
    if member.active is None:
        return MatchVerdict.UNREADABLE
    if member.active:
        return MatchVerdict.LINK
    name = normalize_name(display_name)
    is_same = name != "" and name == normalize_name(member.display_name)
    return MatchVerdict.REACTIVATE if is_same else MatchVerdict.POSSIBLY_RECYCLED
