"""Serve a pretend Okta and a pretend Pigment from memory, fast enough that the client is what a measurement shows.

`.venv/bin/python -m bench.memory_server SIZE` prints its port, and serves until it is stopped. Each row is made before
the first request. `GET /requests` returns how many requests came since the last one of these. It checks nothing: the
sandbox does that.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import Sequence
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

__all__ = ["APP_ID", "COUNT_PATH", "GROUPS", "SCIM_PATH"]

APP_ID = "0oabench000000000001"
GROUPS = 5
"""Groups of the application; each person is in one."""

SCIM_PATH = "/scim/v2"
COUNT_PATH = "/requests"
MAX_COUNT = 1000
"""The most rows that the pretend Pigment puts into a page."""

SHORTEST_GROUP_PATH = len(["", "api", "v1", "groups", "id", "users"])


class Company:
    """The rows of everyone, as the two systems return them.

    The first *new_count* people are not members yet; the first *renamed_count* members have another name.
    """

    def __init__(self, size: int, new_count: int, renamed_count: int, *, has_people: bool = True) -> None:
        people = range(size if has_people else 0)
        self.users = [_okta_user(number) for number in people]
        self.app_users = [_okta_app_user(number, self.users[number]) for number in people]
        self.group_users = [self.users[number::GROUPS] for number in range(GROUPS)]
        self.members = [
            _member(number, "Former" if number - new_count < renamed_count else "Person")
            for number in range(new_count, size)
        ]
        self.positions = {f"m{number}": number - new_count for number in range(new_count, size)}
        self.request_count = 0
        self._next_id = itertools.count(size)

    def change_member(self, scim_id: str, body: bytes) -> bytes:
        """Apply a PATCH or a PUT, and return the member."""
        position = self.positions[scim_id]
        row = orjson.loads(self.members[position])
        document = orjson.loads(body)
        for operation in document.get("Operations", ()):
            _set_path(row, operation["path"], operation["value"])
        if "Operations" not in document:
            row |= document
        self.members[position] = orjson.dumps(row)
        return self.members[position]

    def add_member(self, body: bytes) -> bytes:
        scim_id = f"m{next(self._next_id)}"
        self.positions[scim_id] = len(self.members)
        self.members.append(orjson.dumps(orjson.loads(body) | {"id": scim_id}))
        return self.members[-1]


def _set_path(row: dict[str, object], path: str, value: object) -> None:
    outer, _, inner = path.partition(".")
    if inner:
        parts = row.setdefault(outer, {})
        if isinstance(parts, dict):
            parts[inner] = value
    else:
        row[outer] = value


def _okta_user(number: int) -> bytes:
    email = f"person.{number}@acme.com"
    return orjson.dumps(
        {
            "id": f"00u{number:017}",
            "status": "ACTIVE",
            "created": "2024-03-01T09:30:00.000Z",
            "activated": "2024-03-01T09:31:00.000Z",
            "statusChanged": "2024-03-01T09:31:00.000Z",
            "lastLogin": "2026-08-20T07:12:44.000Z",
            "lastUpdated": "2026-07-11T15:02:10.000Z",
            "passwordChanged": "2026-02-03T08:00:00.000Z",
            "type": {"id": "otybench000000000001"},
            "profile": {
                "firstName": "Person",
                "lastName": f"Number {number}",
                "displayName": f"Person Number {number}",
                "mobilePhone": None,
                "secondEmail": None,
                "department": "Finance",
                "title": "Planner",
                "login": email,
                "email": email,
            },
            "credentials": {"provider": {"type": "OKTA", "name": "OKTA"}},
            "_links": {"self": {"href": f"https://acme.okta.com/api/v1/users/00u{number:017}"}},
        }
    )


def _okta_app_user(number: int, user: bytes) -> bytes:
    group = f"00g{number % GROUPS:017}"
    return orjson.dumps(
        {
            "id": f"00u{number:017}",
            "externalId": None,
            "created": "2024-03-01T09:35:00.000Z",
            "lastUpdated": "2026-07-11T15:02:10.000Z",
            "scope": "GROUP",
            "status": "ACTIVE",
            "statusChanged": "2024-03-01T09:35:00.000Z",
            "passwordChanged": None,
            "syncState": "DISABLED",
            "credentials": {"userName": f"person.{number}@acme.com"},
            "profile": {},
            "_links": {
                "app": {"href": f"https://acme.okta.com/api/v1/apps/{APP_ID}"},
                "group": {"name": f"Pigment {number % GROUPS}", "href": f"https://acme.okta.com/api/v1/groups/{group}"},
                "user": {"href": f"https://acme.okta.com/api/v1/users/00u{number:017}"},
            },
            "_embedded": {"user": orjson.loads(user)},
        }
    )


def _member(number: int, given_name: str) -> bytes:
    email, name = f"person.{number}@acme.com", f"{given_name} Number {number}"
    return orjson.dumps(
        {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": f"m{number}",
            "userName": email,
            "displayName": name,
            "name": {"formatted": name, "givenName": given_name, "familyName": f"Number {number}"},
            "emails": [{"value": email, "type": "work", "primary": True}],
            "active": True,
            "meta": {
                "resourceType": "User",
                "created": "2024-03-01T09:35:00Z",
                "lastModified": "2026-07-11T15:02:10Z",
                "location": f"https://pigment.app/scim/v2/Users/m{number}",
            },
        }
    )


def _group(number: int) -> bytes:
    group = {"id": f"00g{number:017}", "profile": {"name": f"Pigment {number}"}}
    return orjson.dumps({"id": group["id"], "priority": number, "profile": {}, "_embedded": {"group": group}})


class Answers:
    """Answers requests about *company*. Writes are answered after *write_delay* seconds."""

    def __init__(self, company: Company, write_delay: float) -> None:
        self.company = company
        self.write_delay = write_delay
        self.port = 0

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes, str]:
        """Return the status, the body, and the link of the next page or nothing."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == COUNT_PATH:
            count, self.company.request_count = self.company.request_count, 0
            return 200, str(count - 1).encode(), ""
        if url.path.startswith(SCIM_PATH):
            return self._answer_scim(
                method, unquote(url.path.removeprefix(f"{SCIM_PATH}/Users")).strip("/"), query, body
            )
        return self._answer_okta(url.path, query)

    def _answer_scim(self, method: str, scim_id: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        if method == "POST":
            return 201, self.company.add_member(body), ""
        if method in {"PATCH", "PUT"}:
            return 200, self.company.change_member(scim_id, body), ""
        if scim_id:
            return 200, self.company.members[self.company.positions[scim_id]], ""
        start, count = int(query.get("startIndex", "1")), min(int(query.get("count", "100")), MAX_COUNT)
        rows = self.company.members[start - 1 : start - 1 + count]
        head = (
            f'{{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":'
            f'{len(self.company.members)},"startIndex":{start},"itemsPerPage":{len(rows)},"Resources":['
        )
        return 200, b"".join((head.encode(), b",".join(rows), b"]}")), ""

    def _answer_okta(self, path: str, query: dict[str, str]) -> tuple[int, bytes, str]:
        app_path = f"/api/v1/apps/{APP_ID}"
        if path == app_path:
            return 200, orjson.dumps({"id": APP_ID, "label": "Pigment", "status": "ACTIVE"}), ""
        if path == f"{app_path}/groups":
            return 200, b"[" + b",".join(map(_group, range(GROUPS))) + b"]", ""
        if path == f"{app_path}/users":
            return self._okta_page(path, self.company.app_users, query)
        parts = path.split("/")
        if len(parts) == SHORTEST_GROUP_PATH and path.startswith("/api/v1/groups/00g"):
            return self._okta_page(path, self.company.group_users[int(parts[4][3:])], query)
        return 404, b'{"errorCode":"E0000007","errorSummary":"Not found"}', ""

    def _okta_page(self, path: str, rows: Sequence[bytes], query: dict[str, str]) -> tuple[int, bytes, str]:
        start, limit = int(query.get("after", "0")), int(query["limit"])
        end = start + limit
        rest = "".join(f"&{name}={query[name]}" for name in ("expand",) if name in query)
        link = f"http://127.0.0.1:{self.port}{path}?after={end}&limit={limit}{rest}" if end < len(rows) else ""
        return 200, b"[" + b",".join(rows[start:end]) + b"]", link


class Connection(asyncio.Protocol):
    """One connection of a client: HTTP/1.1, kept alive, bodies with a length only."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = bytes(self._received[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        if len(self._received) < end + 4 + length:
            return
        body = bytes(self._received[end + 4 : end + 4 + length])
        self._received.clear()
        method, target, _ = lines[0].split(" ")
        self._answers.company.request_count += 1
        delay = self._answers.write_delay if method != "GET" else 0
        if delay:
            asyncio.get_running_loop().call_later(delay, self._respond, method, target, body)
        else:
            self._respond(method, target, body)

    def _respond(self, method: str, target: str, body: bytes) -> None:
        status, content, link = self._answers.answer(method, target, body)
        lines = [f"HTTP/1.1 {status} OK", "Content-Type: application/json", f"Content-Length: {len(content)}"]
        lines += [f'Link: <{link}>; rel="next"'] if link else []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(["\r\n".join([*lines, "", ""]).encode(), content])


async def serve(company: Company, write_delay: float) -> None:
    answers = Answers(company, write_delay)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", 0)
    answers.port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"{answers.port}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", type=int)
    parser.add_argument("--new", type=int, default=0, help="how many are assigned and are not members yet")
    parser.add_argument("--renamed", type=int, default=0, help="how many members have another name than their person")
    parser.add_argument("--write-delay", type=float, default=0, metavar="SECONDS", help="how long a write takes")
    parser.add_argument("--members-only", action="store_true", help="serve no people of Okta")
    options = parser.parse_args()
    company = Company(options.size, options.new, options.renamed, has_people=not options.members_only)
    asyncio.run(serve(company, options.write_delay))


if __name__ == "__main__":
    main()
