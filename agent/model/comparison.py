"""Two readings of the same people or members, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = ["ComparedField", "Comparison", "Difference", "Entry", "Subject"]


class ComparedField(StrEnum):
    """What is compared of one person or member. A reader that does not show a field leaves it out."""

    EMAIL = "email"
    NAME = "name"
    STATUS = "status"
    """The provider's own word."""
    ACTIVE = "active"
    """`yes`, `no` or `unknown`: whether the person may sign in, or the member is active."""
    GROUPS = "groups"
    """The ids of the counted groups that hold the person, sorted."""
    INDIVIDUAL = "individual"
    """`yes` or `no`: whether the person is also, or only, assigned directly."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One person or member as one reader shows them. *id* is empty where the reader has no ids."""

    id: str
    email: str
    fields: Mapping[ComparedField, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Who a difference is about."""

    id: str
    email: str


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One field that two readers show differently."""

    id: str
    email: str
    field: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result. *ours* and *theirs* are how many each reader has; *other* is the other reader's name.

    *noun* is what is compared, `people` or `members`. *fields* are those that both readers show. *settled* is how many
    differences a second reading of ours no longer had. *notes* are sentences about how the other reader read.
    """

    workspace: str
    other: str
    at: datetime
    noun: str
    ours: int
    theirs: int
    only_ours: tuple[Subject, ...] = ()
    only_theirs: tuple[Subject, ...] = ()
    different: tuple[Difference, ...] = ()
    fields: tuple[ComparedField, ...] = ()
    settled: int = 0
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Return how many differences there are."""
        return len(self.only_ours) + len(self.only_theirs) + len(self.different)
