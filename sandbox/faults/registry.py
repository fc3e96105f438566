"""The active rules, how often each matched, and the faults so far. Shared by all systems of a sandbox."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sandbox.faults.action import System
from sandbox.faults.rule import Rule

__all__ = ["ActiveRule", "FaultRegistry", "FiredFault"]


@dataclass(frozen=True, slots=True)
class FiredFault:
    """One fault that happened: by which rule, to which request."""

    rule: str
    system: System
    method: str
    path: str


@dataclass(slots=True)
class ActiveRule:
    """An active rule and its state: requests counted, faults applied, and the state of its action."""

    rule: Rule
    count: int = 0
    fired: int = 0
    in_flight: int = 0
    throttled_until: float = 0.0
    """Until when a 429 holds (`early-retry`)."""
    throttle_seconds: float = 0.0
    is_drifting: bool = False

    def count_request(self) -> bool:
        """Count one more request and return whether the rule applies to it."""
        self.count += 1
        applies = self.rule.is_due(self.count) and (not self.rule.times or self.fired < self.rule.times)
        self.fired += applies
        return applies


@dataclass(slots=True)
class FaultRegistry:
    """Rules may change while requests come in; a change resets the counts."""

    active_rules: list[ActiveRule] = field(default_factory=list)
    fired: list[FiredFault] = field(default_factory=list)
    revoked: set[tuple[System, str]] = field(default_factory=set)

    def put(self, rules: Iterable[Rule]) -> None:
        """Replace all rules by *rules*. Revoked credentials become valid again."""
        self.active_rules = [ActiveRule(rule) for rule in rules]
        self.fired.clear()
        self.revoked.clear()

    def clear(self) -> None:
        self.put(())

    @property
    def rules(self) -> list[Rule]:
        return [active.rule for active in self.active_rules]
