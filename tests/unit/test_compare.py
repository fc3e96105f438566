"""The difference of two readings, and how it is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.diff.compare import Comparer, ContradictoryRows, without_settled
from agent.model.comparison import ComparedField, Comparison, Difference, Entry, Subject
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.report.compare import (
    KEPT_ROWS,
    compare_document,
    compare_summary,
    compare_text,
    difference_count,
    kept_document,
)

AT = datetime(2026, 11, 27, 4, 2, 48, tzinfo=UTC)
EMAIL, NAME, STATUS = ComparedField.EMAIL, ComparedField.NAME, ComparedField.STATUS


def entry(key: str, email: str = "", **fields: str) -> Entry:
    return Entry(key, email, {ComparedField(name): value for name, value in fields.items()})


def compared(ours: list[Entry], theirs: list[Entry], **options: bool) -> Comparison:
    comparer = Comparer(ours, **options)
    for each in theirs:
        comparer.add(each)
    return comparer.result("latam", "okta-sdk", "people", AT)


def test_each_side_and_each_field_is_told_apart() -> None:
    found = compared(
        [entry("1", "a@x.com", status="ACTIVE", name="A"), entry("2", "b@x.com", status="ACTIVE", name="B")],
        [entry("2", "b@x.com", status="SUSPENDED", name="B"), entry("3", "c@x.com", status="ACTIVE", name="C")],
    )

    assert found.only_ours == (Subject("1", "a@x.com"),)
    assert found.only_theirs == (Subject("3", "c@x.com"),)
    assert found.different == (Difference("2", "b@x.com", "status", "ACTIVE", "SUSPENDED"),)
    assert (found.ours, found.theirs, found.count) == (2, 2, 3)
    assert found.fields == (NAME, STATUS)


def test_fields_that_only_one_reader_shows_are_not_compared() -> None:
    found = compared([entry("1", status="ACTIVE", name="A")], [entry("1", name="A", active="no")])

    assert (found.count, found.fields) == (0, (NAME,))


@pytest.mark.parametrize(
    ("field", "ours", "theirs", "is_same"),
    [
        ("email", "Ana@Acme.com", "ana@acme.COM", True),
        ("email", "ana@acme.com", "ana+x@acme.com", False),
        ("email", "a@müller.de", "a@xn--mller-kva.de", True),
        ("name", "Zoe\u0308  Ø", "Zoë Ø", True),
        ("name", "Ana", "ana", False),
        ("status", "ACTIVE", "active", False),
        ("groups", "1, 2", "1", False),
    ],
)
def test_values_are_compared_as_a_run_compares_them(field: str, ours: str, theirs: str, is_same: bool) -> None:
    name = ComparedField(field)

    found = compared([Entry("1", "", {name: ours})], [Entry("1", "", {name: theirs})])

    assert (found.count == 0) is is_same


def test_addresses_match_where_the_other_has_no_ids() -> None:
    ours = [entry("1", "Ana@Acme.com", name="Ana"), entry("2", "bo@acme.com", name="Bo")]

    found = compared(ours, [entry("", "ana@acme.com", name="Anna")], by_email=True)

    assert found.different == (Difference("1", "Ana@Acme.com", "name", "Ana", "Anna"),)
    assert found.only_ours == (Subject("2", "bo@acme.com"),)


def test_two_of_ours_with_one_address_are_both_there_and_not_compared() -> None:
    ours = [entry("1", "a@x.com", name="A"), entry("2", "a@x.com", name="B")]

    assert compared(ours, [entry("", "a@x.com", name="C")], by_email=True).count == 0
    assert len(compared(ours, [], by_email=True).only_ours) == 2


def test_whole_directory_may_have_others() -> None:
    found = compared([entry("1")], [entry("1"), entry("2"), entry("3")], is_whole_directory=True)

    assert (found.count, found.theirs) == (0, 3)
    assert compared([entry("1")], [entry("2")], is_whole_directory=True).only_ours == (Subject("1", ""),)


def test_repeated_row_counts_once_and_a_contradiction_is_refused() -> None:
    assert compared([entry("1", name="A")], [entry("1", name="A"), entry("1", name="A")]).theirs == 1
    with pytest.raises(ContradictoryRows, match="1 is there twice, with name 'A' and 'B'"):
        compared([entry("1", name="A")], [entry("1", name="A"), entry("1", name="B")])


def test_what_a_second_reading_settles_is_left_out() -> None:
    ours = [entry("1", name="A"), entry("2", name="B"), entry("3", name="C")]
    theirs = [entry("2", name="B2"), entry("3", name="C2"), entry("4", name="D")]
    found = compared(ours, theirs)

    # 1 left meanwhile, 4 came, 2 was renamed; 3 differs still.
    again = {each.id: each for each in [entry("2", name="B2"), entry("3", name="C"), entry("4", name="D")]}
    kept = without_settled(found, again)

    assert (kept.only_ours, kept.only_theirs) == ((), ())
    assert kept.different == (Difference("3", "", "name", "C", "C2"),)
    assert (found.count, kept.settled) == (4, 3)
    assert without_settled(found, {each.id: each for each in ours}).settled == 0


entries = st.lists(
    st.builds(
        lambda key, status, name: entry(str(key), f"{key}@x.com", status=status, name=name),
        st.integers(0, 12),
        st.sampled_from(["ACTIVE", "SUSPENDED"]),
        st.sampled_from(["A", "B"]),
    ),
    unique_by=lambda each: each.id,
)


@given(entries, entries, st.randoms(use_true_random=False), st.booleans())
def test_order_has_no_effect(ours: list[Entry], theirs: list[Entry], random: Random, by_email: bool) -> None:
    expected = compared(ours, theirs, by_email=by_email)
    random.shuffle(ours)
    random.shuffle(theirs)

    assert compared(ours, theirs, by_email=by_email) == expected


@given(entries, entries)
def test_the_difference_mirrors(ours: list[Entry], theirs: list[Entry]) -> None:
    there, back = compared(ours, theirs), compared(theirs, ours)

    assert (there.only_ours, there.only_theirs) == (back.only_theirs, back.only_ours)
    assert [(each.id, each.field, each.theirs, each.ours) for each in back.different] == [
        (each.id, each.field, each.ours, each.theirs) for each in there.different
    ]
    assert compared(ours, ours).count == 0


def many(count: int) -> Comparison:
    return compared([entry(f"{number:04}", f"{number}@x.com") for number in range(count)], [])


def test_document_has_the_promised_shape_with_its_keys_sorted() -> None:
    found = compared([entry("1", "a@x.com", name="A"), entry("2", "b@x.com")], [entry("1", "a@x.com", name="B")])

    document = compare_document(found)

    assert document == {
        "version": 1,
        "workspace": "latam",
        "with": "okta-sdk",
        "at": "2026-11-27T04:02:48Z",
        "ours": 2,
        "theirs": 1,
        "only_ours": [{"id": "2", "email": "b@x.com"}],
        "only_theirs": [],
        "different": [{"id": "1", "email": "a@x.com", "field": "name", "ours": "A", "theirs": "B"}],
    }
    assert orjson.dumps(document) == orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def test_text_shows_some_rows_of_each_list_and_how_many_are_left() -> None:
    text = compare_text(many(60), 100)

    assert "Only pigment-sync has these people:" in text
    assert "0019" in text
    assert "0020" not in text
    assert "… and 40 more, see --format json" in text
    assert text.endswith("60 differences.\n")


def test_text_is_safe_on_a_terminal() -> None:
    text = compare_text(compared([entry("1", "a\x1b[2J@x.com", name="A")], [entry("1", name="\x07")]), 100)

    assert "\x1b" not in text
    assert "\x07" not in text


def test_state_keeps_some_rows_and_the_numbers() -> None:
    document = kept_document(many(250))

    assert len(document["only_ours"]) == KEPT_ROWS  # type: ignore[arg-type]
    assert difference_count(document) == 250
    assert difference_count(compare_document(many(3))) == 3


@pytest.mark.parametrize(
    ("result", "document", "sentence"),
    [
        (
            VerificationResult.PASSED,
            kept_document(compared([entry("1")], [entry("1")])),
            "Compared with okta-sdk at 2026-11-27 04:02 UTC: the same 1 person.",
        ),
        (
            VerificationResult.DIFFERS,
            kept_document(many(250)),
            "Compared with okta-sdk at 2026-11-27 04:02 UTC: 250 differences (250 people and 0 people).",
        ),
        (
            VerificationResult.FAILED,
            {"error": "Okta does not answer."},
            "Compared with okta-sdk at 2026-11-27 04:02 UTC: not completed. Okta does not answer.",
        ),
        (VerificationResult.FAILED, {}, "Compared with okta-sdk at 2026-11-27 04:02 UTC: not completed."),
    ],
)
def test_summary_is_one_sentence(result: VerificationResult, document: dict[str, object], sentence: str) -> None:
    kept = Verification(
        workspace="latam",
        kind=VerificationKind.COMPARE,
        started_at=AT,
        result=result,
        subject="okta-sdk",
        document=document,
    )

    assert compare_summary(kept) == sentence
    assert "\x1b" not in compare_summary(replace(kept, subject="\x1b"))
