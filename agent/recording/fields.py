"""What a recording keeps of a JSON answer: an allow-list of the fields that a plan reads, by provider.

A field that is not listed is left out, its name too: custom attributes may name the company. A listed field keeps its
type, and what is empty stays empty; everything else of a text is replaced. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.recording.address import AnswerVisitor as Visitor

__all__ = ["keep_answer"]

Convert = Callable[[Visitor, object], object]

LARGEST_COUNT = 10**12
MAX_COUNT_DIGITS = 15
LARGEST_WORD_NUMBER = 99
OTHER_NUMBER, OTHER_TEXT = 999, "?"
BOOLEAN_WORDS = frozenset({"true", "false", "1", "0"})

OKTA_STATUSES = (
    "ACTIVE",
    "PASSWORD_EXPIRED",
    "LOCKED_OUT",
    "RECOVERY",
    "PROVISIONED",
    "ACTIVATING",
    "STAGED",
    "SUSPENDED",
    "DEPROVISIONED",
    "INACTIVE",
    "DELETED",
)
GRAPH_TYPES = ("user", "group", "device", "servicePrincipal", "orgContact", "directoryRole", "administrativeUnit")
GRAPH_CODES = (
    "Authorization_RequestDenied",
    "Directory_ExpiredPageToken",
    "Directory_ResyncRequired",
    "Request_BadRequest",
    "Request_ResourceNotFound",
    "Request_UnsupportedQuery",
    "resyncRequired",
    "syncStateInvalid",
    "syncStateNotFound",
    "InvalidAuthenticationToken",
    "TooManyRequests",
)
SCIM_TYPES = (
    "invalidFilter",
    "tooMany",
    "uniqueness",
    "invalidValue",
    "expiredCursor",
    "invalidCursor",
    "invalidCount",
)


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object: its known fields by name, in lower case where *ignores_case*."""

    fields: Mapping[str, Field]
    ignores_case: bool = False

    def field(self, name: str) -> Field | None:
        return self.fields.get(name.lower() if self.ignores_case else name)


@dataclass(frozen=True, slots=True)
class Rows:
    """A JSON array."""

    row: Field


@dataclass(frozen=True, slots=True)
class Choice:
    """A field that is an object in one answer and a plain value in another."""

    fields: Fields
    plain: Convert


Field = Fields | Rows | Choice | Convert


def keep_fields(document: object, kept: Field, visitor: Visitor) -> object:
    """Return *document* with the fields that *kept* lists, and every value replaced by *visitor*."""
    if isinstance(kept, Choice):
        kept = kept.fields if isinstance(document, dict) else kept.plain
    if isinstance(kept, Rows) and isinstance(document, list):
        return [keep_fields(row, kept.row, visitor) for row in document]
    if isinstance(kept, Fields) and isinstance(document, dict):
        named = ((name, value, kept.field(name)) for name, value in document.items())
        return {name: keep_fields(value, known, visitor) for name, value, known in named if known is not None}
    if isinstance(kept, Rows | Fields) or isinstance(document, dict | list):
        return _placeholder(document)
    return kept(visitor, document)


def _placeholder(value: object) -> object:
    """Return a value of the same type without its content."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return OTHER_TEXT if value.strip() else value
    if isinstance(value, list | dict):
        return type(value)()
    return 0


def _text(replace: Callable[[Visitor, str], str]) -> Convert:
    def convert(visitor: Visitor, value: object) -> object:
        return replace(visitor, value) if isinstance(value, str) else _placeholder(value)

    return convert


def _id(visitor: Visitor, value: object) -> object:
    """Return an id of the same type: text, integer or another number."""
    if isinstance(value, str):
        return visitor.id(value)
    if isinstance(value, bool) or value is None:
        return value
    made = visitor.id(str(value))
    if not made:
        return 0
    return int(made) if isinstance(value, int) else _float(made)


def _float(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return 0.5


def _flag(_: Visitor, value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if not value.strip() or value.strip().lower() in BOOLEAN_WORDS else OTHER_TEXT
    return value if value in (0, 1) and isinstance(value, int) else OTHER_NUMBER


def _count(_: Visitor, value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        is_count = value.isascii() and value.isdigit() and len(value) <= MAX_COUNT_DIGITS
        return value if is_count or not value.strip() else OTHER_TEXT
    if isinstance(value, int):
        return max(-1, min(value, LARGEST_COUNT))
    return 0.5


def _word_number(_: Visitor, value: object) -> object:
    """Return a number that stands for a word, such as a status."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) <= MAX_COUNT_DIGITS
        if not is_number:
            return value if not value.strip() else OTHER_TEXT
        return value if int(value) <= LARGEST_WORD_NUMBER else str(OTHER_NUMBER)
    if isinstance(value, int):
        return value if -1 <= value <= LARGEST_WORD_NUMBER else OTHER_NUMBER
    return 0.5


def _word(*known: str, ignores_case: bool = False) -> Convert:
    """Return what keeps the *known* words, and replaces any other."""
    words = frozenset(each.lower() if ignores_case else each for each in known)

    def convert(visitor: Visitor, value: object) -> object:
        if not isinstance(value, str):
            return _placeholder(value)
        core = value.strip()
        return value if not core or (core.lower() if ignores_case else core) in words else visitor.word(value)

    return convert


