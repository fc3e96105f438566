"""Corrupt the application's response: its bytes, its headers, or the page of a list in it. Pure."""

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
from sandbox.faults.cursor import PagePosition
from sandbox.faults.error_responses import error_response, gateway_error
from sandbox.faults.page import Page, parse_page
from sandbox.faults.response import CapturedResponse

__all__ = ["apply_drift", "corrupt", "double_headers", "error_for_action"]

VISIBLE_FIELDS = frozenset(
    {"@odata.type", "schemas", "scope", "principalType", "principalId", "_links", "href", "resourceId"}
)
SINGLE_HEADERS = frozenset({"content-length", "transfer-encoding", "content-encoding", "content-type", "connection"})
HUGE_TOTAL = 1_000_000_000


def corrupt(action: Action, answer: CapturedResponse, position: PagePosition, number: int) -> CapturedResponse:
    """Return *answer* changed by *action*. *number* is how often its rule was applied, from 1."""
    if isinstance(action, Status | Html):
        return error_for_action(action, position)
    page = parse_page(position, answer)
    if page is None:
        return _corrupt_body(action, answer)
    return _corrupt_page(action, page, number) or _corrupt_body(action, answer)


def error_for_action(action: Status | Html, position: PagePosition) -> CapturedResponse:
    """Return the error of *action*."""
    if isinstance(action, Html):
        return gateway_error(action.status)
    answer = error_response(position.system, action.status, urlsplit(position.url).path)
    if action.body is not None:
        answer = answer.with_body(action.body.encode())
    for name, value in action.headers.items():
        answer = answer.with_header(name.lower(), value)
    return answer


def apply_drift(kind: str, answer: CapturedResponse, position: PagePosition, *, starts_here: bool) -> CapturedResponse:
    """Return a page of a list that changed while it was read; *here*: just before this page. The rows of a SCIM page
    move with another `startIndex` in the query, so only the total and that number change here."""
    page = parse_page(position, answer)
    if page is None:
        return answer
    if position.system is System.PIGMENT and isinstance(page.document, dict):
        page = Page(position, page.response, page.document | {"startIndex": position.start_index()}, page.rows)
    elif starts_here and page.rows:
        page = page.with_rows(page.rows[1:] if kind == "removed" else [page.rows[0], *page.rows])
    return page.with_total(lambda total: total + (1 if kind == "added" else -1))


def _truncate(action: Truncated, answer: CapturedResponse) -> CapturedResponse:
    return answer.with_body(answer.body[: int(len(answer.body) * action.keep)])


def _set_headers(action: Headers, answer: CapturedResponse) -> CapturedResponse:
    for name, value in action.headers.items():
        answer = answer.with_header(name.lower(), value or None)
    return answer


def double_headers(action: DoubledHeaders, answer: CapturedResponse) -> CapturedResponse:
    """Return the response with some headers twice, but not those that frame the body."""
    twice = [
        pair for pair in answer.headers if fnmatchcase(pair[0], action.names.lower()) and pair[0] not in SINGLE_HEADERS
    ]
    return CapturedResponse(answer.status, (*answer.headers, *twice), answer.body, answer.padding_bytes)


def _encode_cursor(page: Page) -> CapturedResponse:
    cursor = page.next_cursor()
    return page.with_next(quote(cursor, safe="")) if cursor else page.response


def _repeat_cursor(page: Page) -> CapturedResponse:
    if page.system in (System.OKTA, System.ENTRA):
        query = f"?{page.position.sent_query}" if page.position.sent_query else ""
        return page.with_next_url(page.position.url + query)
    return page.with_next(page.position.cursor or page.position.cursor_to_here(0))


def _point_elsewhere(action: ForeignLink, page: Page, number: int) -> CapturedResponse:
    url = urlsplit(page.next_url() or page.position.page_url(page.position.cursor_to_here(number)))
    elsewhere = urlsplit(action.origin)
    return page.with_next_url(urlunsplit((elsewhere.scheme, elsewhere.netloc, url.path, url.query, "")))


def _make_endless(page: Page, number: int) -> CapturedResponse:
    if page.system is not System.PIGMENT:
        return page.with_next(page.position.cursor_to_here(page.position.cursor_number + 1))
    fresh = page.with_rows([_rename_row(row, number) for row in page.rows])
    if isinstance(fresh.document, dict):
        fresh = Page(
            page.position, fresh.response, fresh.document | {"startIndex": page.position.start_index()}, fresh.rows
        )
    return fresh.with_total(lambda _total: HUGE_TOTAL)


def _rename_row(row: object, number: int) -> object:
    if not isinstance(row, dict):
        return row
    address = f"{number}-{row.get('userName')}"
    return row | {
        "id": f"{row.get('id')}-{number}",
        "userName": address,
        "emails": [{"value": address, "type": "work"}],
    }


def _hide_fields(action: Nulls, page: Page) -> CapturedResponse:
    visible = VISIBLE_FIELDS if action.ids else VISIBLE_FIELDS | {"id"}
    reach = len(page.rows) if action.rows == "all" else 1
    return page.with_rows([_nullify(row, visible) for row in page.rows[:reach]] + page.rows[reach:]).response


def _nullify(value: object, visible: frozenset[str]) -> object:
    if isinstance(value, dict):
        return {key: inner if key in visible else _nullify(inner, visible) for key, inner in value.items()}
    return None


def _corrupt_body(action: Action, answer: CapturedResponse) -> CapturedResponse:
    match action:
        case Truncated():
            return _truncate(action, answer)
        case InvalidJson():
            return answer.with_body(action.text.encode())
        case NoBody():
            return CapturedResponse(
                action.status, tuple(pair for pair in answer.headers if pair[0] != "content-type"), b""
            )
        case Headers():
            return _set_headers(action, answer)
        case DoubledHeaders():
            return double_headers(action, answer)
        case HugeBody():
            return CapturedResponse(answer.status, answer.headers, b"[]", padding_bytes=action.size - 2)
        case DeepJson():
            return answer.with_body(b"[" * action.depth + b"]" * action.depth)
        case _:
            return answer


def _corrupt_page(action: Action, page: Page, number: int) -> CapturedResponse | None:
    match action:
        case EmptyPage():
            return page.with_rows([]).with_next(page.position.cursor_to_here(number))
        case RepeatedCursor() | EncodedCursor():
            return _repeat_cursor(page) if isinstance(action, RepeatedCursor) else _encode_cursor(page)
        case ForeignLink():
            return _point_elsewhere(action, page, number)
        case EndlessPages():
            return _make_endless(page, number)
        case WrongTotal():
            return page.with_total(lambda total: total + action.by)
        case DuplicateRows():
            return page.with_rows([*page.rows, *page.rows[:1]]).response
        case Nulls():
            return _hide_fields(action, page)
        case _:
            return None
