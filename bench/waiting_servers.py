"""A pretend Okta and a pretend Pigment for many workspaces, whose answers wait: `bench.replicas` starts them.

Each is a process of its own. The rows are made before the first request, an answer is read from them at a random
moment of its wait, and waiting costs no processor time. They check nothing: the sandbox does that. Paths below
`/bench` are answered at once, and are how the bench changes and compares them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import subprocess
import sys
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

import orjson

__all__ = ["ADDRESS", "LIMIT", "WINDOW_SECONDS", "Servers", "app_id", "run_servers"]

LIMIT, WINDOW_SECONDS = 500, 300.0
"""Requests that Pigment accepts from one address in any window."""
ADDRESS = "127.0.0.1"
GROUPS = 4
"""Groups of each application; each person is in one."""
MAX_COUNT = 1000
"""The most members in one page of Pigment."""
SCIM_PARTS = 5
"""The parts of the path of one member: an empty one, the workspace, `scim`, `v2`, `Users`; then the id."""
CHANGES = ("leave", "rename", "join")
MOST_PEOPLE = 100_000
"""Ids of people are numbers: the workspace is in front of these digits."""
BENCH_PATH = "/bench/"


def app_id(workspace: int) -> str:
    return f"0oa{workspace:017}"


def group_id(workspace: int, group: int) -> str:
    return f"00g{workspace * GROUPS + group:017}"


def email_of(workspace: int, person: int) -> str:
    return f"person.{person}.of.{workspace}@acme.com"


def family_of(person: int, *, renamed: bool) -> str:
    return f"{'Renamed' if renamed else 'Number'} {person}"


def digest(people: Iterator[tuple[str, str]]) -> str:
    """Return a digest of addresses with their names, which is that of the other system when they are in sync."""
    return sha256(orjson.dumps(sorted(people))).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    next_page: str = ""
    """The path of the next page."""


class System(Protocol):
    """One of the two servers."""

    def admit(self) -> bool:
        """Count a request, and return whether it is within the limit."""
        ...

    def answer(self, method: str, target: str, body: bytes) -> Answer: ...

    def answer_bench(self, target: str) -> object: ...


@dataclass(slots=True)
class OktaPerson:
    email: str
    family: str
    user: bytes
    app_user: bytes
    group: int


class Okta:
    """One application for each workspace, with its people in order of their ids.

    *is_changed*: in each workspace one person has left, one has joined, and one of the others has another name.
    """

    def __init__(self, workspaces: int, people: int, *, is_changed: bool) -> None:
        self._people = [
            {self._key(number, person): self._person(number, person) for person in range(people)}
            for number in range(workspaces)
        ]
        self._joined = [people] * workspaces
        self._digests: dict[int, str] = {}
        for number in range(workspaces if is_changed else 0):
            for kind in CHANGES:
                self.change(number, kind)

    @staticmethod
    def _key(workspace: int, person: int) -> str:
        return f"00u{workspace * MOST_PEOPLE + person:017}"

    def _person(self, workspace: int, person: int, *, renamed: bool = False) -> OktaPerson:
        key, email, family = (
            self._key(workspace, person),
            email_of(workspace, person),
            family_of(person, renamed=renamed),
        )
        group = person % GROUPS
        user = {
            "id": key,
            "status": "ACTIVE",
            "created": "2024-03-01T09:30:00.000Z",
            "activated": "2024-03-01T09:31:00.000Z",
            "statusChanged": "2024-03-01T09:31:00.000Z",
            "lastUpdated": "2026-07-11T15:02:10.000Z",
            "profile": {
                "firstName": "Person",
                "lastName": family,
                "displayName": f"Person {family}",
                "login": email,
                "email": email,
            },
        }
        app_user = {
            "id": key,
            "scope": "GROUP",
            "status": "ACTIVE",
            "credentials": {"userName": email},
            "profile": {},
            "_links": {
                "group": {"name": f"Group {group}", "href": f"/api/v1/groups/{group_id(workspace, group)}"},
                "user": {"href": f"/api/v1/users/{key}"},
            },
            "_embedded": {"user": user},
        }
        return OktaPerson(email, f"Person {family}", orjson.dumps(user), orjson.dumps(app_user), group)

    def admit(self) -> bool:
        return True

    def change(self, workspace: int, kind: str) -> None:
        """Let the first person *leave*, give the last one another name (*rename*), or let a new one *join*."""
        people = self._people[workspace]
        self._digests.pop(workspace, None)
        if kind == "leave":
            del people[next(iter(people))]
            return
        number = self._joined[workspace] - (kind == "rename")
        people[self._key(workspace, number)] = self._person(workspace, number, renamed=kind == "rename")
        self._joined[workspace] = number + 1

    def answer_bench(self, target: str) -> object:
        url = urlsplit(target)
        if url.path == "/bench/change":
            query = parse_qs(url.query)
            self.change(int(query["workspace"][0]), query["kind"][0])
            return None
        for number, people in enumerate(self._people):
            if number not in self._digests:
                self._digests[number] = digest((each.email, each.family) for each in people.values())
        return [self._digests[number] for number in range(len(self._people))]

    def answer(self, _method: str, target: str, _body: bytes) -> Answer:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path.strip("/").split("/")[2:]:
            case ["apps", app]:
                return Answer(200, orjson.dumps({"id": app, "label": f"Pigment {app}", "status": "ACTIVE"}))
            case ["apps", app, "groups"]:
                return Answer(200, orjson.dumps([self._group(int(app[3:]), each) for each in range(GROUPS)]))
            case ["apps", app, "users"]:
                people = self._people[int(app[3:])]
                return self._page(target, list(people), [each.app_user for each in people.values()], query)
            case ["groups", group, "users"]:
                workspace, number = divmod(int(group[3:]), GROUPS)
                members = {key: each for key, each in self._people[workspace].items() if each.group == number}
                return self._page(target, list(members), [each.user for each in members.values()], query)
            case ["users", key]:
                return self._user(key)
            case ["users", _key, "groups"]:
                return Answer(200, b"[]")
        return Answer(404, b'{"errorCode":"E0000007","errorSummary":"Not found"}')

    def _user(self, key: str) -> Answer:
        workspace, person = divmod(int(key[3:]), MOST_PEOPLE)
        if (found := self._people[workspace].get(key)) is not None:
            return Answer(200, found.user)
        left = orjson.loads(self._person(workspace, person).user) | {"status": "DEPROVISIONED"}
        return Answer(200, orjson.dumps(left))

    @staticmethod
    def _group(workspace: int, group: int) -> dict[str, object]:
        key = group_id(workspace, group)
        return {
            "id": key,
            "priority": group,
            "profile": {},
            "_embedded": {"group": {"id": key, "profile": {"name": f"Group {group}"}}},
        }

    @staticmethod
    def _page(target: str, keys: list[str], rows: Sequence[bytes], query: dict[str, str]) -> Answer:
        start, limit = bisect_right(keys, query.get("after", "")), int(query["limit"])
        shown = rows[start : start + limit]
        following = ""
        if start + limit < len(rows):
            path, _, words = target.partition("?")
            kept = [word for word in words.split("&") if not word.startswith("after=")]
            following = f"{path}?{'&'.join([*kept, f'after={keys[start + limit - 1]}'])}"
        return Answer(200, b"[" + b",".join(shown) + b"]", following)


@dataclass(slots=True)
class Member:
    row: bytes
    email: str
    name: str
    active: bool


@dataclass(slots=True)
class Arrivals:
    """The requests from this machine within the last window, and the most in any."""

    times: deque[float] = field(default_factory=deque)
    most: int = 0

    def count(self, now: float) -> int:
        self.times.append(now)
        while now - self.times[0] > WINDOW_SECONDS:
            self.times.popleft()
        self.most = max(self.most, len(self.times))
        return len(self.times)


class Pigment:
    """The members of each workspace, and the limit of each address."""

    def __init__(self, workspaces: int, people: int, *, has_limit: bool) -> None:
        self._limit = LIMIT if has_limit else sys.maxsize
        self._members: list[dict[str, Member]] = [{} for _ in range(workspaces)]
        self._by_email: dict[tuple[int, str], str] = {}
        for number in range(workspaces):
            for person in range(people):
                email, name = email_of(number, person), f"Person {family_of(person, renamed=False)}"
                self._add(number, {"userName": email, "displayName": name, "active": True})
        self._arrivals = Arrivals()
        self._requests = self._refused = 0
        self._creates = Counter[str]()
        self._writes = Counter[str]()

    def admit(self) -> bool:
        self._requests += 1
        is_allowed = self._arrivals.count(time.monotonic()) <= self._limit
        self._refused += not is_allowed
        return is_allowed

    def answer_bench(self, target: str) -> object:
        if target == "/bench/requests":
            return {
                "requests": self._requests,
                "refused": self._refused,
                "most": self._arrivals.most,
                "writes": self._writes,
                "created_twice": sum(count > 1 for count in self._creates.values()),
            }
        return [
            digest((each.email, each.name) for each in members.values() if each.active) for members in self._members
        ]

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        url = urlsplit(target)
        parts = url.path.split("/")
        workspace, scim_id = int(parts[1]), unquote("/".join(parts[SCIM_PARTS:]))
        if method == "POST":
            return self._create(workspace, orjson.loads(body))
        if not scim_id:
            return self._list(workspace, {name: values[0] for name, values in parse_qs(url.query).items()})
        member = self._members[workspace].get(scim_id)
        if member is None:
            return _scim_error(404, "")
        if method in {"PATCH", "PUT"}:
            self._writes[method] += 1
            self._update(member, orjson.loads(body))
        return Answer(200, member.row)

    def _create(self, workspace: int, body: dict[str, Any]) -> Answer:
        self._writes["POST"] += 1
        self._creates[f"{workspace} {body['userName']}"] += 1
        if (workspace, body["userName"]) in self._by_email:
            return _scim_error(409, "uniqueness")
        return Answer(201, self._add(workspace, body))

    def _add(self, workspace: int, body: dict[str, Any]) -> bytes:
        scim_id = f"m{len(self._members[workspace])}"
        email, name = body["userName"], body["displayName"]
        row = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "name": {"formatted": name},
            "emails": [{"value": email, "type": "work", "primary": True}],
            **body,
            "id": scim_id,
            "meta": {"resourceType": "User", "created": "2024-03-01T09:35:00Z"},
        }
        self._by_email[workspace, email] = scim_id
        self._members[workspace][scim_id] = Member(orjson.dumps(row), email, name, body["active"])
        return self._members[workspace][scim_id].row

    @staticmethod
    def _update(member: Member, body: dict[str, Any]) -> None:
        row = orjson.loads(member.row)
        for operation in body.get("Operations", ()):
            outer, _, inner = operation["path"].partition(".")
            (row[outer] if inner else row)[inner or outer] = operation["value"]
        if "Operations" not in body:
            row |= body
        member.row, member.name, member.active = orjson.dumps(row), row["displayName"], row["active"]

    def _list(self, workspace: int, query: dict[str, str]) -> Answer:
        members = self._members[workspace]
        if wanted := query.get("filter"):
            found = self._by_email.get((workspace, orjson.loads(wanted.removeprefix("userName eq "))))
            rows = [members[found].row] if found is not None else []
        else:
            rows = [each.row for each in members.values()]
        start, count = int(query.get("startIndex", "1")), min(int(query.get("count", "100")), MAX_COUNT)
        shown = rows[start - 1 : start - 1 + count]
        head = (
            f'{{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":{len(rows)},'
            f'"startIndex":{start},"itemsPerPage":{len(shown)},"Resources":['
        )
        return Answer(200, b"".join((head.encode(), b",".join(shown), b"]}")))


def _scim_error(status: int, scim_type: str) -> Answer:
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": str(status), "scimType": scim_type}
    return Answer(status, orjson.dumps(body))


class Connection(asyncio.Protocol):
    """One connection of a client: HTTP/1.1, kept alive, bodies with a length only."""

    def __init__(self, system: System, latency: float) -> None:
        self._system, self._latency = system, latency
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
        if target.startswith(BENCH_PATH):
            self._send(Answer(200, orjson.dumps(self._system.answer_bench(target))), "")
        elif not self._system.admit():
            self._send(Answer(429, b"{}"), "")
        else:
            # A client that dies meanwhile does not stop its request.
            moment = random.random() * self._latency
            asyncio.get_running_loop().call_later(moment, self._read, method, target, body, headers["host"], moment)

    def _read(self, method: str, target: str, body: bytes, host: str, moment: float) -> None:
        answer = self._system.answer(method, target, body)
        asyncio.get_running_loop().call_later(self._latency - moment, self._send, answer, host)

    def _send(self, answer: Answer, host: str) -> None:
        lines = [f"HTTP/1.1 {answer.status} OK", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(answer.body)}"]
        lines += [f'Link: <http://{host}{answer.next_page}>; rel="next"'] if answer.next_page else []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(["\r\n".join([*lines, "", ""]).encode(), answer.body])


async def serve(system: System, port: int, latency: float) -> None:
    """Serve *system* at *port*, and print a line when it accepts connections."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(system, latency), ADDRESS, port, backlog=1000, family=socket.AF_INET
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


