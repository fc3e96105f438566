"""Spoil an answer that the application gave: its bytes, its headers, or the page of a list in it. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from urllib.parse import quote, urlsplit, urlunsplit

from sandbox.faults.action import (
    Action,
    DeepJson,
    DoubledHeaders,
    DuplicateRows,
    EmptyPage,
    EncodedCursor,
    EndlessPages,
    ForeignLink,
    Headers,
    Html,
    HugeBody,
    InvalidJson,
    NoBody,
    Nulls,
    RepeatedCursor,
    Status,
    System,
    Truncated,
    WrongTotal,
)
from sandbox.faults.answer import Answer
from sandbox.faults.page import Page, page_of
from sandbox.faults.place import Place
from sandbox.faults.refusal import page_of_gateway, refused

__all__ = ["doubled", "drifted", "spoilt", "worded"]

SHOWN = frozenset({"@odata.type", "schemas", "scope", "principalType", "principalId", "_links", "href", "resourceId"})
SINGLE_HEADERS = frozenset({"content-length", "transfer-encoding", "content-encoding", "content-type", "connection"})
MANY = 1_000_000_000


def spoilt(action: Action, answer: Answer, place: Place, turn: int) -> Answer:
    """Return *answer* as *action* leaves it. *turn* is how often its rule was applied, from 1."""
    if isinstance(action, Status | Html):
        return worded(action, place)
    page = page_of(place, answer)
    if page is None:
        return _body_spoilt(action, answer)
    return _page_spoilt(action, page, turn) or _body_spoilt(action, answer)


def worded(action: Status | Html, place: Place) -> Answer:
    """Return the error that *action* stands for."""
    if isinstance(action, Html):
        return page_of_gateway(action.status)
    answer = refused(place.system, action.status, urlsplit(place.url).path)
    if action.body is not None:
        answer = answer.with_body(action.body.encode())
    for name, value in action.headers.items():
        answer = answer.with_header(name.lower(), value)
    return answer


def drifted(kind: str, answer: Answer, place: Place, *, here: bool) -> Answer:
    """Return a page of a list that changed while it was read; *here*: just before this page. A SCIM page's rows are
    moved by asking for another `startIndex`, so that only its total and that number are left to do."""
    page = page_of(place, answer)
    if page is None:
        return answer
    if place.system is System.PIGMENT and isinstance(page.document, dict):
        page = Page(place, page.answer, page.document | {"startIndex": place.start_index()}, page.rows)
    elif here and page.rows:
        page = page.with_rows(page.rows[1:] if kind == "removed" else [page.rows[0], *page.rows])
    return page.with_total(lambda total: total + (1 if kind == "added" else -1))


def _truncated(action: Truncated, answer: Answer) -> Answer:
    return answer.with_body(answer.body[: int(len(answer.body) * action.keep)])


def _headed(action: Headers, answer: Answer) -> Answer:
    for name, value in action.headers.items():
        answer = answer.with_header(name.lower(), value or None)
    return answer


def doubled(action: DoubledHeaders, answer: Answer) -> Answer:
    """Return the answer with some headers twice; those that frame the body can only stand once."""
    twice = [
        pair for pair in answer.headers if fnmatchcase(pair[0], action.names.lower()) and pair[0] not in SINGLE_HEADERS
    ]
    return Answer(answer.status, (*answer.headers, *twice), answer.body, answer.filler)


def _encoded(page: Page) -> Answer:
    cursor = page.next_cursor()
    return page.with_next(quote(cursor, safe="")) if cursor else page.answer


def _repeated(page: Page) -> Answer:
    if page.system in (System.OKTA, System.ENTRA):
        query = f"?{page.place.sent}" if page.place.sent else ""
        return page.with_next_url(page.place.url + query)
    return page.with_next(page.place.cursor or page.place.back_here(0))


def _foreign(action: ForeignLink, page: Page, turn: int) -> Answer:
    url = urlsplit(page.next_url() or page.place.link(page.place.back_here(turn)))
    elsewhere = urlsplit(action.origin)
    return page.with_next_url(urlunsplit((elsewhere.scheme, elsewhere.netloc, url.path, url.query, "")))


def _endless(page: Page, turn: int) -> Answer:
    if page.system is not System.PIGMENT:
        return page.with_next(page.place.back_here(page.place.turn + 1))
    fresh = page.with_rows([_renamed(row, turn) for row in page.rows])
    if isinstance(fresh.document, dict):
        fresh = Page(page.place, fresh.answer, fresh.document | {"startIndex": page.place.start_index()}, fresh.rows)
    return fresh.with_total(lambda _total: MANY)


def _renamed(row: object, turn: int) -> object:
    if not isinstance(row, dict):
        return row
    address = f"{turn}-{row.get('userName')}"
    return row | {"id": f"{row.get('id')}-{turn}", "userName": address, "emails": [{"value": address, "type": "work"}]}


def _hidden(action: Nulls, page: Page) -> Answer:
    kept = SHOWN if action.ids else SHOWN | {"id"}
    reach = len(page.rows) if action.rows == "all" else 1
    return page.with_rows([_nulled(row, kept) for row in page.rows[:reach]] + page.rows[reach:]).answer


def _nulled(value: object, kept: frozenset[str]) -> object:
    if isinstance(value, dict):
        return {key: inner if key in kept else _nulled(inner, kept) for key, inner in value.items()}
    return None


def _body_spoilt(action: Action, answer: Answer) -> Answer:
    match action:
        case Truncated():
            return _truncated(action, answer)
        case InvalidJson():
            return answer.with_body(action.text.encode())
        case NoBody():
            return Answer(action.status, tuple(pair for pair in answer.headers if pair[0] != "content-type"), b"")
        case Headers():
            return _headed(action, answer)
        case DoubledHeaders():
            return doubled(action, answer)
        case HugeBody():
            return Answer(answer.status, answer.headers, b"[]", filler=action.size - 2)
        case DeepJson():
            return answer.with_body(b"[" * action.depth + b"]" * action.depth)
        case _:
            return answer


def _page_spoilt(action: Action, page: Page, turn: int) -> Answer | None:
    match action:
        case EmptyPage():
            return page.with_rows([]).with_next(page.place.back_here(turn))
        case RepeatedCursor() | EncodedCursor():
            return _repeated(page) if isinstance(action, RepeatedCursor) else _encoded(page)
        case ForeignLink():
            return _foreign(action, page, turn)
        case EndlessPages():
            return _endless(page, turn)
        case WrongTotal():
            return page.with_total(lambda total: total + action.by)
        case DuplicateRows():
            return page.with_rows([*page.rows, *page.rows[:1]]).answer
        case Nulls():
            return _hidden(action, page)
        case _:
            return None
