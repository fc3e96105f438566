"""The guards that count changes, one row each: what is counted, and the limit of the configuration.

A new guard is a row here with its code in `agent.model.codes`. The settings, the journal's query and the guard's
messages are made from the row.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.model import Change, ChangeSubject, Kind
from agent.model.codes import GuardCode

__all__ = ["COUNT_GUARDS", "ChangeFilter", "CountGuard", "LimitSetting", "change_subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFilter:
    """Which changes a guard counts. It is data, because the state makes a query of it: see `load_recent_changes`."""

    kinds: frozenset[Kind] = frozenset(Kind)
    only_email_changes: bool = False

    def matches(self, change: Change) -> bool:
        return self.accepts(change.kind, changes_email=change.changes_email)

    def accepts(self, kind: Kind, *, changes_email: bool) -> bool:
        return kind in self.kinds and (not self.only_email_changes or changes_email)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSetting:
    """A number of `limits` in the configuration: its key, default and description.

    The default None is "no limit", and only then `null` is a valid value: the other guards can't be turned off.
    """

    key: str
    default: int | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountGuard:
    """A guard on the number of changes of a plan and of the last 60 minutes.

    *percent* is a second limit, of the active linked members, for deactivations only; the lower one applies. *verb*
    ends the message "3 members …".
    """

    code: GuardCode
    counts: ChangeFilter
    limit: LimitSetting
    percent: LimitSetting | None = None
    verb: str
    cause: str


COUNT_GUARDS = (
    CountGuard(
        code=GuardCode.MAX_DEACTIVATIONS,
        counts=ChangeFilter(kinds=frozenset({Kind.DEACTIVATE})),
        limit=LimitSetting(
            key="max_deactivations",
            default=25,
            description="Maximum number of deactivations; above it, all are on hold.",
        ),
        percent=LimitSetting(
            key="max_deactivations_percent",
            default=10,
            description="Maximum percentage of the workspace's active linked members. Up to 3 pass, but never all.",
        ),
        verb="would be deactivated",
        cause="More members would be deactivated than the limits allow.",
    ),
    CountGuard(
        code=GuardCode.MAX_CREATES,
        counts=ChangeFilter(kinds=frozenset({Kind.CREATE})),
        limit=LimitSetting(
            key="max_creates",
            default=None,
            description="Maximum number of creates; above it, all are on hold. `null` for no limit.",
        ),
        verb="would be created",
        cause="More members would be created than the limit allows.",
    ),
    CountGuard(
        code=GuardCode.MAX_EMAIL_CHANGES,
        counts=ChangeFilter(only_email_changes=True),
        limit=LimitSetting(
            key="max_email_changes",
            default=25,
            description="Maximum number of email changes; above it, all are on hold.",
        ),
        verb="would get a new email",
        cause="More emails would change than the limit allows.",
    ),
)


def change_subject(change: Change) -> ChangeSubject | None:
    """Return what identifies the member that *change* counts for. A member to create has no SCIM id yet."""
    return change.person if change.kind is Kind.CREATE else change.scim_id
