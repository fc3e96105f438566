"""An exported member list: which columns and words count, and that a row which can't be a member stops the plan."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from agent.errors import UsageError
from agent.members_file import MembersFile, read_members_file


def members_of(path: Path, text: str) -> MembersFile:
    path.write_text(text)
    return read_members_file(path)


async def test_members_have_email_name_and_status_of_their_row(tmp_path: Path) -> None:
    text = "Role,Status,Display Name,E-Mail\nx,Active,Ann Li,Ann@acme.com\ny,DEACTIVATED, Bo ,bo@acme.com\n"

    file = members_of(tmp_path / "export.csv", text)

    rows = [(each.email, each.display_name, each.active) for each in file.members]
    assert rows == [("Ann@acme.com", "Ann Li", True), ("bo@acme.com", "Bo", False)]
    assert (await file.list_members()).members == file.members
    assert [each.email for each in await file.find("ANN@acme.com")] == ["Ann@acme.com"]
    assert (file.name, file.has_names, file.notices, file.requests) == ("export.csv", True, (), 0)
    assert len({each.scim_id for each in file.members}) == 2


@pytest.mark.parametrize("heading", ["email", "EMAIL", "E-mail", "User_Email", "userName", "Login", "email.address"])
def test_column_of_the_email_has_many_names(tmp_path: Path, heading: str) -> None:
    assert members_of(tmp_path / "x.csv", f"{heading},x\na@acme.com,1\n").members[0].email == "a@acme.com"


@pytest.mark.parametrize(
    ("word", "is_active"),
    [("active", True), ("TRUE", True), ("Yes", True), ("1", True), ("disabled", False), ("0", False)],
)
def test_words_of_the_status(tmp_path: Path, word: str, is_active: bool) -> None:
    assert members_of(tmp_path / "x.csv", f"email,active\na@acme.com,{word}\n").members[0].active is is_active


def test_first_and_last_name_are_joined(tmp_path: Path) -> None:
    text = "email;First Name;Surname\na@acme.com;Ann;Li\nb@acme.com;;Bo\n"

    assert [each.display_name for each in members_of(tmp_path / "x.csv", text).members] == ["Ann Li", "Bo"]


def test_missing_columns_are_reported(tmp_path: Path) -> None:
    file = members_of(tmp_path / "x.csv", "email\na@acme.com\n")

    assert (file.has_names, file.members[0].active) == (False, True)
    assert "every member counts as active" in file.notices[0]
    assert "changes of names are not planned" in file.notices[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,team\nAnn,x\n", "has no column for the email; its headings are: name, team"),
        ("email,name\n,Ann\n", "line 2: the email is empty"),
        ("email\na@acme.com\nAnn Li\n", "line 3: 'Ann Li' is not an email"),
        ("email\nann@\n", "line 2: 'ann@' is not an email"),
        ("email\nAnn <a@acme.com>\n", "is not an email"),
        ("email\na@acme.com\n\nA@ACME.com\n", "line 4: A@ACME.com is in line 2 already"),
        ("email\njürgen@acme.com\nju\u0308rgen@acme.com\n", "line 3: ju\u0308rgen@acme.com is in line 2 already"),
        ("email,status\na@acme.com,invited\n", "line 2: the status of a@acme.com is 'invited', not active or inactive"),
        ("email,status\na@acme.com,\n", "line 2: the status of a@acme.com is '', not active or inactive"),
    ],
)
def test_a_row_that_cannot_be_a_member_is_named_and_nothing_is_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        members_of(tmp_path / "x.csv", text)

    assert message in caught.value.message
    assert caught.value.hint


def test_problems_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    text = "email\n" + "".join(f"person {at}\n" for at in range(30)) + "a@acme.com\n"

    with pytest.raises(UsageError, match="30 rows that can't be used") as caught:
        members_of(tmp_path / "x.csv", text)

    lines = caught.value.message.splitlines()
    assert lines[1].strip().startswith("line 2: ")
    assert (len(lines), lines[-1].strip()) == (22, "and 10 more rows")


def test_memory_is_a_member_for_each_row_and_no_copy_of_the_file(tmp_path: Path) -> None:
    path, rows = tmp_path / "x.csv", 50_000
    path.write_text(
        "email,name,status,note\n"
        + "".join(f"person{at}@acme.com,Person {at},active,{'x' * 200}\n" for at in range(rows))
    )
    tracemalloc.start()
    try:
        file = read_members_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(file.members) == rows
    # A member and its three texts take about 350 bytes, and the index of addresses 110 while the file is read.
    assert peak < rows * 600 + 8 * 2**20
