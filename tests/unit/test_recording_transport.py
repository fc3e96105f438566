"""Which answers a recording keeps, and which of several answers to one request."""

from __future__ import annotations

import gzip
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Sequence

import httpx
import pytest

from agent.recording.address import System
from agent.recording.transport import KeptAnswer, Recorder

OKTA = System("connector-1", "okta", "https://acme.okta.example")
ENTRA = System("connector-2", "entra", "https://graph.example")
PIGMENT = System("workspace-1", "pigment", "https://pigment.example/scim/v2")
OTHER_PIGMENT = System("workspace-2", "pigment", "https://pigment.example/scim/v2/other")
USERS = "https://acme.okta.example/api/v1/users"

HeaderTypes = dict[str, str] | Sequence[tuple[str, str]]
Handler = Callable[[httpx.Request], httpx.Response]


class Body(httpx.AsyncByteStream):
    """A body as a network transport gives it: not read yet. It breaks off after *content* if *is_cut*."""

    def __init__(self, content: bytes, *, is_cut: bool = False) -> None:
        self.content = content
        self.is_cut = is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content
        if self.is_cut:
            raise httpx.ReadError("lost")


def response(status: int, content: bytes = b"", headers: HeaderTypes = ()) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=Body(content))


async def answers(handler: Handler, *urls: str, method: str = "GET", headers: dict[str, str] | None = None) -> Recorder:
    recorder = Recorder([OKTA, ENTRA, PIGMENT, OTHER_PIGMENT])
    async with httpx.AsyncClient(transport=recorder.wrap(httpx.MockTransport(handler))) as client:
        for url in urls:
            await client.request(method, url, headers=headers)
    return recorder


def in_turn(*responses: httpx.Response) -> Handler:
    remaining = iter(responses)
    return lambda _: next(remaining)


def statuses(recorder: Recorder) -> list[int]:
    return [each.status for each in recorder.answers()]


def kept(recorder: Recorder) -> Sequence[KeptAnswer]:
    return list(recorder.answers())


async def test_a_compressed_body_is_kept_as_it_reads() -> None:
    body = response(200, gzip.compress(b"[1]"), {"content-encoding": "gzip", "x-secret": "1"})
    (answer,) = kept(await answers(in_turn(body), USERS))
    assert answer.body == b"[1]"
    assert answer.headers == ()
    assert answer.system is OKTA


async def test_headers_of_lists_are_kept() -> None:
    found = response(200, b"", [("link", "<a>"), ("link", "<b>"), ("total-count", "5"), ("set-cookie", "x")])
    (answer,) = kept(await answers(in_turn(found), USERS))
    assert answer.headers == (("link", "<a>"), ("link", "<b>"), ("total-count", "5"))


async def test_token_requests_and_other_servers_are_not_kept() -> None:
    recorder = await answers(lambda _: response(200), f"{USERS}/token", method="POST")
    assert kept(recorder) == []
    assert kept(await answers(lambda _: response(200), "https://elsewhere.example/x")) == []


async def test_a_request_without_an_answer_counts_as_one_that_failed() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    recorder = Recorder([OKTA])
    async with httpx.AsyncClient(transport=recorder.wrap(httpx.MockTransport(fail))) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(USERS)
    assert statuses(recorder) == [504]


async def test_a_body_that_was_not_read_to_its_end_counts_as_failed() -> None:
    recorder = Recorder([OKTA])
    handler = in_turn(httpx.Response(200, stream=Body(b"[", is_cut=True)))
    async with httpx.AsyncClient(transport=recorder.wrap(httpx.MockTransport(handler))) as client:
        with pytest.raises(httpx.ReadError):
            await client.get(USERS)
    assert statuses(recorder) == [504]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([429, 503, 200], [200]),
        ([401, 200], [200]),
        ([503, 503], [503]),
        ([404, 404], [404]),
        ([404, 200], [404, 200]),
    ],
)
async def test_only_the_last_of_repeated_attempts_is_kept(given: list[int], expected: list[int]) -> None:
    recorder = await answers(in_turn(*(response(each) for each in given)), *([USERS] * len(given)))
    assert statuses(recorder) == expected


@pytest.mark.parametrize(("bodies", "count"), [("aa", 1), ("aab", 3), ("aba", 3)])
async def test_a_list_that_changes_keeps_each_answer(bodies: str, count: int) -> None:
    recorder = await answers(in_turn(*(response(200, each.encode()) for each in bodies)), *([USERS] * len(bodies)))
    assert len(kept(recorder)) == count


async def test_a_refusal_by_a_rate_limit_stays_one() -> None:
    recorder = await answers(in_turn(response(403, b"", {"retry-after": "60"})), USERS)
    assert statuses(recorder) == [429]
    assert statuses(await answers(in_turn(response(403)), USERS)) == [403]


async def test_the_longer_address_is_the_workspace() -> None:
    url = "https://pigment.example/scim/v2/other/Users?startIndex=1"
    (answer,) = kept(await answers(lambda _: response(200), url))
    assert answer.system is OTHER_PIGMENT


@pytest.mark.parametrize(
    ("claims", "expected"), [(b'{"roles":["Member.Read.Hidden"]}', True), (b'{"roles":[]}', False), (b"", None)]
)
async def test_the_permission_to_read_hidden_members_is_kept_and_no_token(claims: bytes, expected: bool | None) -> None:
    token = f"e30.{urlsafe_b64encode(claims).decode().rstrip('=')}.x" if claims else "opaque"
    recorder = await answers(
        lambda _: response(200),
        "https://graph.example/v1.0/users/1",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert recorder.hidden_members == {"connector-2": expected}
    assert token not in str(kept(recorder))
