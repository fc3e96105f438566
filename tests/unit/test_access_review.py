"""The access-certification sheet: what openpyxl, another reader, sees of it, and what its decisions mean today."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from agent.diff.access import current_access
from agent.diff.certification import compare_decisions, removal_steps
from agent.errors import UsageError
from agent.model.access import Access, Grant
from agent.model.certification import Certification, Decision, RowId, SheetProblem, workspace_id
from agent.model.provenance import Provenance
from agent.report.access import COLUMNS, access_csv
from agent.report.certification import ReviewedFiles, certification_csv, certification_object, certification_text
from agent.report.xlsx import HEADINGS, MAX_PEOPLE, AccessReview, access_xlsx
from agent.sheet_parser import MAX_FILE_BYTES, MAX_ROWS, parse_sheet
from connectors.base import PersonKey
from tests.factories import ENTRA, OKTA, a_policy, key, link, member, person, reads, snapshot

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TARGET = "https://pigment.example.com/latam/scim/v2"
FILES = ReviewedFiles({"review.xlsx": "0" * 64}, NOW)
LETTERS = {column: chr(65 + place) for place, column in enumerate(HEADINGS)}


def an_access(name: str = "ann", **more: Any) -> Access:
    groups = more.pop("groups", ("Planners",))
    row = Access(
        workspace="latam",
        email=f"{name}@acme.com",
        display_name=name.title(),
        scim_id=f"m-{name}",
        person=key(name),
        groups=groups,
        exceptions=(),
        status="active",
        grants=(Grant(person=key(name), groups=groups),),
        target=TARGET,
    )
    return replace(row, **more)


def review(rows: Sequence[Access], **more: Any) -> AccessReview:
    values: dict[str, Any] = {"workspaces": [("latam", TARGET)], "unread": [], "read_at": NOW, "by": "Ida Berg"} | more
    return AccessReview(rows=rows, **values)


def filled(rows: Sequence[Access], change: Callable[[Any], None]) -> bytes:
    """Return the sheet of *rows* as openpyxl saves it, after *change* of its worksheet."""
    book = load_workbook(io.BytesIO(access_xlsx(review(rows))))
    change(book["Access"])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def decide(*decisions: str | None, reviewer: str = "Ida") -> Callable[[Any], None]:
    def change(sheet: Any) -> None:
        for number, decision in enumerate(decisions, 2):
            sheet[f"{LETTERS['decision']}{number}"] = decision
            sheet[f"{LETTERS['reviewer']}{number}"] = reviewer

    return change


def set_cell(address: str, value: object) -> Callable[[Any], None]:
    def change(sheet: Any) -> None:
        sheet[address] = value

    return change


def imported(content: bytes, *now: Access, targets: dict[str, str] | None = None) -> Certification:
    rows, problems = parse_sheet(content, "review.xlsx")
    return compare_decisions(rows, problems, {"latam": now}, targets or {"latam": TARGET}, [])


def test_another_reader_finds_the_values_the_validation_and_the_layout() -> None:
    rows = [an_access("ann", since=NOW, groups=("Planners", "Readers")), an_access("bea", exceptions=("protected",))]
    book = load_workbook(io.BytesIO(access_xlsx(review(rows))))
    sheet = book["Access"]
    first = dict(zip(HEADINGS, [cell.value for cell in sheet[2]], strict=True))
    (validation,) = sheet.data_validations.dataValidation

    assert book.sheetnames == ["About", "Access"]
    assert [cell.value for cell in sheet[1]] == list(HEADINGS.values())
    assert (first["display_name"], first["email"], first["groups"]) == ("Ann", "ann@acme.com", "Planners, Readers")
    assert (first["status"], first["connector"], first["since"]) == ("active", "okta-main", "2026-03-01")
    assert (first["scim_id"], first["person"], first["decision"]) == ("m-ann", "ann", None)
    assert (validation.formula1, str(validation.sqref), validation.showErrorMessage) == ('"keep,remove"', "L2:L3", True)
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("C2", "A1:Q3")
    assert (sheet.page_setup.orientation, sheet.print_title_rows) == ("landscape", "$1:$1")
    assert (sheet.sheet_properties.pageSetUpPr.fitToPage, sheet.page_setup.fitToHeight) == (True, 0)
    assert sheet.column_dimensions["B"].width >= len("ann@acme.com")
    assert (book.properties.title, book.properties.creator) == ("Access review", "Ida Berg")
    assert book.properties.created == NOW.replace(tzinfo=None)


def test_first_sheet_begins_with_what_is_missing_and_names_the_reading() -> None:
    made_with = Provenance(version="1.2.3", commit="abc1234", config_sha256="f" * 64)
    book = load_workbook(
        io.BytesIO(access_xlsx(review([an_access()], unread=[("eu", "The token was refused.")], provenance=made_with)))
    )
    lines = {first.value: second.value for first, second in book["About"].iter_rows(max_col=2)}

    assert book["About"]["A2"].value == "Not complete: eu"
    assert "The token was refused." in lines["Not complete: eu"]
    assert lines["Read at"] == "2026-03-01 12:00 UTC"
    assert lines["Read by"] == "Ida Berg"
    assert lines["Version"] == "pigment-sync 1.2.3, commit abc1234"
    assert lines["Configuration"] == f"SHA-256 {'f' * 64}"
    assert lines["Workspace latam"].startswith("1 with access")
    assert "NOT COMPLETE" in book["Access"].oddHeader.left.text


def test_past_access_names_the_time_of_the_run() -> None:
    book = load_workbook(io.BytesIO(access_xlsx(review([], from_journal="latam 2026-01-31 23:00 UTC"))))

    assert book["About"]["B3"].value == "latam 2026-01-31 23:00 UTC"
    assert book["Access"].max_row == 1


def test_same_input_gives_the_same_bytes() -> None:
    assert access_xlsx(review([an_access()])) == access_xlsx(review([an_access()]))


def test_more_rows_than_a_sheet_has_are_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError) as refused:
        access_xlsx(review([an_access()] * (MAX_PEOPLE + 1)))

    assert "1,048,576 rows do not fit" in refused.value.message
    assert "--workspace" in refused.value.hint


HOSTILE = st.text(
    st.characters() | st.sampled_from("=+-@\t\r\n'\";|&<>_x0D\x00\x1b\u202e\ufffe\uffff\ud800"), max_size=30
)


@given(
    names=st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=3),
    decision=st.sampled_from(Decision),
)
def test_any_name_comes_back_as_text_and_its_decision_counts(
    names: list[tuple[str, str, str, str]], decision: Decision
) -> None:
    rows = [
        an_access(f"p{number}", email=email, display_name=name, groups=(group,), person=PersonKey("okta", person_id))
        for number, (email, name, group, person_id) in enumerate(names)
    ]
    content = filled(rows, decide(*[decision.value] * len(rows)))
    sheet = load_workbook(io.BytesIO(content))["Access"]
    found = imported(content, *rows)
    by_csv = imported(access_csv(rows).encode(), *rows)

    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n"}
    assert not any(cell.hyperlink for row in sheet.iter_rows() for cell in row)
    assert (found.problems, found.missing, found.changed) == ((), (), ())
    assert len(found.removals if decision is Decision.REMOVE else found.kept) == len(rows)
    assert (by_csv.problems, len(by_csv.undecided)) == ((), len(rows))


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "https://phish.example.com", "mailto:a@b", "{=1}"]
)
def test_no_name_becomes_a_formula_a_link_or_a_number(name: str) -> None:
    content = access_xlsx(review([an_access(display_name=name)]))
    cell = load_workbook(io.BytesIO(content))["Access"]["A2"]
    parts = zipfile.ZipFile(io.BytesIO(content))

    assert (cell.data_type, cell.hyperlink) == ("s", None)
    assert b"<f>" not in parts.read("xl/worksheets/sheet2.xml")
    assert not any("sheet2.xml.rels" in part for part in parts.namelist())


def test_decisions_are_sorted_by_what_is_left_to_do() -> None:
    rows = [an_access(name) for name in ("ann", "bea", "cat", "dan")]
    content = filled(rows, decide("remove", " Keep ", None, "remove"))
    found = imported(content, *rows[:3], an_access("eve"))

    assert [each.access.email for each in found.removals] == ["ann@acme.com"]
    assert [access.email for access, _ in found.kept] == ["bea@acme.com"]
    assert [access.email for access, _ in found.undecided] == ["cat@acme.com"]
    assert [row.email for row in found.gone] == ["dan@acme.com"]
    assert [access.email for access in found.missing] == ["eve@acme.com"]
    assert found.removals[0].steps == ("Remove ann in okta-main from: Planners.",)


def test_sorted_rows_and_a_title_above_them_change_nothing() -> None:
    rows = [an_access("ann"), an_access("bea")]

    def rearrange(sheet: Any) -> None:
        decide("remove", "keep")(sheet)
        first, second = ([cell.value for cell in sheet[number]] for number in (2, 3))
        for place, (one, two) in enumerate(zip(first, second, strict=True), 1):
            sheet.cell(2, place).value, sheet.cell(3, place).value = two, one
        sheet.insert_rows(1, 2)
        sheet["A1"] = "Review of the first quarter"

    (removal,) = imported(filled(rows, rearrange), *rows).removals

    assert (removal.access.email, removal.row.place) == ("ann@acme.com", "review.xlsx, Access!L5")


def test_removed_access_names_every_source_that_gives_it() -> None:
    given_reads = reads([person("ann", individual=True)], [member("ann")], [link("ann")])
    also = snapshot([replace(person("ann2", "ann@acme.com"), connector=ENTRA.connector)], ENTRA)
    inputs = replace(given_reads, snapshots=(*given_reads.snapshots, also))
    (row,) = current_access(inputs, a_policy(OKTA, ENTRA), {})

    assert removal_steps(row) == (
        "Remove ann in okta-main from: Planners.",
        "Remove the individual assignment of ann in okta-main to the application.",
        "Remove ann2 in entra-eu from: Planners.",
    )


@pytest.mark.parametrize(
    ("exception", "words"),
    [
        ("protected", "`protect`"),
        ("unmanaged", "deactivate the member in Pigment"),
        ("not-linked", "deactivate it in Pigment"),
        ("source-changed", "correct the link"),
        ("not-assigned", "the next sync deactivates"),
        ("inactive", "the next sync deactivates"),
    ],
)
def test_steps_follow_from_the_exception(exception: str, words: str) -> None:
    assert words in " ".join(removal_steps(an_access(exceptions=(exception,), grants=())))


def test_access_that_no_source_explains_still_has_a_step() -> None:
    assert "deactivate the member in Pigment" in removal_steps(an_access(grants=()))[0]


def test_other_groups_need_a_new_decision_unless_all_are_removed() -> None:
    before = [an_access("ann"), an_access("bea")]
    now = [an_access("ann", groups=("Planners", "Admins")), an_access("bea", groups=("Admins",))]
    found = imported(filled(before, decide("keep", "remove")), *now)
    ((access, _, reason),) = found.changed

    assert (access.email, reason) == ("ann@acme.com", "The groups changed; now: Planners, Admins.")
    assert found.removals[0].steps == ("Remove bea in okta-main from: Admins.",)


def test_decision_about_one_person_is_never_used_for_another() -> None:
    now = an_access("ann", person=key("another"))
    found = imported(filled([an_access("ann")], decide("remove")), now)

    assert (found.removals, len(found.changed)) == ((), 1)


def test_new_address_of_the_same_person_keeps_the_decision() -> None:
    (removal,) = imported(filled([an_access()], decide("remove")), an_access(email="new@acme.com")).removals

    assert removal.access.email == "new@acme.com"


def test_doubled_rows_count_once_if_they_agree_and_not_at_all_otherwise() -> None:
    def double(*decisions: str | None) -> Callable[[Any], None]:
        def change(sheet: Any) -> None:
            sheet.append([cell.value for cell in sheet[2]])
            decide(*decisions)(sheet)

        return change

    agreed = imported(filled([an_access()], double(None, "remove")), an_access())
    contradictory = imported(filled([an_access()], double("keep", "remove")), an_access())

    assert (len(agreed.removals), agreed.problems) == (1, ())
    assert (contradictory.removals, contradictory.kept, contradictory.missing) == ((), (), ())
    assert contradictory.problems == (
        SheetProblem(
            "review.xlsx, Access!L2",
            "ann@acme.com has different decisions: see review.xlsx, Access!L3.",
            "Leave one row and import again.",
        ),
    )


@pytest.mark.parametrize("name", ["_x0041_", "_x005F_x0041_", "a_x000D_b", "_x005f_", "_xD800_"])
def test_name_that_looks_like_an_escape_of_a_workbook_comes_back(name: str) -> None:
    row = an_access(display_name=name)

    assert len(imported(access_xlsx(review([row])), row).undecided) == 1
    assert len(imported(filled([row], decide("keep")), row).kept) == 1


def test_rows_of_two_readings_do_not_count_together() -> None:
    rows, _ = parse_sheet(filled([an_access()], decide("remove")), "old.xlsx")
    newer, _ = parse_sheet(filled([an_access(groups=("Admins",))], decide("remove")), "new.xlsx")
    found = compare_decisions([*rows, *newer], [], {"latam": [an_access()]}, {"latam": TARGET}, [])

    assert found.removals == ()
    assert found.problems[0].message == "ann@acme.com has rows of different readings: see new.xlsx, Access!L2."


def test_sheet_of_another_workspace_or_tenant_is_refused_row_by_row() -> None:
    content = filled([an_access("ann"), an_access("bea", workspace="eu", target="x")], decide("remove", "keep"))
    found = imported(content, an_access("ann"), targets={"latam": "https://other.example.com/scim/v2"})

    assert found.removals == ()
    assert [each.message for each in found.problems] == [
        "The sheet was written for another workspace that was also called latam: 1 row.",
        "There is no workspace eu in this configuration: 1 row.",
    ]


@pytest.mark.parametrize(
    ("address", "value", "place", "words"),
    [
        ("L2", "drop", "L2", "'drop' is not a decision about ann@acme.com."),
        ("L2", True, "L2", "'True' is not a decision"),
        ("L2", 1.0, "L2", "'1' is not a decision"),
        ("L2", datetime(2026, 1, 1), "L2", "'2026-01-01' is not a decision"),  # noqa: DTZ001  (Excel has no zones)
        ("B2", "bea@acme.com", "Q2", "The row of bea@acme.com is not as it was written."),
        ("N2", "m-bea", "Q2", "is not as it was written"),
        ("F2", None, "Q2", "is not as it was written"),
        ("Q2", None, "Q2", "has no valid row id"),
        ("Q2", "c1-2", "Q2", "has no valid row id"),
        ("Q2", 12345, "Q2", "has no valid row id"),
    ],
)
def test_what_can_not_be_used_names_its_cell_and_spares_the_other_rows(
    address: str, value: object, place: str, words: str
) -> None:
    rows = [an_access("ann"), an_access("bea")]

    def change(sheet: Any) -> None:
        decide("remove", "remove")(sheet)
        set_cell(address, value)(sheet)

    found = imported(filled(rows, change), *rows)
    (problem,) = found.problems

    assert problem.place == f"review.xlsx, Access!{place}"
    assert words in problem.message
    assert [each.access.email for each in found.removals] == ["bea@acme.com"]


def test_row_id_of_another_row_is_refused() -> None:
    rows = [an_access("ann"), an_access("bea")]

    def swap(sheet: Any) -> None:
        decide("remove", "keep")(sheet)
        sheet["Q2"], sheet["Q3"] = sheet["Q3"].value, sheet["Q2"].value

    assert len(imported(filled(rows, swap), *rows).problems) == 2


def test_decision_of_a_formula_without_a_value_is_no_decision() -> None:
    found = imported(filled([an_access()], decide('=IF(1=1,"remove","keep")')), an_access())

    assert len(found.undecided) == 1


def _csv_of(*decisions: str, delimiter: str = ",") -> str:
    rows = list(csv.DictReader(io.StringIO(access_csv([an_access("ann"), an_access("bea", display_name="=1")]))))
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, delimiter=delimiter)
    writer.writeheader()
    for row, decision in zip(rows, decisions, strict=True):
        writer.writerow({**row, "decision": decision, "reviewer": "Ida"})
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        _csv_of("remove", "keep").encode(),
        _csv_of("remove", "keep", delimiter=";").encode("utf-8-sig"),
        _csv_of("remove", "keep", delimiter="\t").encode("utf-16"),
    ],
    ids=["comma", "semicolon-with-bom", "tabs-in-utf-16"],
)
def test_csv_of_the_listing_is_a_sheet_too(content: bytes) -> None:
    found = imported(content, an_access("ann"), an_access("bea", display_name="=1"))

    assert (len(found.removals), len(found.kept), found.problems) == (1, 1, ())


def _archive(**parts: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return out.getvalue()


def _with_part(name: str, data: Callable[[bytes], bytes]) -> bytes:
    archive = zipfile.ZipFile(io.BytesIO(access_xlsx(review([an_access()]))))
    return _archive(
        **{each: data(archive.read(each)) if each == name else archive.read(each) for each in archive.namelist()}
    )


def _book(*titles: str, **cells: object) -> bytes:
    book = Workbook()
    for title in titles:
        sheet = book.create_sheet(title)
        for place, heading in enumerate(HEADINGS.values(), 1):
            sheet.cell(1, place).value = cells.get(heading, heading)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


SHEET = "xl/worksheets/sheet2.xml"
GOOD = access_xlsx(review([an_access()]))
BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "There is no decision to read"),
    "text": (lambda: b"hello", "There is no decision to read"),
    "binary": (lambda: bytes(range(256)), "neither an Excel workbook nor CSV"),
    "latin-1": (lambda: "Jos\xe9".encode("latin-1"), "nor CSV in UTF-8"),
    "nul": (lambda: b"a\0b", "neither an Excel workbook nor CSV"),
    "quote": (lambda: b'a,"b', "is not valid CSV"),
    "encrypted": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is encrypted"),
    "cut-off": (lambda: GOOD[: len(GOOD) // 2], "damaged or cut off"),
    "other-archive": (lambda: _archive(a=b"1"), "is an archive, and not an Excel workbook"),
    "no-sheet": (_book, "There is no decision to read"),
    "missing-column": (lambda: _book("Access", Decision="Verdict"), "There is no decision to read"),
    "doubled-column": (lambda: _book("Access", Since="Decision"), "There is no decision to read"),
    "two-sheets": (lambda: _book("Access", "Access copy"), "several worksheets with decisions: Access, Access copy"),
    "too-large": (lambda: bytes(MAX_FILE_BYTES + 1), "a sheet has at most"),
    "bomb": (lambda: _with_part(SHEET, lambda data: data + bytes(400_000_001)), "unpacks to more than"),
    "far-cell": (lambda: _with_part(SHEET, lambda data: data.replace(b'r="Q2"', b'r="XFD1048576"')), "cells as far as"),
    "no-address": (lambda: _with_part(SHEET, lambda data: data.replace(b'r="Q2"', b"")), "cells without an address"),
    "entity": (lambda: _with_part(SHEET, lambda data: b"<!DOCTYPE a>" + data), "document type"),
    "broken-xml": (lambda: _with_part(SHEET, lambda data: data[: data.index(b"</sheetData>")]), "damaged"),
    "rows": (lambda: b"\n".join([_csv_of("", "").encode(), *[b"x"] * (MAX_ROWS + 1)]), "more than 300,000 rows"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_file_that_is_no_sheet_is_refused_with_the_reason(kind: str) -> None:
    content, words = BAD_FILES[kind]
    with pytest.raises(UsageError) as refused:
        parse_sheet(content(), "review.xlsx")

    assert words in refused.value.message
    assert "review.xlsx" in refused.value.message
    assert refused.value.hint


def test_size_that_an_archive_claims_is_not_believed() -> None:
    """The directory claims that the sheet is short; a reader that unpacks to the end would get all of it."""
    content = bytearray(_with_part(SHEET, lambda data: data + b" " * 1_000_000))
    entry = content.rfind(SHEET.encode()) - 46
    content[entry + 24 : entry + 28] = (500).to_bytes(4, "little")
    with pytest.raises(UsageError, match="damaged"):
        parse_sheet(bytes(content), "review.xlsx")


def test_row_ids_are_text_that_no_spreadsheet_takes_for_a_number() -> None:
    (row,) = csv.DictReader(io.StringIO(access_csv([an_access()])))

    assert row["row_id"].startswith("c")
    assert RowId.parse(row["row_id"])
    assert row["workspace_id"] == workspace_id(TARGET)
    assert TARGET not in access_csv([an_access()])


def a_result() -> Certification:
    rows = [an_access(name) for name in ("ann", "bea", "cat", "dan", "eve")]
    content = filled(rows, decide("remove", "keep", None, "keep", "drop"))
    now = (*rows[:3], an_access("fay", display_name="=1\x1b[31m"))
    found = imported(content, *now)
    return replace(found, unread=(("eu", "The token was refused."),))


def test_text_begins_with_the_counts_and_what_to_remove() -> None:
    text = certification_text(a_result(), FILES, 160)

    assert text.splitlines()[2] == (
        "1 to remove; 1 to keep; 1 without a decision; 1 without a row that counts; 1 without access by now; "
        "1 that can't be used; 1 not read"
    )
    assert text.index("To remove at the source (1)") < text.index("Without a decision (1)")
    assert "Remove ann in okta-main from: Planners." in text
    assert "Nothing was sent to Pigment or to a source." in text
    assert "\x1b" not in text


def test_csv_has_a_row_for_each_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(certification_csv(a_result(), bom=True).removeprefix("\ufeff"))))

    assert [row["result"] for row in rows] == ["remove", "undecided", "missing", "problem", "unread", "gone", "keep"]
    assert rows[2]["display_name"] == r"'=1\x1b[31m"


def test_json_has_the_groups_of_each_source() -> None:
    found = json.loads(json.dumps(certification_object(a_result(), FILES)))

    assert found["remove"][0]["grants"] == [
        {"connector": "okta-main", "id": "ann", "groups": ["Planners"], "individual": False}
    ]
    assert found["counts"]["without_reviewer"] == 0
    assert found["sheets"] == [{"name": "review.xlsx", "sha256": "0" * 64}]


def test_long_sections_are_cut_and_decisions_without_a_reviewer_named() -> None:
    rows = [an_access(f"p{number}") for number in range(205)]
    found = imported(filled(rows, decide(*["remove"] * 205, reviewer="")), *rows)
    text = certification_text(found, FILES, 160)

    assert "5 more: see --format csv" in text
    assert "205 decisions name no reviewer: review.xlsx, Access!L2" in text
    assert found.waits
