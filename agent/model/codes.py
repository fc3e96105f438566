"""The kinds of changes, and the codes of changes, holds, notes and guards.

Users filter and alert by them: a value never changes once released.

Changes read back from the journal may carry a code of another release, so `Change.code` and its like are plain strings.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "APPROVABLE_GUARDS",
    "ChangeCode",
    "GuardCode",
    "HoldCode",
    "Kind",
    "NoteCode",
    "undo_code",
    "waits_for_person",
]


class Kind(StrEnum):
    """What a change does, in the order in which changes are applied (design section 7)."""

    ADOPT = "adopt"
    DEACTIVATE = "deactivate"
    UPDATE_EMAIL = "update-email"
    REACTIVATE = "reactivate"
    UPDATE_NAME = "update-name"
    CREATE = "create"


class ChangeCode(StrEnum):
    """Why a change is made."""

    ASSIGNED = "assigned"
    ASSIGNED_AGAIN = "assigned-again"
    CREATE_SETTLED = "create-settled"
    DELETED = "deleted"
    DUPLICATE_LEFT = "duplicate-left"
    DUPLICATE_MEMBER = "duplicate-member"
    EMAIL_CHANGED = "email-changed"
    LEFT_GROUPS = "left-groups"
    MATCHED_BY_ALIAS = "matched-by-alias"
    MATCHED_BY_EMAIL = "matched-by-email"
    NAME_CHANGED = "name-changed"
    NO_LONGER_ASSIGNED = "no-longer-assigned"
    RELINKED = "relinked"
    SUSPENDED = "suspended"
    UNMANAGED = "unmanaged"
    UNDO_CREATE = "undo-create"
    UNDO_DEACTIVATE = "undo-deactivate"
    UNDO_REACTIVATE = "undo-reactivate"
    UNDO_UPDATE_EMAIL = "undo-update-email"
    UNDO_UPDATE_NAME = "undo-update-name"


class HoldCode(StrEnum):
    """Why the planning table holds a change; what a guard holds has the guard's code."""

    AMBIGUOUS_ALIAS = "ambiguous-alias"
    CONTESTED_EMAIL = "contested-email"
    CREATE_UNSETTLED = "create-unsettled"
    DOMAIN_NOT_ALLOWED = "domain-not-allowed"
    DUPLICATE_MEMBER = "duplicate-member"
    EMAIL_SWAP = "email-swap"
    EMAIL_TAKEN = "email-taken"
    INDIVIDUAL_ASSIGNMENT = "individual-assignment"
    INVALID_EMAIL = "invalid-email"
    LINKED_MEMBER_MISSING = "linked-member-missing"
    MISSING_DISPLAY_NAME = "missing-display-name"
    POSSIBLE_RECYCLED_ADDRESS = "possible-recycled-address"
    POSSIBLE_RENAME = "possible-rename"
    RECYCLED_ADDRESS = "recycled-address"
    SOURCE_CHANGED = "source-changed"
    SOURCE_DISAGREES = "source-disagrees"
    WAITS_FOR_HELD = "waits-for-held"


class NoteCode(StrEnum):
    """What a note of the planner is about. Connectors have further codes of their own."""

    ALSO_IN = "also-in"
    ANOTHER_WRITER = "another-writer"
    ASSIGNMENT_PENDING = "assignment-pending"
    CHANGED_SINCE = "changed-since"
    DRIFT = "drift"
    IN_GRACE = "in-grace"
    INDIVIDUAL_ASSIGNMENT = "individual-assignment"
    PROTECTED = "protected"
    STATE_EMPTY = "state-empty"
    UNIDENTIFIED_ROW = "unidentified-row"
    UNKNOWN_STATUS = "unknown-status"
    UNMANAGED = "unmanaged"
    UNREADABLE_MEMBER = "unreadable-member"


class GuardCode(StrEnum):
    """Which guard tripped."""

    APPROVAL_REQUIRED = "approval-required"
    CONTESTED_BY_ANOTHER_WRITER = "contested-by-another-writer"
    EMPTY_SOURCE = "empty-source"
    FLEET = "fleet"
    GROUP_EMPTIED = "group-emptied"
    GROUP_SHRINK = "group-shrink"
    MAX_CREATES = "max-creates"
    MAX_DEACTIVATIONS = "max-deactivations"
    MAX_EMAIL_CHANGES = "max-email-changes"
    TOGGLE_OFF = "toggle-off"
    UNDONE = "undone"
    WRONG_TARGET = "wrong-target"


APPROVABLE_GUARDS = tuple(sorted(set(GuardCode) - {GuardCode.TOGGLE_OFF}))
"""The guards whose holds an approval can release; toggles are released by the configuration only."""


def undo_code(kind: Kind) -> ChangeCode:
    """Return the code of a change that reverses a change of *kind*."""
    return ChangeCode(f"undo-{kind}")


def waits_for_person(code: str) -> bool:
    """Return whether a hold with *code* waits for a person. A toggle is a setting: what it holds waits for no one."""
    return code != GuardCode.TOGGLE_OFF