@dataclass(frozen=True, slots=True)
class Servers:
    """The two running servers."""

    okta_port: int
    pigment_port: int
    pids: tuple[int, ...]

    def change(self, workspace: int, kind: str) -> None:
        """Let one person *leave*, *join*, or have another name (*rename*)."""
        _ask(self.okta_port, f"change?workspace={workspace}&kind={kind}")

    def workspaces_behind(self) -> list[int]:
        """Return the workspaces whose active members are not the people assigned to them, with their names."""
        wanted, found = _ask(self.okta_port, "digests"), _ask(self.pigment_port, "digests")
        return [number for number, (one, other) in enumerate(zip(wanted, found, strict=True)) if one != other]

    def requests(self) -> dict[str, Any]:
        """Return how many requests came to Pigment, the most to an address in any window, and creates sent twice."""
        counted: dict[str, Any] = _ask(self.pigment_port, "requests")
        return counted


def _ask(port: int, what: str) -> Any:
    with urlopen(Request(f"http://127.0.0.1:{port}{BENCH_PATH}{what}")) as answer:
        return orjson.loads(answer.read())


@contextmanager
def run_servers(
    ports: tuple[int, int],
    size: tuple[int, int],
    latency: float,
    *,
    is_changed: bool = False,
    has_limit: bool = True,
) -> Iterator[Servers]:
    """Run Okta and Pigment at *ports* until the end of the block. *size* is how many workspaces and people of each."""
    options = [*map(str, size), "--latency", str(latency)]
    options += (["--changed"] if is_changed else []) + ([] if has_limit else ["--no-limit"])
    processes = []
    try:
        for name, port in zip(("okta", "pigment"), ports, strict=True):
            command = [sys.executable, "-m", "bench.waiting_servers", name, str(port), *options]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        for process in processes:
            if process.stdout is None or not process.stdout.readline():
                raise SystemExit("a server of the bench did not start")
        yield Servers(*ports, tuple(process.pid for process in processes))
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=["okta", "pigment"])
    parser.add_argument("port", type=int)
    parser.add_argument("workspaces", type=int)
    parser.add_argument("people", type=int)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--changed", action="store_true", help="Okta is ahead of Pigment by three changes")
    parser.add_argument("--no-limit", action="store_true", help="Pigment refuses no request")
    wanted = parser.parse_args()
    if wanted.system == "okta":
        system: System = Okta(wanted.workspaces, wanted.people, is_changed=wanted.changed)
    else:
        system = Pigment(wanted.workspaces, wanted.people, has_limit=not wanted.no_limit)
    asyncio.run(serve(system, wanted.port, wanted.latency))


if __name__ == "__main__":
    main()
