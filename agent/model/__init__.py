"""The words of the agent: member, listing, link, policy, change, hold, note, plan. Values only, no I/O.

Words about people at the source (person, group, snapshot) are in `connectors.base`.
"""

from __future__ import annotations

from agent.model.change import NO_FIELDS, Change, Fields, Hold, Note
from agent.model.kind import Kind
from agent.model.plan import Guard, MemberCounts, Plan, Recent, SourceCounts, Unplanned
from agent.model.policy import Individual, Limits, Mode, Policy, Toggles, Unmanaged
from agent.model.read import (
    GroupRef,
    GroupSighting,
    Left,
    Link,
    Listing,
    Member,
    Memory,
    Reads,
    Undone,
    Unsettled,
    Written,
)
from agent.model.target import UNCHANGED, KnownTarget, MovedTenant, TargetCheck

__all__ = [
    "NO_FIELDS",
    "UNCHANGED",
    "Change",
    "Fields",
    "GroupRef",
    "GroupSighting",
    "Guard",
    "Hold",
    "Individual",
    "Kind",
    "KnownTarget",
    "Left",
    "Limits",
    "Link",
    "Listing",
    "Member",
    "MemberCounts",
    "Memory",
    "Mode",
    "MovedTenant",
    "Note",
    "Plan",
    "Policy",
    "Reads",
    "Recent",
    "SourceCounts",
    "TargetCheck",
    "Toggles",
    "Undone",
    "Unmanaged",
    "Unplanned",
    "Unsettled",
    "Written",
]
