"""Parsing members, building request bodies, and verifying writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.errors import WriteError
from agent.model import Fields, Member
from agent.scim.codec import Page, member_from_json, page_from_json, page_from_response, scim_type
from agent.scim.payloads import create_payload, has_display_name, patch_payload, replace_payload
from agent.scim.verify import is_persisted, missing_fields
from connectors.base import IncompleteRead
from connectors.http import ApiResponse

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
attributes = st.sampled_from(
    ["id", "ID", "userName", "username", "displayName", "name", "emails", "active", "Active", "meta", "groups", "x"]
)
rows = st.dictionaries(attributes, json_values, max_size=8)


def a_member(**resource: Any) -> Member:
    member = member_from_json(
        {"id": "1", "userName": "ana@acme.com", "displayName": "Ana Lima", "active": True} | resource
    )
    assert member is not None
    return member


@pytest.mark.parametrize(
    ("shown", "active"),
    [
        (True, True), (False, False), ("True", True), ("true", True), ("FALSE", False), (" false ", False),
        (1, True), (0, False), ("1", True), ("0", False), (None, None), ("yes", None), (2, None), ([], None),
        (1.0, None),
    ],
)  # fmt: skip
def test_active_is_read_in_every_way_that_servers_write_it(shown: object, active: bool | None) -> None:
    assert a_member(active=shown).active is active


@pytest.mark.parametrize(
    ("shown", "scim_id"), [("a/b", "a/b"), (7, "7"), (1.5, "1.5"), (True, "true"), (" ", " "), ("\x00", "\x00")]
)
def test_id_is_any_scalar(shown: object, scim_id: str) -> None:
    assert a_member(id=shown).scim_id == scim_id


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ({"displayName": "Ana"}, "Ana"),
        ({"displayName": "", "name": {"formatted": "A"}}, ""),
        ({"displayName": None, "name": {"formatted": "Ana L", "givenName": "A", "familyName": "L"}}, "Ana L"),
        ({"displayName": None, "name": {"givenName": "Ana", "familyName": "Lima"}}, "Ana Lima"),
        ({"displayName": None, "name": {"GIVENNAME": "Ana", "familyName": ""}}, "Ana"),
        ({"displayName": None, "name": "Ana"}, ""),
        ({"displayName": None}, ""),
    ],
)
def test_display_name_is_what_the_workspace_shows_people(resource: dict[str, object], name: str) -> None:
    assert a_member(**resource).display_name == name


@given(json_values | rows)
def test_any_row_is_a_member_or_none(row: object) -> None:
    member = member_from_json(row)

    if member is not None:
        assert isinstance(row, dict)
        assert member.scim_id
        assert orjson.loads(member.resource) == row


def test_member_is_sent_back_without_what_only_the_server_sets() -> None:
    member = a_member(Meta={"version": "v1"}, groups=[{"value": "g1"}], title="Planner")

    sent = replace_payload(member, Fields(), active=True)
    assert sent["title"] == "Planner"
    assert not {"Meta", "groups"} & sent.keys()
    assert member.etag == "v1"


def response(body: bytes) -> ApiResponse:
    return ApiResponse(200, httpx.Headers(), httpx.URL("https://pigment.app/scim/v2/Users"), body)


DOCUMENTED: dict[str, Any] = {
    "id": "1",
    "userName": "ana@acme.com",
    "displayName": "Ana Lima",
    "active": True,
    "name": {"formatted": "Ana Lima"},
    "meta": {"resourceType": "User"},
}
WITHOUT_META = {key: value for key, value in DOCUMENTED.items() if key != "meta"}
nested = st.tuples(
    st.sampled_from(["name", "Name", "meta", "META"]),
    st.none()
    | st.dictionaries(st.sampled_from(["formatted", "Formatted", "givenName", "version", "VERSION"]), json_values),
)
changed_rows = st.builds(
    lambda changes, absent, inner: {
        key: value for key, value in (DOCUMENTED | changes | dict(inner)).items() if key not in absent
    },
    rows,
    st.sets(st.sampled_from(sorted(DOCUMENTED)), max_size=3),
    st.lists(nested, max_size=2),
)


@given(st.lists(changed_rows | json_values, max_size=3), st.sampled_from(["Resources", "resources"]))
@example([DOCUMENTED | {"meta": {"Version": "v1"}}], "Resources")
@example([WITHOUT_META | {"Meta": {"version": "v1"}}], "Resources")
@example([DOCUMENTED | {"name": {"FORMATTED": "A"}}], "Resources")
@example([DOCUMENTED | {"active": "True"}, DOCUMENTED], "Resources")
@example([DOCUMENTED | {"id": ""}], "Resources")
def test_page_is_read_the_same_from_its_text_and_from_what_it_decodes_to(listed: list[object], key: str) -> None:
    document = {key: listed, "totalResults": len(listed), "nextcursor": "c1"}

    read, whole = page_from_response(response(orjson.dumps(document)), "Pigment"), page_from_json(document, "Pigment")

    assert read == whole
    assert [(each.etag, orjson.loads(each.resource)) for each in read.members] == [
        (each.etag, orjson.loads(each.resource)) for each in whole.members
    ]


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"Resources": {}}', b'{"Resources": null}', b'\xef\xbb\xbf{"Resources": [{"id": "1"}]}']
)
def test_odd_page_is_read_as_its_document(body: bytes) -> None:
    def outcome(read: Callable[[], Page]) -> object:
        try:
            return read()
        except IncompleteRead as error:
            return error.message

    page = response(body)
    assert outcome(lambda: page_from_response(page, "Pigment")) == outcome(
        lambda: page_from_json(page.json(), "Pigment", page.request_id_label)
    )


@pytest.mark.parametrize(("name", "read"), [("half \\ud83d", "half \ufffd"), ("pair \\uD83E\\uDD8A", "pair 🦊")])
def test_name_with_surrogates_is_read_with_its_page(name: str, read: str) -> None:
    row = orjson.dumps(DOCUMENTED).replace(b'"displayName":"Ana Lima"', f'"displayName":"{name}"'.encode())
    (member,) = page_from_response(response(b'{"Resources":[%b],"totalResults":1}' % row), "Pigment").members
    assert member.display_name == read
    assert replace_payload(member, Fields(), active=False)["displayName"] == read


@pytest.mark.parametrize("value", [b"1e999", b"[" * 400 + b"]" * 400])
def test_member_that_can_not_be_sent_back_is_read_and_fails_alone(value: bytes) -> None:
    both = [orjson.dumps(DOCUMENTED | {"id": scim_id}) for scim_id in "12"]
    both[0] = both[0][:-1] + b',"x":%b}' % value
    body = b'{"Resources":[%b],"totalResults":2}' % b",".join(both)

    odd, other = page_from_response(response(body), "Pigment").members

    assert patch_payload(odd, display_name=None, active=False)["Operations"]
    assert replace_payload(other, Fields("new@acme.com"), active=True)["userName"] == "new@acme.com"
    with pytest.raises(WriteError, match=r"ana@acme\.com with an attribute that can't be sent back") as raised:
        replace_payload(odd, Fields("new@acme.com"), active=True)
    assert raised.value.hint.endswith("with the SCIM id 1.")


@given(json_values | st.dictionaries(st.sampled_from(["Resources", "totalResults", "nextCursor"]), json_values))
def test_any_page_is_read_or_refused(document: object) -> None:
    try:
        page = page_from_json(document, "Pigment")
    except IncompleteRead:
        return
    assert page.row_count == len(page.members) + page.unreadable_count
    assert page.total is None or page.total >= 0


@given(rows, st.booleans(), st.none() | st.emails(), st.none() | st.text())
def test_put_sends_email_and_active_for_any_resource(
    row: dict[str, Any], active: bool, email: str | None, display_name: str | None
) -> None:
    member = member_from_json({"id": "1"} | row)
    if member is None:
        return

    body = replace_payload(member, Fields(email, display_name), active)
    again = member_from_json(body)

    assert again is not None
    assert is_persisted(again, Fields(email, display_name, active))
    assert {key.lower() for key in body}.isdisjoint({"meta", "groups"})
    names = [key.lower() for key in body if key.lower() != "id"]
    assert len(set(names)) == len(names)
    for name in ("userName", "displayName", "name", "emails", "active", "schemas"):
        assert name in body


@given(st.none() | st.text(), st.none() | st.booleans(), st.none() | st.text())
def test_patch_never_names_an_email(display_name: str | None, active: bool | None, formatted: str | None) -> None:
    member = Member("1", "ana@acme.com", "Ana", True, formatted=formatted)

    body: Any = patch_payload(member, display_name=display_name, active=active)

    assert {operation["path"] for operation in body["Operations"]} <= {"active", "displayName", "name.formatted"}
    assert {operation["op"] for operation in body["Operations"]} <= {"replace"}


@pytest.mark.parametrize(
    ("shown", "written"),
    [
        (None, [{"value": "new@acme.com", "primary": True, "type": "work"}]),
        ([], [{"value": "new@acme.com", "primary": True, "type": "work"}]),
        ([{"value": "ana@acme.com", "type": "work"}], [{"value": "new@acme.com", "type": "work"}]),
        ([{"value": "ANA@acme.com", "primary": True}], [{"value": "new@acme.com", "primary": True}]),
        (
            [{"value": "old@acme.com", "type": "Work"}, {"value": "ana@home.example", "type": "home"}],
            [{"value": "new@acme.com", "type": "Work"}, {"value": "ana@home.example", "type": "home"}],
        ),
        (
            [{"value": "x@acme.com", "type": "work"}, {"value": "ana@acme.com", "type": "work"}],
            [{"value": "x@acme.com", "type": "work"}, {"value": "new@acme.com", "type": "work"}],
        ),
        (
            [{"value": "ana@home.example", "type": "home", "primary": True}],
            [
                {"value": "ana@home.example", "type": "home", "primary": True},
                {"value": "new@acme.com", "primary": False, "type": "work"},
            ],
        ),
    ],
)
def test_put_has_the_new_email_as_the_one_for_work(shown: object, written: object) -> None:
    assert replace_payload(a_member(emails=shown), Fields("new@acme.com"), True)["emails"] == written


@pytest.mark.parametrize(
    ("shown", "written"),
    [
        (None, {"formatted": "Ana Maria Souza"}),
        ({"formatted": "Ana Lima"}, {"formatted": "Ana Maria Souza"}),
        ({"givenName": "Ana", "familyName": "Lima"}, {"givenName": "Ana Maria", "familyName": "Souza"}),
        ({"givenName": "A.", "familyName": "L."}, {"givenName": "A.", "familyName": "L."}),
        (
            {"givenName": "Ana", "familyName": "Lima", "formatted": "Ana Lima", "middleName": "M"},
            {"givenName": "Ana Maria", "familyName": "Souza", "formatted": "Ana Maria Souza", "middleName": "M"},
        ),
    ],
)
def test_put_has_the_new_name_wherever_the_old_one_was_shown(shown: object, written: object) -> None:
    body = replace_payload(a_member(name=shown), Fields(display_name="Ana Maria Souza"), True)

    assert (body["displayName"], body["name"]) == ("Ana Maria Souza", written)


def test_put_without_a_new_name_leaves_the_name_alone() -> None:
    name = {"givenName": "Ana", "familyName": "Lima"}

    assert replace_payload(a_member(name=name), Fields("new@acme.com"), True)["name"] == name


def test_put_writes_attributes_once_in_whatever_case_they_came() -> None:
    member = member_from_json({"id": "1", "USERNAME": "ana@acme.com", "ACTIVE": True, "x": 1})
    assert member is not None

    body = replace_payload(member, Fields("new@acme.com"), False)

    assert (body["userName"], body["active"], body["x"]) == ("new@acme.com", False, 1)
    assert not {"USERNAME", "ACTIVE"} & body.keys()


def test_create_is_proved_by_its_own_body() -> None:
    member = member_from_json(create_payload("Ana@acme.com", "Ana", "", "") | {"id": "1"})

    assert member is not None
    assert is_persisted(member, Fields("ana@ACME.com", "Ana", True))


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        (Fields(), []),
        (Fields("ANA@ACME.COM", " Ana  Lima", True), []),
        (Fields("bea@acme.com", "Bea", False), ["userName", "displayName", "active"]),
        (Fields(display_name="ana lima"), ["displayName"]),
    ],
)
def test_proof_compares_emails_folded_and_names_as_written(wanted: Fields, missing: list[str]) -> None:
    assert missing_fields(a_member(), wanted) == missing


def test_member_without_an_active_status_proves_neither() -> None:
    member = a_member(active=None)

    assert not is_persisted(member, Fields(active=True))
    assert not is_persisted(member, Fields(active=False))


def test_display_name_is_shown_or_made_up() -> None:
    assert has_display_name(a_member())
    assert not has_display_name(a_member(displayName=None))


@pytest.mark.parametrize(
    ("shown", "total"), [(0, 0), (7, 7), ("7", 7), (-1, None), ("-1", None), ("7.0", None), (7.0, None), (True, None)]
)
def test_total_is_a_count_or_unknown(shown: object, total: int | None) -> None:
    assert page_from_json({"totalResults": shown}, "Pigment").total == total


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"scimType": "uniqueness"}, "uniqueness"),
        ({"SCIMTYPE": "x"}, "x"),
        ({"scimType": "a b"}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_scim_type_is_a_plain_word_or_nothing(body: object, word: str) -> None:
    assert scim_type(body) == word
