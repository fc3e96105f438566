"""Answers in a recording: the fields that a plan reads and no other, and nothing of an original in them."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from random import Random
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.recording.address import OTHER_ORIGIN, AnswerVisitor, System
from agent.recording.fields import keep_answer
from agent.recording.pseudonyms import Collector, Replacements

BASES = {
    "okta": "https://acme-corp.okta.example",
    "entra": "https://graph.tenant.example",
    "onelogin": "https://acme-corp.onelogin.example",
    "pigment": "https://pigment.example/acme-corp/scim/v2",
}
SECRET = "Confidential"
OKTA = {
    "id": "00u1a2b3c4d5e6f7g8h9",
    "status": "ACTIVE",
    "lastLogin": "2026-11-20T08:00:00.000Z",
    "scope": "GROUP",
    "profile": {
        "login": "ana.souza@acme.com",
        "displayName": "Ana Souza",
        "firstName": "Ana",
        "lastName": "Souza",
        "secondEmail": None,
        "confidentialCode": SECRET,
    },
    "_embedded": {"user": {"id": "00u1a2b3c4d5e6f7g8h9", "status": "SUSPENDED", "profile": {"login": ""}}},
    "_links": {"group": {"href": "https://acme-corp.okta.example/api/v1/groups/00g1a2b3c4d5e6f7g8h9"}},
}
MEMBER = {
    "ID": "11111111-2222-3333-4444-555555555555",
    "userName": "Ana.Souza@acme.com",
    "displayName": "Ana Souza",
    "Active": "True",
    "name": {"formatted": "Ana Souza", "givenName": "Ana", "familyName": "Souza"},
    "urn:acme:confidential": {"manager": SECRET},
    "meta": {"location": "https://pigment.example/acme-corp/scim/v2/Users/1"},
}


def kept(system: str, document: object) -> object:
    visitor = Collector()
    where = System("system-1", system, BASES[system])
    keep_answer(document, system, AnswerVisitor(visitor, where))
    return keep_answer(document, system, AnswerVisitor(Replacements(visitor, Random(1)), where))


def test_a_row_keeps_its_shape_and_its_words() -> None:
    row = kept("okta", [OKTA])
    assert isinstance(row, list)
    (shown,) = row
    assert (shown["status"], shown["scope"]) == ("ACTIVE", "GROUP")
    assert shown["_embedded"]["user"]["status"] == "SUSPENDED"
    assert shown["_embedded"]["user"]["id"] == shown["id"] != OKTA["id"]
    assert shown["profile"]["secondEmail"] is None
    assert shown["profile"]["displayName"] == f"{shown['profile']['firstName']} {shown['profile']['lastName']}"
    assert shown["_links"]["group"]["href"].rpartition("/")[2].startswith("00g")
    assert SECRET not in str(row)
    assert "2026" not in str(row)
    assert "confidential" not in str(row).lower()


def test_a_member_keeps_the_spelling_of_its_attributes() -> None:
    shown = kept("pigment", {"totalResults": "1", "Resources": [MEMBER], "nextCursor": "YW5hLnNvdXph"})
    assert isinstance(shown, dict)
    (member,) = shown["Resources"]
    assert list(member) == ["ID", "userName", "displayName", "Active", "name"]
    assert member["Active"] == "True"
    assert shown["totalResults"] == "1"
    assert member["displayName"] == member["name"]["formatted"]
    assert shown["nextCursor"].startswith("cursor-")


@pytest.mark.parametrize("odd", [None, True, 5, 1.5, "text", [], [1], {}, {"a": 1}])
def test_a_row_of_another_type_stays_one(odd: object) -> None:
    for system in BASES:
        shown = kept(system, [odd])
        assert isinstance(shown, list)
        assert type(shown[0]) is type(odd) or isinstance(odd, float)


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), ("TRUE", "TRUE"), (0, 0), (5, 999), ("Ana", "?"), (None, None), ("", "")]
)
def test_a_flag_keeps_what_can_be_read(value: object, expected: object) -> None:
    shown = kept("pigment", {"Resources": [{"id": 1, "active": value}]})
    assert isinstance(shown, dict)
    assert shown["Resources"][0]["active"] == expected


def test_an_id_keeps_its_type() -> None:
    shown = kept("onelogin", [{"id": 12345, "role_ids": [7, "7", None]}, {"id": "12345"}])
    assert isinstance(shown, list)
    assert isinstance(shown[0]["id"], int)
    assert str(shown[0]["id"]) == shown[1]["id"]
    assert shown[0]["role_ids"][0] == int(shown[0]["role_ids"][1])
    assert shown[0]["role_ids"][2] is None


def visitors(system: str, *urls: str) -> AnswerVisitor:
    where, seen = System("system-1", system, BASES[system]), Collector()
    for url in urls:
        AnswerVisitor(seen, where).link(url)
    return AnswerVisitor(Replacements(seen, Random(1)), where)


def test_the_address_of_a_next_page_has_a_made_up_origin_ids_and_cursor() -> None:
    link = f"{BASES['okta']}/api/v1/apps/0oa1a2b3c4d5e6f7g8h9/users?after=ana%40acme.com&limit=500&expand=user"
    shown = visitors("okta", link).link(link)
    assert re.fullmatch(
        r"https://system-1\.example/api/v1/apps/0oa\w{17}/users\?after=cursor-\w+&limit=500&expand=user", shown
    )


def test_a_link_to_another_server_stays_one() -> None:
    for link in (
        "https://evil.example/api/v1/apps",
        "http://acme-corp.okta.example/api/v1/apps",
        "https://ana@acme-corp.okta.example/api",
    ):
        assert visitors("okta", link).link(link).startswith(OTHER_ORIGIN)


def test_a_workspace_address_begins_after_its_scim_url() -> None:
    link = f"{BASES['pigment']}/Users?startIndex=1&count=100"
    assert visitors("pigment", link).link(link) == "https://system-1.example/Users?startIndex=1&count=100"


WORDS = st.one_of(
    st.sampled_from(
        [
            "ACTIVE",
            "example",
            "userName",
            "connector",
            "cursor",
            "Souza",
            "a@acme.com",
            "O'Brien %40",
            '"quoted"',
            "x" * 300,
            "\x07bell",
            "YW5hLnNvdXph",
        ]
    ),
    st.text(min_size=1, max_size=12),
    st.text("bcdfgh", min_size=5, max_size=9),
)
VALUES = st.one_of(WORDS, st.none(), st.booleans(), st.integers(-5, 10**12), st.lists(WORDS, max_size=2))
FIELDS = (
    *("id", "login", "email", "status", "displayName", "userName", "label", "firstname", "name", "username", "href"),
    *("userPrincipalName", "mail", "principalId", "principalType", "principalDisplayName", "otherMails", "custom"),
    *("proxyAddresses", "visibility", "@odata.type", "errorCode", "scimType", "active", "state"),
)
USERS = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, VALUES))
ROWS = st.builds(
    lambda user, inner: {
        **user,
        "profile": inner,
        "_embedded": {"user": user, "group": inner},
        "_links": {"group": inner},
    },
    USERS,
    USERS,
)
VOCABULARY = {
    *("active", "true", "false", "guest", "member", "public", "private", "user", "group", "hiddenmembership"),
    *("example", "connector", "cursor", "groups", "word", "https", "microsoft", "graph", "serviceprincipal"),
    *("suspended", "staged", "status", "device", "pigment", "support", "http", "odata", "system"),
}


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)


@pytest.mark.parametrize("system", BASES)
@pytest.mark.parametrize(
    "value", [SECRET, [SECRET], {"value": SECRET}, f"smtp:{SECRET}@{SECRET}.com", f"#{SECRET}.user"]
)
def test_no_field_shows_its_original(system: str, value: object) -> None:
    inner = dict.fromkeys(FIELDS, value)
    row = {**inner, "profile": inner, "_embedded": {"user": inner, "group": inner}, "_links": {"group": inner}}
    for answer in ([row], row, {"value": [row]}, {"Resources": [row]}):
        assert SECRET.lower() not in str(kept(system, answer)).lower()


@given(st.sampled_from(sorted(BASES)), st.lists(ROWS, max_size=3), WORDS)
def test_no_original_is_in_an_answer(system: str, rows: list[dict[str, object]], cursor: str) -> None:
    """Neither as it is, nor case-folded, percent-encoded or in base64. The names of known fields are not originals."""
    answer = {"value": rows, "Resources": rows, "nextCursor": cursor, "@odata.nextLink": f"{BASES['entra']}/{cursor}"}
    shown = "\n".join(texts(kept(system, answer))).casefold()
    shown += "\n".join(texts(kept(system, rows))).casefold()
    for original in texts(answer):
        forms = {original, quote(original, safe=""), b64encode(original.encode()).decode().rstrip("=")}
        forms |= {urlsafe_b64encode(original.encode()).decode().rstrip("="), orjson.dumps(original).decode()[1:-1]}
        for form in forms:
            for part in re.findall(r"[^\W_]{4,}", form.casefold()):
                # A part of a known word is no original either.
                assert part not in shown or any(part in word for word in VOCABULARY), (part, original)
