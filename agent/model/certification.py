"""The values of an access review: a row of the sheet with its decision, and what the decisions mean today."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from agent.model.access import Access
from connectors.base import PersonKey

__all__ = [
    "Certification",
    "Decision",
    "Removal",
    "ReviewedRow",
    "RowId",
    "SheetProblem",
    "row_id",
    "workspace_id",
]

ROW_ID = re.compile(r"c([0-9a-f]{12})-([0-9a-f]{16})-([0-9a-f]{12})-([0-9a-f]{12})")


class Decision(StrEnum):
    KEEP = "keep"
    REMOVE = "remove"


class RowId(NamedTuple):
    """Digests that identify a row and reveal edits: of the cells that are shown, the member, its person, the groups.

    They are of the exact values. The cells may be escaped or cut, and a spreadsheet may write them otherwise.
    """

    cells: str
    member: str
    person: str
    groups: str

    def __str__(self) -> str:
        # With a letter in front, no spreadsheet takes it for a number.
        return f"c{self.cells}-{self.member}-{self.person}-{self.groups}"

    @classmethod
    def parse(cls, text: str) -> RowId | None:
        """Return the id that *text* is; None if it is not one."""
        found = ROW_ID.fullmatch(text)
        return cls(*found.groups()) if found else None


def _digest(values: Sequence[str], digits: int = 12) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:digits]


def workspace_id(target: str) -> str:
    """Return an id of the workspace with the fingerprint *target*, which does not show its address."""
    return f"w{_digest([target])}"


def row_id(access: Access, cells: Sequence[str]) -> RowId:
    """Return the id of the row that shows *access* by *cells*."""
    member = _digest([access.target, access.scim_id], 16)
    person = _digest(list(access.person or ()))
    groups = _digest(access.groups)
    return RowId(cells_digest(cells, member, person, groups), member, person, groups)


def cells_digest(cells: Sequence[str], *others: str) -> str:
    """Return the digest of a row's *cells* and of the *others* of its id."""
    return _digest([*cells, *others])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedRow:
    """One row of a sheet. *place* is the cell of its decision; *decision* is None where the reviewer left it empty."""

    place: str
    id: RowId
    workspace: str
    workspace_id: str
    email: str
    display_name: str
    decision: Decision | None
    reviewer: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class SheetProblem:
    """What can't be used in a sheet: its cell, what is wrong, and the next step."""

    place: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Removal:
    """Access that a reviewer wants removed. *steps* are what a person does at the source, each a sentence."""

    access: Access
    row: ReviewedRow
    steps: tuple[str, ...]

    @property
    def person(self) -> PersonKey | None:
        return self.access.person


@dataclass(frozen=True, slots=True, kw_only=True)
class Certification:
    """What the decisions of a sheet mean for the access of today.

    *gone* have no access any more. *changed* have, by other groups or as another person than the reviewer saw: each
    with the reason. *missing* have access and no row that counts. *without_reviewer* are decisions that name no
    reviewer. *unread* are workspaces and why they could not be read: nothing is known of their rows.
    """

    removals: tuple[Removal, ...] = ()
    kept: tuple[tuple[Access, ReviewedRow], ...] = ()
    undecided: tuple[tuple[Access, ReviewedRow], ...] = ()
    changed: tuple[tuple[Access, ReviewedRow, str], ...] = ()
    gone: tuple[ReviewedRow, ...] = ()
    missing: tuple[Access, ...] = ()
    problems: tuple[SheetProblem, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def without_reviewer(self) -> tuple[ReviewedRow, ...]:
        decided = [each.row for each in self.removals] + [row for _, row in self.kept]
        return tuple(row for row in decided if not row.reviewer)

    @property
    def waits(self) -> bool:
        """Return whether a reviewer must still decide something."""
        return bool(self.undecided or self.changed or self.missing or self.without_reviewer)