def _okta_error(visitor: Visitor, value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"E[0-9]{7}", value):
        return value
    return _text(lambda each, text: each.word(text))(visitor, value)


def _graph_type(visitor: Visitor, value: object) -> object:
    """Return the type of a row: `#microsoft.graph.user`. A kind that is not known stays one that is not."""
    if not isinstance(value, str):
        return _placeholder(value)
    front, dot, kind = value.strip().rpartition(".")
    is_known = kind.lower() in {each.lower() for each in GRAPH_TYPES}
    shown = kind if is_known or not kind else visitor.word(kind)
    return f"#microsoft.graph.{shown}" if front or dot else shown


def _proxy_address(visitor: Visitor, text: str) -> str:
    """Return an entry of `proxyAddresses`. Only those of `smtp:` are addresses."""
    core = text.lstrip()
    prefix, colon, rest = core.partition(":")
    if colon and prefix.lower() == "smtp":
        return text[: len(text) - len(core)] + prefix + colon + visitor.email(rest)
    return visitor.word(text)


def _last_segment(visitor: Visitor, text: str) -> str:
    """Return a link to a group: only its last segment, an id, is read."""
    segment = text.strip().rstrip("/").rpartition("/")[2]
    return f"https://connector.example/groups/{visitor.id(segment)}" if segment else ""


def _schemas(_: Visitor, value: object) -> object:
    return value if value is None else OTHER_TEXT


ID: Convert = _id
EMAIL = _text(lambda visitor, text: visitor.email(text))
NAME = _text(lambda visitor, text: visitor.name(text))
CURSOR = _text(lambda visitor, text: visitor.cursor(text))
NEXT_LINK = _text(lambda visitor, text: visitor.link(text))

_OKTA_PROFILE = Fields(
    {
        "login": EMAIL,
        "email": EMAIL,
        "displayName": NAME,
        "firstName": NAME,
        "lastName": NAME,
        "secondEmail": EMAIL,
        "name": NAME,
    }
)
_OKTA_ROW: dict[str, Field] = {"id": ID, "status": _word(*OKTA_STATUSES), "profile": _OKTA_PROFILE}
_OKTA = Fields(
    {
        **_OKTA_ROW,
        "scope": _word("USER", "GROUP"),
        "label": NAME,
        "errorCode": _okta_error,
        "_embedded": Fields({"user": Fields(_OKTA_ROW), "group": Fields(_OKTA_ROW)}),
        "_links": Fields(
            {"group": Fields({"name": ID, "href": _text(_last_segment)})},
        ),
    }
)
_GRAPH = Fields(
    {
        "@odata.type": _graph_type,
        "id": ID,
        "userPrincipalName": EMAIL,
        "mail": EMAIL,
        "displayName": NAME,
        "givenName": NAME,
        "surname": NAME,
        "accountEnabled": _flag,
        "userType": _word("guest", "member", ignores_case=True),
        "otherMails": Rows(EMAIL),
        "proxyAddresses": Rows(_text(_proxy_address)),
        "visibility": _word("hiddenmembership", "public", "private", ignores_case=True),
        "appRoleAssignmentRequired": _flag,
        "principalId": ID,
        "principalType": _word("user", "group", "serviceprincipal", ignores_case=True),
        "principalDisplayName": NAME,
    }
)
_GRAPH_ANSWER = Fields(
    {
        **_GRAPH.fields,
        "value": Rows(_GRAPH),
        "@odata.nextLink": NEXT_LINK,
        "error": Fields({"code": _word(*GRAPH_CODES)}),
    }
)
_ONELOGIN = Fields(
    {
        "id": ID,
        "email": EMAIL,
        "firstname": NAME,
        "lastname": NAME,
        "name": NAME,
        "status": Choice(Fields({"code": _count, "error": _flag}), _word_number),
        "state": _word_number,
        "assigned": _flag,
        "role_ids": Rows(ID),
        "statusCode": _count,
        "code": _count,
    }
)
_MEMBER = Fields(
    {
        "id": ID,
        "username": EMAIL,
        "displayname": NAME,
        "active": _flag,
        "name": Fields({"formatted": NAME, "givenname": NAME, "familyname": NAME}, ignores_case=True),
    },
    ignores_case=True,
)
_SCIM = Fields(
    {
        **_MEMBER.fields,
        "schemas": Rows(_schemas),
        "totalresults": _count,
        "startindex": _count,
        "itemsperpage": _count,
        "nextcursor": CURSOR,
        "resources": Rows(_MEMBER),
        "scimtype": _word(*SCIM_TYPES),
        "status": _count,
    },
    ignores_case=True,
)


def _answer(row: Fields) -> Mapping[str, Field]:
    return {"list": Rows(row), "object": row}


FIELDS: Mapping[str, Mapping[str, Field]] = {
    "okta": _answer(_OKTA),
    "entra": {"list": Rows(_GRAPH), "object": _GRAPH_ANSWER},
    "onelogin": _answer(_ONELOGIN),
    "pigment": {"list": Rows(_MEMBER), "object": _SCIM},
}
"""The fields of each kind of system, for an answer that is a JSON array or object."""


def keep_answer(document: object, system: str, visitor: Visitor) -> object:
    """Return what a recording keeps of a whole answer of *system*."""
    kinds = FIELDS[system]
    return keep_fields(document, kinds["list"] if isinstance(document, list) else kinds["object"], visitor)
