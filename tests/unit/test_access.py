"""The access list: every active member, through which group, and what is out of order."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from agent.diff.access import current_access, past_access
from agent.model import IndividualAction, Kind, LastSeen, Link
from agent.model.access import Access
from agent.model.run import MemberHistory
from agent.report.access import access_csv, access_html, access_text
from connectors.base import Person, PersonKey, Status
from tests.factories import a_policy, key, link, member, person, reads

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def one(of: Person | None, *links: Link, protect: tuple[str, ...] = ()) -> Access:
    given = reads([of] if of else [], [member("ann")], links)
    (row,) = current_access(given, a_policy(protect=protect), {})
    return row


def test_entitled_member_has_groups_and_no_exception() -> None:
    row = one(person("ann", groups=("planners", "readers")), link("ann"))

    assert (row.groups, row.exceptions, row.person) == (("Planners", "Readers"), (), key("ann"))


@pytest.mark.parametrize(
    ("exception", "of", "links"),
    [
        ("unmanaged", None, ()),
        ("not-assigned", None, (link("ann"),)),
        ("not-linked", person("ann"), ()),
        ("inactive", person("ann", status=Status.SUSPENDED), (link("ann"),)),
        ("unknown-status", person("ann", status=Status.UNKNOWN), (link("ann"),)),
        ("assignment-pending", person("ann", pending=True), (link("ann"),)),
        ("individual-assignment", person("ann", groups=(), individual=True), (link("ann"),)),
        ("source-changed", None, (link("ann", connector="removed"),)),
    ],
)
def test_exception_is_named(exception: str, of: Person | None, links: tuple[Link, ...]) -> None:
    assert one(of, *links).exceptions == (exception,)


def test_included_individual_assignment_is_still_named() -> None:
    given = reads([person("ann", groups=(), individual=True)], [member("ann")], [link("ann")])
    (row,) = current_access(given, a_policy(individual_assignments=IndividualAction.INCLUDE), {})

    assert row.exceptions == ("individual-assignment",)


def test_protected_member_is_marked_in_addition_to_other_exceptions() -> None:
    assert one(None, protect=("ann@*",)).exceptions == ("protected", "unmanaged")


def test_inactive_members_have_no_access_and_unreadable_ones_may_have() -> None:
    given = reads([], [member("ann", active=False), member("bea", active=None)])

    assert [row.email for row in current_access(given, a_policy(), {})] == ["bea@acme.com"]


def test_since_and_last_change_come_from_the_journal() -> None:
    given = reads([person("ann")], [member("ann")], [link("ann")])
    (row,) = current_access(given, a_policy(), {"m-ann": MemberHistory(NOW, NOW, NOW, Kind.UPDATE_NAME)})

    assert (row.since, row.first_seen, row.last_change_at, row.last_change_kind) == (NOW, NOW, NOW, Kind.UPDATE_NAME)


def test_adopted_member_has_the_day_it_was_seen_and_no_since() -> None:
    given = reads([person("ann")], [member("ann")], [link("ann")])
    rows = current_access(given, a_policy(), {"m-ann": MemberHistory(None, NOW, NOW, Kind.ADOPT)})
    (sheet,) = csv.DictReader(io.StringIO(access_csv(rows)))

    assert (sheet["since"], sheet["first_seen"], sheet["last_change"]) == ("", "2026-03-01", "2026-03-01 adopt")


def test_past_access_is_what_a_run_left() -> None:
    left = (
        LastSeen(scim_id="m2", email="bea@acme.com", display_name="Bea", active=True),
        LastSeen(
            scim_id="m1",
            email="ann@acme.com",
            display_name="Ann",
            active=True,
            person=PersonKey("okta-main", "ann"),
            groups=("Planners",),
        ),
        LastSeen(scim_id="m3", email="cat@acme.com", display_name="Cat", active=False),
    )
    rows = past_access("latam", left)

    assert [(row.email, row.groups, row.exceptions) for row in rows] == [
        ("ann@acme.com", ("Planners",), ()),
        ("bea@acme.com", (), ("unmanaged",)),
    ]


HOSTILE = Access(
    workspace="latam",
    email="=cmd@acme.com",
    display_name="<script>\x1b[31m\u202e",
    scim_id="m1",
    person=None,
    groups=("+g",),
    exceptions=("unmanaged",),
    since=NOW,
    first_seen=NOW,
    last_change_at=NOW,
    last_change_kind=Kind.CREATE,
)


def test_renderings_show_hostile_names_harmlessly() -> None:
    text, sheet, page = access_text([HOSTILE], 100), access_csv([HOSTILE], bom=True), access_html([HOSTILE], "now")
    (_, row) = csv.reader(io.StringIO(sheet.removeprefix("\ufeff")))

    assert text.startswith("latam: 1 have access; 1 unmanaged\nemail ")
    assert sheet.startswith("\ufeffworkspace,email")
    assert "<script>" not in page
    assert not any(letter in text + sheet + page for letter in "\x1b\u202e")
    assert row[1][0] != "="
    assert row[3][0] != "+"
    assert "2026-03-01 create" in text


def test_page_is_one_file_that_needs_nothing() -> None:
    page = access_html([HOSTILE], "2026-03-01")

    assert "As of 2026-03-01. 1 active members." in page
    assert "<link" not in page
    assert "<script" not in page
