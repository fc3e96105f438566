"""The domain model: member, listing, link, policy, change, hold, note, plan. Values only, no I/O.

Person, group and snapshot, which describe the source, are in `connectors.base`.
"""

from __future__ import annotations

from agent.model.change import NO_FIELDS, Change, Fields, Hold, Note
from agent.model.codes import Kind
from agent.model.inputs import (
    GroupRef,
    GroupSighting,
    Inputs,
    LastSeen,
    Link,
    Listing,
    Member,
    Memory,
    UnconfirmedCreate,
    UndoneChange,
    Written,
)
from agent.model.plan import (
    ChangeSubject,
    Guard,
    MemberCounts,
    Pause,
    Plan,
    RecentChanges,
    ShrunkGroup,
    SourceCounts,
    Unplanned,
)
from agent.model.policy import IndividualAction, Limits, Mode, Policy, Toggles, UnmanagedAction
from agent.model.target import TARGET_UNCHANGED, KnownTarget, MovedTenant, TargetCheck

__all__ = [
    "NO_FIELDS",
    "TARGET_UNCHANGED",
    "Change",
    "ChangeSubject",
    "Fields",
    "GroupRef",
    "GroupSighting",
    "Guard",
    "Hold",
    "IndividualAction",
    "Inputs",
    "Kind",
    "KnownTarget",
    "LastSeen",
    "Limits",
    "Link",
    "Listing",
    "Member",
    "MemberCounts",
    "Memory",
    "Mode",
    "MovedTenant",
    "Note",
    "Pause",
    "Plan",
    "Policy",
    "RecentChanges",
    "ShrunkGroup",
    "SourceCounts",
    "TargetCheck",
    "Toggles",
    "UnconfirmedCreate",
    "UndoneChange",
    "UnmanagedAction",
    "Unplanned",
    "Written",
]
