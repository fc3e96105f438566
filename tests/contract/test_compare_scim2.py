"""scim2-client as another reader, over a transport that answers as SCIM servers do, well and badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from agent.compare.answers import Answers, ReaderFailed
from agent.compare.scim2_process import ScimReader, create_client

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"


class Recorded(Answers):
    """Keeps what would have been written."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.notes: list[object] = []

    def write(self, kind: str, **fields: Any) -> None:
        if kind == "note":
            self.notes.append(fields["text"])
        self.rows += fields.get("rows", [])


def user(number: int, **more: object) -> dict[str, object]:
    shown = {"userName": f"u{number}@acme.com", "displayName": f"U {number}", "active": True}
    return {"schemas": [USER], "id": str(number), **shown, **more}


def server(users: list[dict[str, object]], total: Callable[[int], object] | None = None) -> Any:
    def answer(request: httpx.Request) -> httpx.Response:
        start, count = int(request.url.params["startIndex"]), int(request.url.params["count"])
        found = users[start - 1 : start - 1 + min(count, 2)]
        of_all = len(users) if total is None else total(start)
        return httpx.Response(200, json={"schemas": [LIST], "totalResults": of_all, "Resources": found})

    return answer


def read(answer: Callable[[httpx.Request], httpx.Response], *, ignores_total: bool = False) -> Recorded:
    recorded = Recorded()
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="https://scim.example.com/v2/") as http:
        ScimReader(create_client(http), recorded, ignores_total=ignores_total).read_all()
    return recorded


def test_all_pages_are_read() -> None:
    found = read(server([user(number) for number in range(1, 6)]))

    assert [row["id"] for row in found.rows] == ["1", "2", "3", "4", "5"]
    assert found.rows[0] == {"id": "1", "email": "u1@acme.com", "name": "U 1", "active": True}
    assert found.notes == []


def test_page_with_an_odd_row_is_read_without_the_models() -> None:
    found = read(server([user(1), user(2), user(3, active="perhaps"), user(4, displayName=5)]))

    assert [row["id"] for row in found.rows] == ["1", "2", "3", "4"]
    assert len(found.notes) == 1
    assert "scim2-client refused 1 pages (page 2: " in str(found.notes[0])


def test_wrong_total_is_accepted_only_where_it_is_known_to_be_wrong() -> None:
    answer = server([user(number) for number in range(1, 4)], lambda _: 7)

    with pytest.raises(ReaderFailed, match=r"`totalResults` is 7, and 3 different members were listed\."):
        read(answer)
    assert len(read(answer, ignores_total=True).rows) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (server([user(1), user(2), user(3)], lambda start: 2 + start), "`totalResults` was 3 and is 5 on page 2"),
        (server([user(1), user(1), user(1)]), "3, and 1 different members were listed"),
        (server([user(1), {"schemas": [USER], "userName": "x"}]), "a row has no id."),
        (lambda _: httpx.Response(500, json={"detail": "no"}), "page 1 "),
        (lambda _: httpx.Response(200, text="<html>"), "page 1 "),
        (lambda _: httpx.Response(200, json={"Resources": 5}), "page 1 "),
        (lambda _: httpx.Response(200, json=[1]), "page 1 "),
    ],
    ids=["changing total", "duplicates", "no id", "500", "html", "no list", "array"],
)
def test_listing_that_is_not_complete_ends_the_reading(
    answer: Callable[[httpx.Request], httpx.Response], message: str
) -> None:
    with pytest.raises(ReaderFailed) as ended:
        read(answer)

    assert message in ended.value.message


def test_server_out_of_reach_ends_the_reading() -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    with pytest.raises(ReaderFailed, match=r"page 1 could not be read: ConnectError: no route\."):
        read(lost)
