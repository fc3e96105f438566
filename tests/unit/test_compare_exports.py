"""Exports from consoles: which is which, how its rows are understood, and what is refused."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.export_parser import open_export
from agent.compare.export_reader import ExportReader
from agent.compare.exports import KINDS, kind_named, recognize
from agent.engine.compare import Identity, compare_export
from agent.errors import UsageError
from agent.model.comparison import ComparedField, Comparison, Entry

EMAIL, NAME, STATUS, ACTIVE = (
    ComparedField.EMAIL,
    ComparedField.NAME,
    ComparedField.STATUS,
    ComparedField.ACTIVE,
)
MEMBERS = "Name,Email,Status,Account Type,License Type,Application Access\n"
ANA = "Ana Lima,ana@acme.com,Active,Standard Member,Full,3\n"


def written(folder: Path, content: str | bytes, name: str = "export.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def entries(path: Path, *, apps: tuple[str, ...] = ("Pigment",), kind: str = "", **options: object) -> list[Entry]:
    export = open_export(path, kind_named(kind) if kind else None)
    return list(ExportReader(export, frozenset(apps), **options).entries())  # type: ignore[arg-type]


def compared(path: Path, ours: list[Entry]) -> Comparison:
    export = open_export(path)
    identity = Identity("latam", export.kind.name, "members", datetime(2026, 11, 27, tzinfo=UTC), "ana", "1")
    reader = ExportReader(export, frozenset({"Pigment"}))
    return compare_export(identity, ours, reader, by_email=not export.has_ids)


@pytest.mark.parametrize(
    ("content", "kind", "found"),
    [
        (
            "User,Login,Application name,Application instance,Application login,Assigned on,Unassigned on,Last login\n"
            "Ana Lima,ana@acme.com,pigment,Pigment,ana@acme.com,2026-01-01T00:00:00Z,,\n"
            "Bo,bo@acme.com,pigment,Pigment,bo@acme.com,2026-01-01T00:00:00Z,2026-02-01T00:00:00Z,\n",
            "okta-app",
            [Entry("", "ana@acme.com", {EMAIL: "ana@acme.com"})],
        ),
        (
            "fullName,assigneeOktaUsername,assigneeAppUsername,assigneeOktaId,appName\nAna,ana@acme.com,ana,00u1,Pigment\n",
            "okta-app",
            [Entry("00u1", "ana@acme.com", {EMAIL: "ana@acme.com"})],
        ),
        (
            "User fullname,Okta username,Okta user status,Application,Group name\n"
            "Ana,ana@acme.com,Locked out,Pigment,A\nAna,ana@acme.com,Locked out,Pigment,B\n"
            "Bo,bo@acme.com,Active,Other,\n",
            "okta-app",
            [Entry("", "ana@acme.com", {EMAIL: "ana@acme.com", STATUS: "LOCKED_OUT"})] * 2,
        ),
        (
            "User,Login,Status,Activation date\nAna,ana@acme.com,Password expired,\n",
            "okta-people",
            [Entry("", "ana@acme.com", {EMAIL: "ana@acme.com", STATUS: "PASSWORD_EXPIRED"})],
        ),
        (
            "userPrincipalName,displayName,surname,mail,givenName,objectId,userType,jobTitle,department,accountEnabled\n"
            "ana@acme.com,Ana Lima,Lima,a.lima@acme.com,Ana,0A-1B,Member,,,False\n"
            "x_acme#EXT#@acme.com,X,X,x@other.com,X,0A-2B,Guest,,,True\n",
            "entra-users",
            [Entry("0a-1b", "ana@acme.com", {EMAIL: "ana@acme.com", NAME: "Ana Lima", ACTIVE: "no"})],
        ),
        (
            "Object ID,User principal name,Display name,Member type\n"
            "0A-1B,ana@acme.com,Ana Lima,User\n0A-3C,,Printers,Group\n",
            "entra-group",
            [Entry("0a-1b", "ana@acme.com", {EMAIL: "ana@acme.com", NAME: "Ana Lima"})],
        ),
        (
            "id,userPrincipalName,displayName,userType\n0a-1b,ana@acme.com,Ana Lima,Member\n",
            "entra-group",
            [Entry("0a-1b", "ana@acme.com", {EMAIL: "ana@acme.com", NAME: "Ana Lima"})],
        ),
        (
            "User ID,First name,Last name,Email,App\n7,Ana,Lima,ana@acme.com,Pigment\n",
            "onelogin-app",
            [Entry("7", "ana@acme.com", {EMAIL: "ana@acme.com", NAME: "Ana Lima"})],
        ),
        (
            "Firstname,Lastname,Email,Username,Status\nAna,Lima,ana@acme.com,ana,Active\n",
            "onelogin-users",
            [Entry("", "ana@acme.com", {EMAIL: "ana@acme.com", NAME: "Ana Lima"})],
        ),
        (
            MEMBERS + ANA + "Bo,bo@acme.com,Deactivated,Standard Member,Full,0\n",
            "pigment-members",
            [
                Entry("", "ana@acme.com", {EMAIL: "ana@acme.com", NAME: "Ana Lima", ACTIVE: "yes"}),
                Entry("", "bo@acme.com", {EMAIL: "bo@acme.com", NAME: "Bo", ACTIVE: "no"}),
            ],
        ),
    ],
)
def test_kind_is_recognized_by_its_columns(tmp_path: Path, content: str, kind: str, found: list[Entry]) -> None:
    path = written(tmp_path, content)

    assert open_export(path).kind.name == kind
    assert entries(path) == found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_usual_headings_of_each_kind_are_no_other_kind(kind: object) -> None:
    headings = [names[0] for column, names in kind.headings.items() if column not in kind.excluded]  # type: ignore[attr-defined]

    assert recognize(headings) is kind
    assert recognize([heading.upper().replace(" ", "_") for heading in headings]) is kind


@pytest.mark.parametrize(
    ("encoding", "how"),
    [
        ("utf-8", "UTF-8, separated by commas"),
        ("utf-8-sig", "UTF-8, separated by commas"),
        ("utf-16", "UTF-16, separated by commas"),
        ("utf-16-be", "UTF-16, separated by commas"),
        ("cp1252", "Windows-1252, because it is not UTF-8, separated by commas"),
    ],
)
def test_encoding_is_found_and_reported(tmp_path: Path, encoding: str, how: str) -> None:
    path = written(tmp_path, (MEMBERS + "Zoë Ørsted,zoe@acme.com,Active,Standard Member,,\n").encode(encoding))

    (found,) = entries(path)

    assert found.fields[NAME] == "Zoë Ørsted"
    assert open_export(path).how_it_was_read == (
        f"export.csv was read as {kind_named('pigment-members').title}: {how}, matched by addresses."
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_quoted_line_ends_and_repeated_headings(tmp_path: Path, separator: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator)
    headings = ["Name", "Email", "Status", "Account Type"]
    writer.writerows([headings, ["Ana\nLima, A; B\tC", "ana@acme.com", "Active", "x"], headings, ["", "", "", ""]])

    (found,) = entries(written(tmp_path, out.getvalue()))

    assert found.fields[NAME] == "Ana\nLima, A; B\tC"


BAD = [
    ("", "is empty"),
    ("\n\n", "is empty"),
    (b"PK\x03\x04rest", "is a workbook"),
    (b"Name,Email,Status,Account Type\n\x81\x8d,x,y,z\n", "is not text that can be read"),
    (b"Name,Email,Status,Account Type\na\0b,x,y,z\n", "zero byte"),
    ("Name,Email\nAna,ana@acme.com\n", "has the columns Name, Email. They are not those of an export."),
    ("a,b\x1b[2J\n1,2\n", "has the columns a, b\\x1b[2J."),
    ("Name,Email,Email,Status,Account Type\nA,a@x.com,b@x.com,Active,x\n", "has the column 'Email' 2 times"),
    (MEMBERS + "Ana,,Active,x,,\n", "Line 2 of export.csv has no address."),
    (MEMBERS + "Lima, Ana,ana@acme.com,Active,x,y,z\n", "cells, and there are 6 headings"),
    (MEMBERS + '"Ana,ana@acme.com,Active\n', "can't be read"),
    (MEMBERS + ANA + "Bo,bo@acme.com", "is the last one, has too few cells and no line end"),
    ("User,Login,Application instance\nA,a@x.com,One\nB,b@x.com,Two\n", "several applications (One, Two)"),
    ("Object ID,User principal name\n,ana@acme.com\n", "Line 2 of export.csv has no id."),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_file_that_can_not_be_compared_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        entries(written(tmp_path, content))

    assert message in raised.value.message
    assert raised.value.hint


def test_wrong_columns_name_what_each_kind_needs(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        open_export(written(tmp_path, "a,b\n1,2\n"))

    assert all(kind.describe() in raised.value.hint for kind in KINDS)
    with pytest.raises(UsageError, match="not those of entra-users") as forced:
        open_export(written(tmp_path, MEMBERS + ANA), kind_named("entra-users"))
    assert "userPrincipalName, accountEnabled" in forced.value.hint


def test_kind_can_be_forced(tmp_path: Path) -> None:
    path = written(tmp_path, "Login,Status,Application name\nana@acme.com,Active,x\n")

    assert open_export(path).kind.name == "okta-app"
    assert open_export(path, kind_named("okta-people")).kind.name == "okta-people"


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(UsageError):
            open_export(path)


def test_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, MEMBERS + ANA)
    export = open_export(path)
    written(tmp_path, MEMBERS)

    with pytest.raises(UsageError, match="changed while it was read"):
        list(export.rows())


def test_what_was_left_out_is_reported(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "Login,Application instance,Unassigned on\na@x.com,Pigment,\nb@x.com,Pigment,2026-01-01\nc@x.com,Other,\n",
    )
    reader = ExportReader(open_export(path), frozenset({"Pigment"}))

    assert [each.email for each in reader.entries()] == ["a@x.com"]
    assert reader.notes[1:] == (
        "1 row was left out: another application.",
        "1 row was left out: unassigned since.",
    )


def test_mail_is_compared_where_the_sources_take_it(tmp_path: Path) -> None:
    path = written(tmp_path, "userPrincipalName,mail,id,accountEnabled\nana@acme.com,a.lima@acme.com,1,True\n")

    (found,) = entries(path, email="mail")

    assert (found.email, found.fields[EMAIL]) == ("a.lima@acme.com", "a.lima@acme.com")
    # This export has logins alone, and a login is not the mail that our people have.
    (login,) = entries(written(tmp_path, "Object ID,User principal name\n1,ana@acme.com\n"), email="mail")
    assert EMAIL not in login.fields


def test_an_id_twice_with_other_values_is_refused(tmp_path: Path) -> None:
    content = "Object ID,User principal name,Display name\n1,ana@acme.com,Ana\n1,ana@acme.com,Other\n"

    with pytest.raises(UsageError, match="contradicts itself: 1 is there twice, with name 'Ana' and 'Other'"):
        compared(written(tmp_path, content), [])


@given(st.randoms(use_true_random=False))
def test_order_of_rows_has_no_effect(tmp_path_factory: pytest.TempPathFactory, random: Random) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = [f"N{number},{number}@acme.com,{'Active' if number % 3 else 'Deactivated'},x,,\n" for number in range(12)]
    ours = [
        Entry(str(number), f"{number}@ACME.com", {NAME: f"N{number}", ACTIVE: "yes", EMAIL: f"{number}@ACME.com"})
        for number in range(4, 16)
    ]
    expected = compared(written(folder, MEMBERS + "".join(rows)), ours)
    random.shuffle(rows)

    found = compared(written(folder, MEMBERS + "".join(rows)), ours)

    assert found == expected
    assert [each.email for each in found.only_theirs] == ["0@acme.com", "1@acme.com", "2@acme.com", "3@acme.com"]
    assert [each.field for each in found.different] == ["active", "active"]


def test_memory_does_not_grow_with_a_directory(tmp_path: Path) -> None:
    with (tmp_path / "users.csv").open("w", encoding="utf-8") as file:
        file.write("userPrincipalName,displayName,objectId,accountEnabled\n")
        file.writelines(f"person{number}@acme.com,Person {number},id-{number},True\n" for number in range(20_000))
    export = open_export(tmp_path / "users.csv")
    identity = Identity("eu", "entra-users", "people", datetime(2026, 11, 27, tzinfo=UTC), "ana", "1")
    ours = [Entry("id-7", "person7@acme.com", {EMAIL: "person7@acme.com"})]

    tracemalloc.start()
    try:
        reader = ExportReader(export, frozenset())
        found = compare_export(identity, ours, reader, by_email=False, is_whole_directory=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (found.count, found.theirs) == (0, 20_000)
    # Its rows would take twice as much.
    assert peak < 4_500_000
