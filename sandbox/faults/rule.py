"""A rule: which requests go wrong, and how."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from sandbox.faults.action import Action, System

__all__ = ["FaultError", "Rule"]


class FaultError(ValueError):
    """A rule is invalid; the message names it and the problem."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Apply *action* to requests of *system* (None: any) with *method* (empty: any) whose path matches the glob *path*
    and whose query, decoded, matches the glob *query*. A star matches slashes too.

    Of those that match, counted from 1: only the *at*-th, only every *every*-th, only from the *start*-th on; 0 means
    all. At most *times* of them, 0 means no limit.
    """

    name: str
    action: Action
    system: System | None = None
    method: str = ""
    path: str = "*"
    query: str = "*"
    at: int = 0
    every: int = 0
    start: int = 0
    times: int = 0

    def matches(self, system: System, method: str, path: str, query: str = "") -> bool:
        """Return whether a request counts."""
        if system not in self.action.systems or self.system not in (None, system):
            return False
        return self.method in ("", method) and fnmatchcase(path, self.path) and fnmatchcase(query, self.query)

    def is_due(self, count: int) -> bool:
        """Return whether the *count*-th of the counted requests gets the fault."""
        if self.at:
            return count == self.at
        if self.every:
            return count % self.every == 0
        return count >= self.start
