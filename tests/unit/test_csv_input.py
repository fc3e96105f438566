"""CSV as consoles and spreadsheets write it: encodings, separators, headings; and what can't be read to its end."""

from __future__ import annotations

import codecs
import os
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest

from agent.csv_input import open_csv_file
from agent.errors import UsageError

HEADINGS = {"email": ("email", "e-mail", "user name"), "name": ("name", "display name")}
TEXT = "Email;Display Name\nzoë@acme.com;Zoë Müller\n"


def read(path: Path, content: bytes) -> list[tuple[int, list[str]]]:
    path.write_bytes(content)
    with open_csv_file(path) as file:
        return [(row.line, list(row.cells)) for row in file.rows()]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8-sig"),
        (TEXT.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("cp1252"), "cp1252"),
    ],
)
def test_every_encoding_gives_the_same_rows(tmp_path: Path, content: bytes, encoding: str) -> None:
    path = tmp_path / "members.csv"
    path.write_bytes(content)

    with open_csv_file(path) as file:
        assert (file.encoding, file.separator, file.headings) == (encoding, ";", ("Email", "Display Name"))
        assert list(file.rows()) == [(2, ["zoë@acme.com", "Zoë Müller"])]
        assert file.digest == sha256(content).hexdigest()
        assert bool(file.notices) == (encoding == "cp1252")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_separator_is_found_by_the_headings(tmp_path: Path, separator: str, line_end: str) -> None:
    lines = [separator.join(cells) for cells in (('"e-mail"', '"Name"'), ("a@acme.com", '"Li, Ann; x\ty"'))]

    assert read(tmp_path / "x.csv", line_end.join([*lines, ""]).encode()) == [(2, ["a@acme.com", "Li, Ann; x\ty"])]


def test_separator_line_of_excel_is_followed_and_is_no_row(tmp_path: Path) -> None:
    content = b"sep=;\r\nemail,x;name\r\na@acme.com;Ann\r\n"

    assert read(tmp_path / "x.csv", content) == [(3, ["a@acme.com", "Ann"])]


def test_line_is_where_a_row_begins(tmp_path: Path) -> None:
    content = b'\n\nemail,name\na@acme.com,"two\nlines"\n\n,\nb@acme.com\n'

    rows = read(tmp_path / "x.csv", content)

    assert rows == [(4, ["a@acme.com", "two\nlines"]), (8, ["b@acme.com", ""])]


def test_columns_are_found_by_any_of_their_names(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Team,DISPLAY_name, User-Name ,,\nx,Ann,a@acme.com,,\n")

    with open_csv_file(path) as file:
        assert file.find_columns(HEADINGS) == {"name": 1, "email": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"PK\x03\x04rest of a workbook", "is a workbook or another document, not CSV"),
        (b"email\n\x81\x8d\n", "near byte 7 it is not cp1252"),
        (b"email\na\x00b\n", "it has a zero byte"),
        (TEXT.encode("utf-16")[:-1], "it is not utf-16"),
        (b'email,name\na@acme.com,"Ann\n', "line 2: the row can't be read (unexpected end of data)"),
        (b'email,name\nb,c\na@acme.com,"A"nn\n', "line 3: the row can't be read"),
        (b"email,name\na@acme.com,Li, Ann\n", "line 2: the row has 3 cells, and there are 2 headings"),
        (b"email,name\na@acme.com,Ann\nb@acme.c", "line 3: the row is the last one, has too few cells"),
        (b"email,name\n" + b"x" * 1_000_000, "a line of 1,000,000 characters or more"),
        (b'email,name\n"' + b"x\n" * 100_000, "line 2: the row can't be read (field larger than field limit"),
    ],
)
def test_what_cannot_be_read_to_its_end_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path / "members.csv", content)

    assert message in caught.value.message
    assert "members.csv" in caught.value.message
    assert caught.value.hint


def test_the_same_column_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("email,E-Mail\na@acme.com,b@acme.com\n")

    with open_csv_file(path) as file, pytest.raises(UsageError, match="two columns for email: email and E-Mail"):
        file.find_columns(HEADINGS)


def test_missing_file_and_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"), open_csv_file(tmp_path / "none.csv"):
        pass
    with pytest.raises(UsageError, match="not a file that can be read twice"), open_csv_file(Path(os.devnull)):
        pass


def test_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("email\na@acme.com\n")

    with open_csv_file(path) as file:
        with path.open("a") as more:
            more.write("b@acme.com\n")
        with pytest.raises(UsageError, match="changed while it was read"):
            list(file.rows())


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("email,name\n" + "".join(f"person{at}@acme.com,Person {at}\n" for at in range(30_000)))
    tracemalloc.start()
    try:
        with open_csv_file(path) as file:
            count = sum(1 for _ in file.rows())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 30_000
    # The rows alone would take 6 MiB more than the 3 that reading takes.
    assert peak < 5 * 2**20
