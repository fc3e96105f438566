"""What every feed promises under faults, one provider after another: no fault makes anyone a leaver or loses a change.

A new feed gets its line in `feed_worlds.WORLDS`, and passes these tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from connectors.base import ReadError
from connectors.feed import CursorLost, FeedEvent, Standing
from sandbox.company import Person
from tests.contract.feed_worlds import WORLDS, FeedWorld, poll_all
from tests.contract.okta_org import Fault, body, broken_off, cut_off, unreachable

FAULTS_DOCUMENT = Path(__file__).parents[2] / "docs" / "change-feed.md"
STAYS = 99
HTML = "<html><script>x()</script><h1>Bad gateway</h1></html>"


def refusal(status: int) -> Fault:
    """Answer with an error in the shapes of all providers at once."""
    codes = {401: "E0000011", 403: "E0000006", 404: "E0000007", 429: "E0000047"}
    words = {401: "InvalidAuthenticationToken", 403: "Authorization_RequestDenied", 404: "Request_ResourceNotFound"}
    document: dict[str, object] = {
        "errorCode": codes.get(status, "E0000009"),
        "errorSummary": "no",
        "error": {"code": words.get(status, "UnknownError"), "message": "no"},
        "status": {"error": True, "code": status, "type": "error", "message": "no"},
        "statusCode": status,
        "message": "no",
    }
    return lambda _: httpx.Response(status, json=document)


def timed_out(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too slow", request=request)


def elsewhere_by_header(request: httpx.Request) -> httpx.Response:
    link = f"https://evil.example.com{request.url.path}?cursor=1"
    return httpx.Response(200, json=[], headers={"link": f'<{link}>; rel="next"'})


def elsewhere(request: httpx.Request) -> httpx.Response:
    """Answer with an empty page, and links to another server in every provider's place for them."""
    link = f"https://evil.example.com{request.url.path}?cursor=1"
    document = {
        "@odata.nextLink": link,
        "@odata.deltaLink": link,
        "value": [],
        "data": [],
        "pagination": {"next_link": link, "after_cursor": "1"},
    }
    return httpx.Response(200, json=document)


PASSING: dict[str, Fault] = {
    **{str(status): refusal(status) for status in (408, 429, 502, 503, 504)},
    "html 502": body(HTML, 502, {"content-type": "text/html"}),
    "broken off": broken_off,
    "cut off": cut_off,
    "unreachable": unreachable,
    "timed out": timed_out,
}
LASTING: dict[str, Fault] = {
    **{str(status): refusal(status) for status in (400, 401, 403, 404, 410, 500)},
    "html 200": body(HTML, 200, {"content-type": "text/html"}),
    "html 404": body(HTML, 404, {"content-type": "text/html"}),
    "redirect": body("", 302, {"location": "https://evil.example.com/"}),
    "redirect 307": body("", 307, {"location": "https://evil.example.com/"}),
    "elsewhere": elsewhere,
    "elsewhere by header": elsewhere_by_header,
    "empty": body(""),
    "truncated": body('{"value": [{"id": '),
    "number": body("7"),
    "null": body("null"),
    "object": body("{}"),
    "list": body("[]"),
    "list of null": body("[null]"),
    "page of null": body('{"value": [null]}'),
    "no page": body('{"value": {}}'),
    "empty page": body('{"value": []}'),
    "error in 200": body('{"error": {"code": "x", "message": "y"}}'),
    "too deep": body("[" * 5_000),
}
WRONG = ("elsewhere", "list of null", "page of null", "empty page", "object", "list")
"""The faults that could pass for an answer."""

FAULTS = {name: PASSING[name] for name in ("429", "503", "broken off", "cut off", "timed out")} | LASTING


@pytest.fixture(params=list(WORLDS))
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def change(world: FeedWorld) -> tuple[Person, Person, Person]:
    """Let one person be suspended and one leave their groups; the third stays."""
    suspended, left, stays = (world.assigned(number) for number in range(3))
    world.company.suspend(suspended)
    world.leave_groups(left)
    return suspended, left, stays


def places(world: FeedWorld) -> Iterator[tuple[str, str, list[Fault | None]]]:
    """Yield each fault at each path that *world* was asked for: its name, the path, the answers.

    A wrong answer with 200 comes once, and for good: the second look may show something else.
    """
    paths = sorted({request.url.path for request in world.requests})
    # Nothing changes from here on, and to serve each answer again would take twice the time.
    world.remembered = {}
    for path in paths:
        for name, fault in FAULTS.items():
            yield name, path, [fault] * STAYS
            if name in WRONG:
                yield name, path, [fault]


def names_all(events: list[FeedEvent], people: set[str]) -> bool:
    return any(each.is_wide for each in events) or people <= {key for each in events for key in each.people}


def complain(error: ReadError) -> None:
    """Fail for an error that shows no next step, or shows a token or a cursor."""
    assert error.message
    assert error.hint
    for secret in ("deltatoken", "skiptoken", "after=", "api-token", "Bearer", "evil.example.com/api/v1/logs?"):
        assert secret not in error.message + error.hint


