"""Events of requests: their shape, what a hostile name or server can put into them, and the file that holds them."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from agent import logs
from agent.errors import UsageError
from agent.request_trace import API_WORDS, ObservedTransport, trace_requests
from connectors.http import ApiClient, RequestLimits
from tests.contract.scim_faults import FakeTime

KEYS = ["at", "attempt", "bytes", "host", "method", "ms", "path", "request_id", "status"]
Answer = Callable[[httpx.Request], httpx.Response]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def api(answer: Answer, time: FakeTime, **limits: Any) -> ApiClient:
    transport = ObservedTransport(httpx.MockTransport(answer), time.timer())

    async def authorize(_refused: bool) -> dict[str, str]:
        return {"Authorization": "Bearer secret-token"}

    client = httpx.AsyncClient(transport=transport)
    return ApiClient(
        "Acme", "https://acme.example", client, authorize, limits=RequestLimits(**limits), timer=time.timer()
    )


async def test_line_has_the_promised_shape(tmp_path: Path) -> None:
    body = gzip.compress(b"[]")

    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            time.now += 0.25
            yield body

    def answer(_request: httpx.Request) -> httpx.Response:
        time.now += 1
        headers = {"x-okta-request-id": "Wabc-123", "content-encoding": "gzip"}
        return httpx.Response(200, stream=Stream(), headers=headers)

    time, trace = FakeTime(), tmp_path / "trace.jsonl"
    with trace_requests(trace):
        await api(answer, time).get("/api/v1/users/00u1/groups", {"filter": "ann@acme.com"})

    assert trace.read_text("utf-8") == (
        f'{{"at": "1970-01-01T00:16:40.000Z", "attempt": 1, "bytes": {len(body)}, "host": "acme.example", '
        '"method": "GET", "ms": 1250, "path": "/api/v1/users/{id}/groups", "request_id": "Wabc-123", "status": 200}\n'
    )
    assert trace.stat().st_mode & 0o777 == 0o600


async def test_retries_count_and_another_request_starts_again(tmp_path: Path) -> None:
    answers = iter([503, 429, 200, 401, 200])
    time, trace = FakeTime(), tmp_path / "trace.jsonl"
    acme = api(lambda _: httpx.Response(next(answers), json=[]), time)
    with trace_requests(trace):
        await acme.get("/users")
        await acme.get("/groups")  # its token is renewed

    assert [(line["path"], line["attempt"], line["status"]) for line in lines(trace)] == [
        ("/users", 1, 503),
        ("/users", 2, 429),
        ("/users", 3, 200),
        ("/groups", 1, 401),
        ("/groups", 2, 200),
    ]


async def test_request_without_an_answer_has_no_status(tmp_path: Path) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("ann@acme.com", request=request)

    time, trace = FakeTime(), tmp_path / "trace.jsonl"
    with trace_requests(trace), pytest.raises(Exception, match="no answer in time"):
        await api(fail, time, retries=1).get("/users")

    assert [(line["status"], line["bytes"], line["request_id"], line["attempt"]) for line in lines(trace)] == [
        (None, None, None, 1),
        (None, None, None, 2),
    ]


async def test_answer_that_breaks_off_has_the_bytes_that_came(tmp_path: Path) -> None:
    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"[1,"
            raise httpx.ReadError("the cable")

    time, trace = FakeTime(), tmp_path / "trace.jsonl"
    with trace_requests(trace), pytest.raises(Exception, match="broke off"):
        await api(lambda _: httpx.Response(200, stream=Stream()), time, retries=0).get("/users")

    (line,) = lines(trace)
    assert (line["status"], line["bytes"]) == (200, 3)


async def test_cancelled_request_is_recorded(tmp_path: Path) -> None:
    async def never_answer(_request: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    started, trace = asyncio.Event(), tmp_path / "trace.jsonl"
    with trace_requests(trace):
        async with httpx.AsyncClient(transport=ObservedTransport(httpx.MockTransport(never_answer))) as client:
            task = asyncio.create_task(client.get("https://acme.example/users"))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    assert [(line["path"], line["status"]) for line in lines(trace)] == [("/users", None)]


segment = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/?#\\"), min_size=1).filter(
    lambda text: text not in API_WORDS | {".", ".."} and text not in "{id}"
)
email = st.builds("{}@{}".format, segment, st.sampled_from(["acme.com", "example.com"]))


@given(person=segment | email, name=segment, address=email, server_id=segment | email)
async def test_no_event_names_a_person(
    tmp_path_factory: pytest.TempPathFactory, person: str, name: str, address: str, server_id: str
) -> None:
    headers = {b"x-request-id": server_id.encode()}
    time, trace = FakeTime(), tmp_path_factory.mktemp("trace") / "trace.jsonl"
    transport = ObservedTransport(
        httpx.MockTransport(lambda _: httpx.Response(200, json=[], headers=headers)), time.timer()
    )
    paths = [
        f"/api/v1/users/{quote(person, safe='')}/groups",
        f"/v1.0/servicePrincipals(appId='{quote(person, safe='')}')",
        f"/{quote(name, safe='')}/scim/v2/Users/{quote(person, safe='')}?filter={quote(address, safe='')}",
        f"/api/2/{quote(name, safe='')}/x?{quote(address, safe='')}=1",
    ]
    with trace_requests(trace):
        async with httpx.AsyncClient(transport=transport) as client:
            for path in paths:
                headers_sent = {"Authorization": "Bearer secret-token"}
                await client.post(f"https://ann:pass@acme.example{path}", json=[person], headers=headers_sent)

    for line in lines(trace):
        assert sorted(line) == KEYS
        assert set(line["path"].split("/")) <= API_WORDS | {"{id}", ""}
        assert line["host"] == "acme.example"
        assert "@" not in json.dumps(line)
        assert line["request_id"] is None or line["request_id"].isascii()
        assert "secret-token" not in json.dumps(line)


@pytest.mark.parametrize("content", ["connectors: {}\n", "[]\n", '{"at": 1}\n', "\n", "x" * 10_000])
def test_file_that_is_not_a_trace_is_refused_and_not_changed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content, "utf-8")
    with pytest.raises(UsageError, match="exists and is not a trace"), trace_requests(path):
        raise AssertionError
    assert path.read_text("utf-8") == content


def test_unusable_places_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing" / "trace", Path("/dev/null"), tmp_path / "pipe", Path("a\0b")):
        with pytest.raises(UsageError, match=r"^--trace: ") as raised, trace_requests(path):
            raise AssertionError
        assert raised.value.hint


async def test_trace_is_continued_after_half_a_line(tmp_path: Path) -> None:
    time, trace = FakeTime(), tmp_path / "trace.jsonl"
    acme = api(lambda _: httpx.Response(200, json=[]), time)
    for _ in range(2):
        with trace_requests(trace):
            await acme.get("/users")
        with trace.open("ab") as file:
            file.write(b'{"at": "20')

    whole, *_ = first, torn, second, _ = trace.read_bytes().split(b"\n")
    assert json.loads(whole) == json.loads(first)
    assert torn == b'{"at": "20'
    assert json.loads(second)["path"] == "/users"


LIMITED = """
import asyncio, sys, resource, signal, httpx, logging
from pathlib import Path
from agent import logs
from agent.request_trace import ObservedTransport, trace_requests
async def main():
    answers = httpx.MockTransport(lambda _: httpx.Response(200, json=[]))
    async with httpx.AsyncClient(transport=ObservedTransport(answers)) as client:
        for number in range(60):
            if number == 40:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert (await client.get("https://acme.example/users")).status_code == 200
