"""What an export shows of each person or member, as entries that can be compared with a run's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from agent.compare.export_parser import Export, ExportRow
from agent.compare.exports import Column, normalize_heading, status_word
from agent.errors import UsageError
from agent.model.comparison import ComparedField, Entry
from agent.report.escape import escape_control

__all__ = ["ExportReader"]

MAX_APPS = 50
GUEST_MARK = "#EXT#"
PERSON_TYPES = frozenset({"", "user", "member", "guest"})


@dataclass(slots=True)
class ExportReader:
    """Reads the entries of one export. *notes* has sentences about what was left out, once it has been read.

    *app_names* are the applications of the workspace; *email* is the address that its sources take; with
    *counts_guests* guests count.
    """

    export: Export
    app_names: frozenset[str]
    email: Literal["login", "mail"] = "login"
    counts_guests: bool = False
    _left_out: Counter[str] = field(init=False, default_factory=Counter)

    @property
    def notes(self) -> tuple[str, ...]:
        left_out = (
            f"{count:,} {'row was' if count == 1 else 'rows were'} left out: {reason}."
            for reason, count in sorted(self._left_out.items())
        )
        return (self.export.how_it_was_read, *left_out)

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each row that counts. Raises `UsageError`."""
        apps = self._apps()
        for row in self.export.rows():
            if reason := self._reason_to_leave_out(row, apps):
                self._left_out[reason] += 1
            else:
                yield self._entry(row)

    def _apps(self) -> frozenset[str] | None:
        """Return the applications of the file that count, None for all: it is about one, or does not show them."""
        if not self.export.has(Column.APP):
            return None
        found: dict[str, str] = {}
        for row in self.export.rows():
            found.setdefault(row[Column.APP].casefold(), row[Column.APP])
            if len(found) > MAX_APPS:
                break
        if len(found) < 2:
            return None
        counted = frozenset(name.casefold() for name in self.app_names) & found.keys()
        if not counted:
            names = ", ".join(escape_control(each) for each in sorted(found.values())[:10])
            raise UsageError(
                f"{self.export.name} has several applications ({names}), and none is called "
                f"{' or '.join(map(escape_control, sorted(self.app_names)))}.",
                "Filter the report by the application, and export it again.",
            )
        return counted

    def _reason_to_leave_out(self, row: ExportRow, apps: frozenset[str] | None) -> str:
        if apps is not None and row[Column.APP].casefold() not in apps:
            return "another application"
        if row[Column.UNASSIGNED]:
            return "unassigned since"
        if normalize_heading(row[Column.MEMBER_TYPE]) not in PERSON_TYPES:
            return "no person"
        if not self.counts_guests and _is_guest(row):
            return "guests, who do not count for this workspace"
        return ""

    def _entry(self, row: ExportRow) -> Entry:
        key = row[Column.ID]
        if self.export.kind.provider == "entra":
            key = key.lower()
        email = self._address(row)
        if not (key if self.export.has_ids else email):
            what = "id" if self.export.has_ids else "address"
            raise UsageError(
                f"Line {row.line:,} of {self.export.name} has no {what}.",
                "Export it again without changes, or remove the row if it is a sum or a remark.",
            )
        return Entry(key, email, dict(self._fields(row, email)))

    def _address(self, row: ExportRow) -> str:
        """Return the address that the sources take, where the export has it."""
        is_mail = self.email == "mail" or not self.export.has(Column.LOGIN)
        return row[Column.MAIL] if is_mail and self.export.has(Column.MAIL) else row[Column.LOGIN]

    def _fields(self, row: ExportRow, email: str) -> Iterator[tuple[ComparedField, str]]:
        export = self.export
        if self.email == "login" or export.has(Column.MAIL) or not export.kind.provider:
            yield ComparedField.EMAIL, email
        if export.has(Column.NAME):
            yield ComparedField.NAME, row[Column.NAME]
        elif export.has(Column.GIVEN_NAME) and export.has(Column.FAMILY_NAME):
            yield ComparedField.NAME, f"{row[Column.GIVEN_NAME]} {row[Column.FAMILY_NAME]}".strip()
        for column in (Column.STATUS, Column.ENABLED):
            if export.has(column) and row[column]:
                yield status_word(export.kind, row[column])


def _is_guest(row: ExportRow) -> bool:
    """Return whether a row of Entra is a guest's: a download without the user type shows it in the sign-in name."""
    kind = row[Column.USER_TYPE].casefold()
    return kind == "guest" or (not kind and GUEST_MARK in row[Column.LOGIN])
