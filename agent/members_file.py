"""Read an exported list of a workspace's members, for a plan without SCIM. The file is not trusted.

Every row must be understood: a plan from half a file would create people who are members already. A member of a file
has no SCIM id; the line takes its place, and nothing that is written may use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.csv_input import CsvFile, CsvRow, open_csv_file
from agent.errors import UsageError
from agent.model import Listing, Member
from agent.model.email import normalize
from agent.report.escape import escape_control
from connectors.base import Progress, discard_progress

__all__ = ["ACTIVE_WORDS", "COLUMNS", "INACTIVE_WORDS", "MembersFile", "read_members_file"]

COLUMNS = {
    "email": ("email", "e-mail", "email address", "user email", "mail", "user name", "username", "login"),
    "name": ("name", "display name", "displayname", "full name", "fullname", "user display name"),
    "first name": ("first name", "firstname", "given name", "givenname"),
    "last name": ("last name", "lastname", "surname", "family name", "familyname"),
    "status": ("status", "active", "is active", "enabled", "account enabled", "state", "user status"),
}
"""The columns that are used, each with its headings. Others are ignored."""

ACTIVE_WORDS = frozenset({"active", "activated", "enabled", "true", "yes", "1"})
INACTIVE_WORDS = frozenset({"inactive", "deactivated", "disabled", "false", "no", "0", "suspended"})
MAX_SHOWN_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class MembersFile:
    """The members of a file. Implements `agent.ports.workspace.WorkspaceReader`, and sends no request.

    *digest* is the SHA-256 of the file. *has_names* is false if it has no column for names. *notices* are what a reader
    of the plan must know.
    """

    name: str
    members: tuple[Member, ...]
    digest: str
    has_names: bool
    notices: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        return 0

    async def list_members(self, _progress: Progress = discard_progress) -> Listing:
        return Listing(self.members)

    async def find(self, email: str) -> tuple[Member, ...]:
        wanted = normalize(email)
        return tuple(member for member in self.members if normalize(member.email) == wanted)

    async def get(self, scim_id: str) -> Member | None:
        return next((member for member in self.members if member.scim_id == scim_id), None)


def read_members_file(path: Path) -> MembersFile:
    """Return the members in the file at *path*. Raises `UsageError` that names each row that can't be one."""
    with open_csv_file(path) as file:
        columns = file.find_columns(COLUMNS)
        if "email" not in columns:
            shown = ", ".join(escape_control(heading) for heading in file.headings)
            raise UsageError(
                f"{file.name} has no column for the email; its headings are: {shown}.",
                "Rename the heading of the column with the email to `email`. Headings of the other columns: "
                "docs/plan-from-a-file.md.",
            )
        members = _Members(columns)
        for row in file.rows():
            members.add(row)
        _refuse_problems(file, members.problems, members.problem_count)
        return MembersFile(
            path.name, tuple(members.members), file.digest, members.has_names, tuple(_notices(file, columns))
        )


class _Members:
    """The members of the rows so far, and the first of the problems."""

    def __init__(self, columns: dict[str, int]) -> None:
        self.members: list[Member] = []
        self.problems: list[str] = []
        self.problem_count = 0
        self.has_names = bool(columns.keys() & {"name", "first name", "last name"})
        self._columns = columns
        self._lines: dict[str, int] = {}

    def add(self, row: CsvRow) -> None:
        member = self._member_from_row(row)
        if isinstance(member, str):
            self.problem_count += 1
            if len(self.problems) < MAX_SHOWN_PROBLEMS:
                self.problems.append(f"line {row.line:,}: {member}")
            return
        self.members.append(member)

    def _member_from_row(self, row: CsvRow) -> Member | str:
        """Return the member, or what is wrong with the row."""
        email = self._cell(row, "email")
        if not _is_address(email):
            return f"{escape_control(email)!r} is not an email" if email else "the email is empty"
        # Most addresses are normalized already; one string for both saves memory in a large file.
        key = email if (normalized := normalize(email)) == email else normalized
        first = self._lines.setdefault(key, row.line)
        if first != row.line:
            return f"{escape_control(email)} is in line {first:,} already"
        active = self._active(row)
        if active is None:
            word = self._cell(row, "status")
            return f"the status of {escape_control(email)} is {escape_control(word)!r}, not active or inactive"
        return Member(f"line {row.line}", email, self._name(row), active)

    def _active(self, row: CsvRow) -> bool | None:
        if "status" not in self._columns:
            return True
        word = self._cell(row, "status").casefold()
        return True if word in ACTIVE_WORDS else False if word in INACTIVE_WORDS else None

    def _name(self, row: CsvRow) -> str:
        if "name" in self._columns:
            return self._cell(row, "name")
        return f"{self._cell(row, 'first name')} {self._cell(row, 'last name')}".strip()

    def _cell(self, row: CsvRow, column: str) -> str:
        place = self._columns.get(column)
        return "" if place is None else row.cells[place].strip()


def _is_address(text: str) -> bool:
    local, _, domain = text.rpartition("@")
    return bool(local and domain) and text.isprintable() and not any(letter.isspace() for letter in text)


def _refuse_problems(file: CsvFile, problems: list[str], count: int) -> None:
    if not problems:
        return
    more = [f"and {count - len(problems):,} more rows"] if count > len(problems) else []
    rows = "1 row that can't be used" if count == 1 else f"{count:,} rows that can't be used"
    raise UsageError(
        "\n".join([f"{file.name} has {rows}. Nothing was planned.", *(f"  {each}" for each in [*problems, *more])]),
        "Correct these rows in the file, or export it again. A plan needs every member.",
    )


def _notices(file: CsvFile, columns: dict[str, int]) -> Iterator[str]:
    yield from file.notices
    if "status" not in columns:
        yield f"{file.name} has no column for the status: every member counts as active."
    if not columns.keys() & {"name", "first name", "last name"}:
        yield f"{file.name} has no column for the name: changes of names are not planned."