logs.configure("info", "json", False, sys.stderr)
with trace_requests(Path(sys.argv[1])):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    asyncio.run(main())
"""


def test_full_disk_is_logged_once_and_stops_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    ran = subprocess.run([sys.executable, "-c", LIMITED, str(trace)], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [event["event"] for event in events] == ["trace.not_written"]
    written = trace.read_bytes().splitlines()
    torn = [line for line in written if not line.endswith(b"}")]
    assert len(torn) <= 1
    # What fitted before, and all after there was room again.
    assert 20 < len(written) - len(torn) < 40
    assert all(json.loads(line) for line in written if line not in torn)


def test_disk_without_room_is_refused_at_the_start(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from agent.request_trace import TraceFile; TraceFile(Path(sys.argv[1]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "trace.jsonl")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert "UsageError" in ran.stderr
    assert "can't be written" in ran.stderr


@contextmanager
def captured(level: str) -> Iterator[list[dict[str, Any]]]:
    root = logging.getLogger()
    before, stream, found = (root.handlers[:], root.level), io.StringIO(), list[dict[str, Any]]()
    logs.configure(level, "json", False, stream)
    try:
        yield found
        found += [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        structlog.reset_defaults()


@pytest.mark.parametrize(("level", "count"), [("debug", 1), ("info", 0)])
async def test_debug_log_has_the_same_fields(tmp_path: Path, level: str, count: int) -> None:
    time, trace = FakeTime(), tmp_path / "trace.jsonl"
    with captured(level) as found, trace_requests(trace):
        headers = {"request-id": "Graph-1"}
        await api(lambda _: httpx.Response(200, json=[], headers=headers), time).get("/v1.0/users/ann@acme.com")

    events = [event for event in found if event["event"] == "http.request"]
    (line,) = lines(trace)
    assert len(events) == count
    for event in events:
        assert {key: event[key] for key in KEYS if key != "at"} == {key: line[key] for key in KEYS if key != "at"}
        assert event["path"] == "/v1.0/users/{id}"
