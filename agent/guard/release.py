"""Decide what the approvals of a plan release. Pure.

    needed  guard        approved by               result
    ──────  ───────────  ────────────────────────  ───────────────────────────────────────────
    1       G            Ann                       released
    2       G            Ann, " ann "              one person: a second one is needed
    2       G            Ann, Bea (expired)        a second person is needed
    2       G, H         Ann for all, Bea for G    G is released; H needs a second person

Each guard needs its own people. A change that several guards hold is released once all of them are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model.approval import Approval

__all__ = ["GuardApproval", "Release", "is_expired", "is_same_person", "usable_approvals"]


@dataclass(frozen=True, slots=True)
class GuardApproval:
    """Who approved what *guard* holds, the first one first, and how many more people must (*missing*)."""

    guard: str
    approved_by: tuple[str, ...]
    missing: int

    @property
    def is_released(self) -> bool:
        return not self.missing


@dataclass(frozen=True, slots=True)
class Release:
    """The approvals of one plan that count, and how many different people each of its guards needs."""

    approvals: tuple[Approval, ...]
    needed: int

    def status(self, guard: str) -> GuardApproval:
        people: dict[str, str] = {}
        for each in self._approvals_for(guard):
            people.setdefault(_person_key(each.by), each.by.strip())
        return GuardApproval(guard, tuple(people.values()), max(0, self.needed - len(people)))

    def statuses(self, guards: Iterable[str]) -> tuple[GuardApproval, ...]:
        return tuple(map(self.status, sorted(set(guards))))

    def releases(self, guards: Collection[str]) -> bool:
        """Return whether a change that *guards* hold is released. What no guard holds is not released by approvals."""
        return bool(guards) and all(self.status(guard).is_released for guard in guards)

    def applied(self, guards: Iterable[str]) -> tuple[Approval, ...]:
        """Return the approvals that release any of *guards*."""
        released = {each.guard for each in self.statuses(guards) if each.is_released}
        return tuple(each for each in self.approvals if released and (not each.guards or released & set(each.guards)))

    def _approvals_for(self, guard: str) -> Iterable[Approval]:
        return (each for each in self.approvals if not each.guards or guard in each.guards)


def usable_approvals(approvals: Sequence[Approval], now: datetime, valid_for: timedelta) -> tuple[Approval, ...]:
    """Return those of *approvals* that count, the oldest first: neither expired nor applied by a run before."""
    usable = (each for each in approvals if not each.applied_in and not is_expired(each, now, valid_for))
    return tuple(sorted(usable, key=lambda each: (each.at, each.run_id)))


def is_expired(approval: Approval, now: datetime, valid_for: timedelta) -> bool:
    return now - approval.at >= valid_for


def is_same_person(one: str, other: str) -> bool:
    """Return whether two names are of one person: case and space around them do not count."""
    return _person_key(one) == _person_key(other)


def _person_key(by: str) -> str:
    return by.strip().casefold()
