"""Every state returns any text exactly as it was written."""

from __future__ import annotations

import random
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Change, Fields, GroupRef, Kind, LastSeen, Link
from agent.model.email import normalize
from agent.model.run import Pause
from agent.ports.state import State
from agent.store.codec import change_from_json, change_to_json, link_from_json, link_to_json
from agent.store.text import address_key, escape, unescape
from connectors.base import PersonKey
from tests.state_samples import NOW, a_change, a_run, begun, done

HOSTILE = [
    "nul \0 inside",
    "back\\slash \\u0000",
    "\u202eright to left",
    "\x1b[31mred",
    "'; DROP TABLE links; --",
    "💣 %s",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_returned_unchanged(text: str, state: State) -> None:
    person = PersonKey(text, f"{text} id")
    link = Link(person, f"{text} member", (GroupRef(text, text),))
    lease = await state.take_lease(text, text)
    await state.begin_run(replace(a_run("r1", text), by=text, reason=text), lease)
    change = replace(a_change(email=f"{text}@acme.com", scim_id=link.scim_id), person=person, display_name=text)
    record = replace(done(change), detail=text)
    await state.record_intent(lease, "r1", 0, change)
    await state.record_answer(lease, record, link)
    await state.update_memory(lease, (), frozenset({(person, text)}), {(text, text): (text, 3)})
    left = (LastSeen(scim_id=text, email=text, display_name=text, active=True, person=person, groups=(text,)),)
    await state.record_last_seen(lease, "r1", left)
    await state.set_pause(text, Pause(NOW, text, text))
    run, memory = await state.load_run("r1"), await state.load_memory(text)

    assert run is not None
    assert (run.workspace, run.by, run.reason) == (text, text, text)
    assert (memory.links, memory.possible_renames, memory.last_seen) == ((link,), frozenset({(person, text)}), left)
    assert await state.load_changes("r1") == [record]
    assert await state.load_member_changes(text, email=f"{text}@acme.com") == [record]
    assert await state.load_member_changes(text, scim_id=link.scim_id) == [record]
    assert await state.load_baselines(text, NOW) == {(text, text): (text, 3)}
    assert await state.load_pause(text) == Pause(NOW, text, text)


async def test_half_a_pair_of_utf16_in_a_reason_is_kept(state: State) -> None:
    """A command-line argument in another encoding than that of the terminal arrives like this."""
    await begun(state, replace(a_run(), reason="caf\udce9"))
    run = await state.load_run("r1")

    assert run is not None
    assert run.reason == "caf\udce9"


async def test_endless_address_is_found_again(state: State) -> None:
    lease = await begun(state)
    # Random letters, since an index entry is compressed before its length is checked.
    email = "".join(random.Random(1).choices(string.ascii_letters, k=20_000)) + "@acme.com"
    record = done(a_change(email=email))
    await state.record_answer(lease, record)

    assert await state.load_member_changes("latam", email=email.upper()) == [record]
    assert await state.load_member_changes("latam", email=f"x{email}") == []


@given(st.text(st.characters()))
def test_escaping_is_undone(text: str) -> None:
    there = escape(text)

    assert unescape(there) == text
    assert "\0" not in there
    there.encode()


@given(st.emails())
def test_ordinary_address_is_its_own_key(email: str) -> None:
    assert address_key(email) == normalize(email)


texts = st.text(st.characters(exclude_categories=["Cs"]))
fields = st.builds(Fields, st.none() | texts, st.none() | texts, st.none() | st.booleans())
keys = st.builds(PersonKey, texts, texts)


@given(
    st.builds(
        Change,
        kind=st.sampled_from(Kind),
        email=texts,
        display_name=texts,
        scim_id=st.none() | texts,
        person=st.none() | keys,
        before=fields,
        after=fields,
        code=texts,
        reason=texts,
        group_refs=st.lists(st.builds(GroupRef, texts, texts)).map(tuple),
        waits_for=st.none() | texts,
        given_name=texts,
        family_name=texts,
    )
)
def test_change_survives_the_journal(change: Change) -> None:
    assert change_from_json(change_to_json(change)) == change


groups = st.lists(st.builds(GroupRef, texts, texts)).map(tuple)


@given(st.none() | st.builds(Link, keys, texts, groups, st.integers(0, 9)))
def test_link_survives_the_journal(link: Link | None) -> None:
    assert link_from_json(link_to_json(link)) == link