async def test_fault_at_any_request_of_a_poll_loses_no_change(provider: str) -> None:
    world = WORLDS[provider]()
    cursor = (await world.feed.begin()).cursor
    suspended, left, _ = change(world)
    world.requests.clear()
    await poll_all(world.feed, cursor)
    for name, path, answers in places(world):
        world.at = {path: answers}
        try:
            events, following = await poll_all(world.feed, cursor)
        except ReadError as error:
            complain(error)
            continue
        assert names_all(events, {suspended.id, left.id}), (name, path)
        assert "evil" not in following, (name, path)
    world.at = {}
    events, _ = await poll_all(world.feed, cursor)
    assert names_all(events, {suspended.id, left.id}), "the old cursor still leads there"
    assert {request.url.host for request in world.requests} == {world.host}


async def test_fault_at_any_request_of_a_beginning_gives_an_error_or_a_cursor(provider: str) -> None:
    world = WORLDS[provider]()
    await world.feed.begin()
    for name, path, answers in places(world):
        world.at = {path: answers}
        try:
            begun = await world.feed.begin()
        except CursorLost:
            raise AssertionError((name, path)) from None
        except ReadError as error:
            complain(error)
            continue
        assert "evil" not in begun.cursor, (name, path)
    assert {request.url.host for request in world.requests} == {world.host}


async def test_fault_at_any_request_of_a_look_makes_no_one_a_leaver(provider: str) -> None:
    world = WORLDS[provider]()
    _, left, stays = change(world)
    whole = await world.look_as_runs_do(left, stays)
    assert whole == {left.id: Standing.LEFT, stays.id: Standing.ENTITLED}
    for name, path, answers in places(world):
        world.at = {path: answers}
        try:
            found = await world.look_as_runs_do(left, stays)
        except ReadError as error:
            complain(error)
            continue
        # A complete answer, given twice: that they are in no group.
        is_answer = name == "empty page" and f"/{stays.id}/" in path and len(answers) > 1
        assert found[stays.id] is not Standing.LEFT or is_answer, (name, path)
    assert {request.url.host for request in world.requests} == {world.host}


@pytest.mark.parametrize("name", PASSING)
async def test_passing_fault_heals_within_the_poll(provider: str, name: str) -> None:
    world = WORLDS[provider](retries=3)
    cursor = (await world.feed.begin()).cursor
    suspended, left, _ = people = change(world)
    for start in (1, 2):
        world.requests.clear()
        world.nth = {start: PASSING[name]}
        events, _ = await poll_all(world.feed, cursor)
        assert {suspended.id, left.id} <= {key for each in events for key in each.people}
    world.requests.clear()
    assert (await world.look_as_runs_do(*people))[suspended.id] is Standing.LEFT


async def test_refusals_of_too_many_requests_wait_as_asked(provider: str) -> None:
    world = WORLDS[provider](retries=3)
    cursor = (await world.feed.begin()).cursor
    world.requests.clear()
    world.nth = {1: lambda _: httpx.Response(429, headers={"retry-after": "40"})}
    before = world.time.now
    await poll_all(world.feed, cursor)
    assert 40 <= world.time.now - before < 60


async def test_narrowed_role_that_sees_no_one_makes_no_one_a_leaver(provider: str) -> None:
    world = WORLDS[provider]()
    people = [world.assigned(number) for number in range(5)]
    world.at["/users/"] = [refusal(404)] * STAYS
    assert Standing.LEFT not in set((await world.look_as_runs_do(*people)).values())


async def test_person_who_was_put_back_before_the_look_stays(provider: str) -> None:
    world = WORLDS[provider]()
    cursor = (await world.feed.begin()).cursor
    person = world.assigned()
    world.company.suspend(person)
    world.company.reinstate(person)
    events, _ = await poll_all(world.feed, cursor)
    assert person.id in {key for each in events for key in each.people}
    assert await world.look_as_runs_do(person) == {person.id: Standing.ENTITLED}


async def test_clock_of_this_machine_decides_nothing(provider: str) -> None:
    """A clock that is wrong by days may lose the place; it names no one who did not change, and no one leaves."""
    world = WORLDS[provider]()
    cursor = (await world.feed.begin()).cursor
    suspended, left, stays = change(world)
    for skew in (-3 * 86_400, 3 * 86_400):
        world.time.now += skew
        events, _ = await poll_all(world.feed, cursor)
        assert stays.id not in {key for each in events for key in each.people}
        found = await world.look_as_runs_do(suspended, left, stays)
        assert found == {suspended.id: Standing.LEFT, left.id: Standing.LEFT, stays.id: Standing.ENTITLED}


@pytest.mark.parametrize("cursor", ["https://evil.example.com/api/v1/logs?after=1_1", "rubbish"])
async def test_foreign_cursor_is_an_error_and_is_not_followed(provider: str, cursor: str) -> None:
    world = WORLDS[provider]()
    with pytest.raises(ReadError) as refused:
        await world.feed.poll(cursor)
    complain(refused.value)
    assert {request.url.host for request in world.requests} <= {world.host}


async def test_feed_that_names_everyone_names_them_and_decides_nothing(provider: str) -> None:
    world = WORLDS[provider]()
    cursor = (await world.feed.begin()).cursor
    everyone = [world.assigned(number) for number in range(6)]
    for person in everyone:
        world.company.rename(person, given=f"{person.given}x")
    events, _ = await poll_all(world.feed, cursor)
    assert {each.id for each in everyone} <= {key for each in events for key in each.people}
    assert set((await world.look_as_runs_do(*everyone)).values()) == {Standing.ENTITLED}


def test_document_names_every_test_of_this_table() -> None:
    text = FAULTS_DOCUMENT.read_text("utf-8").partition("## Faults")[2]
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named == {name for name in globals() if name.startswith("test_") and "document" not in name}
