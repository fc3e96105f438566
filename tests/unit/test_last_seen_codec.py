"""The stored members of the last run: decoded in parts, with shared texts."""

from __future__ import annotations

import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import LastSeen, Link, Member
from agent.store.codec import ROWS_AT_ONCE, changed_since_from_bytes, last_seen_from_bytes, last_seen_to_bytes
from connectors.base import PersonKey

TEXTS = st.text(max_size=8) | st.text(alphabet='],[" \\x', max_size=8)
MEMBERS = st.lists(
    st.builds(
        LastSeen,
        scim_id=TEXTS,
        email=TEXTS,
        display_name=TEXTS,
        active=st.booleans() | st.none(),
        person=st.builds(PersonKey, TEXTS, TEXTS) | st.none(),
        groups=st.lists(TEXTS, max_size=3).map(tuple),
    ),
    max_size=6,
)


def last_seen(
    scim_id: str, email: str, name: str, person: PersonKey | None = None, groups: tuple[str, ...] = ()
) -> LastSeen:
    return LastSeen(scim_id=scim_id, email=email, display_name=name, active=True, person=person, groups=groups)


@given(MEMBERS, st.integers(1, 100))
def test_members_come_back_from_parts_of_any_size(members: list[LastSeen], part_bytes: int) -> None:
    assert last_seen_from_bytes(last_seen_to_bytes(members), part_bytes=part_bytes) == tuple(members)


@pytest.mark.parametrize("text", ["x]],[", ']],["', '"]],["x', "]],[,", "x]]", ""])
def test_text_that_looks_like_the_end_of_a_row_is_only_a_text(text: str) -> None:
    members = [last_seen(f"{text}{number}", text, text, PersonKey(text, text), (text,)) for number in range(20)]

    for part_bytes in range(1, 60):
        assert last_seen_from_bytes(last_seen_to_bytes(members), part_bytes=part_bytes) == tuple(members)


@pytest.mark.parametrize("size", [0, 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 2 * ROWS_AT_ONCE])
def test_members_are_stored_as_one_list_whatever_their_number(size: int) -> None:
    members = [last_seen(f"m{number}", f"{number}@acme.com", "Ana") for number in range(size)]

    stored = last_seen_to_bytes(members)

    rows: list[list[object]] = [[each.scim_id, each.email, each.display_name, True, None, []] for each in members]
    # The bytes are compared with those of the last run, which another release may have written at once.
    assert stored == zlib.compress(orjson.dumps(rows))
    assert last_seen_from_bytes(stored) == tuple(members)


def test_stored_members_that_are_cut_off_are_an_error() -> None:
    stored = last_seen_to_bytes([last_seen("m1", "ana@acme.com", "Ana")])

    with pytest.raises(zlib.error):
        last_seen_from_bytes(stored[:-3])


def test_ids_of_links_are_shared_where_they_are_the_same() -> None:
    stored = last_seen_to_bytes(
        [
            last_seen("m1", "ana@acme.com", "Ana", PersonKey("okta", "p1")),
            last_seen("m2", "ben@acme.com", "Ben", PersonKey("okta", "p2")),
        ]
    )
    link = Link(PersonKey("okta", "p1"), "m1")

    first, second = last_seen_from_bytes(stored, [link])

    assert first.person is link.person
    assert second.person == PersonKey("okta", "p2")


LISTED = st.lists(
    st.tuples(TEXTS, st.sampled_from(["a", "b"]), st.sampled_from(["a", "b"]), st.sampled_from([True, False, None])),
    unique_by=lambda row: row[0],
    max_size=6,
)


@given(LISTED, LISTED, st.integers(1, 100))
def test_members_that_the_listing_shows_unchanged_are_left_out(
    left: list[tuple[str, str, str, bool | None]], shown: list[tuple[str, str, str, bool | None]], part_bytes: int
) -> None:
    members = [LastSeen(*row, PersonKey("okta", f"p{row[0]}"), ("Planners",)) for row in left]
    # Few of the drawn ids are in both.
    both = {**{row[0]: Member(*row) for row in left[:3]}, **{row[0]: Member(*row) for row in shown}}
    same = {row[0] for row in left if row[0] in both and Member(*row) == both[row[0]]}

    found = changed_since_from_bytes(last_seen_to_bytes(members), both, part_bytes)

    new = frozenset(both.keys() - {row[0] for row in left})
    assert found == (tuple(each for each in members if each.scim_id not in same), new)
