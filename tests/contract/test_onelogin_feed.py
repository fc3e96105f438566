"""OneLogin's events as a feed: polled from an overlap on, and everyone that they name is looked at by id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from email.utils import formatdate

import httpx
import pytest

from connectors.base import IncompleteRead, PermissionMissing, ReadError, Source, Status
from connectors.feed import CursorLost, Feed, FeedEvent, Standing, StandingFound
from connectors.http import RequestLimits, Timer
from connectors.onelogin import OneLoginSettings
from connectors.onelogin.feed import PAGE_LIMIT, create_feed
from connectors.provider import ConnectorContext
from sandbox.company import Company, Group, Person
from sandbox.onelogin import EventOptions, onelogin_app
from tests.contract.pretend_directories import ACCOUNT, SECRET, PretendOneLogin


class Harness:
    """A feed of a pretend account. *refused* has the status for paths with a part, *bodies* the whole answer."""

    def __init__(self) -> None:
        self.onelogin = PretendOneLogin()
        self.refused: dict[str, int] = {}
        self.bodies: dict[str, object] = {}
        self.headers: dict[str, str] = {}
        self.requests: list[httpx.URL] = []
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self._served = httpx.ASGITransport(onelogin_app(self.onelogin.account))
        self.source = Source("onelogin-apac", self.onelogin.app.id)
        self.feed = self.make_feed()

    def make_feed(self) -> Feed:
        values = {"type": "onelogin", "api_url": ACCOUNT, "client_id": "id", "client_secret": SECRET}
        settings = OneLoginSettings.model_validate(values)
        context = ConnectorContext(self.http, RequestLimits(retries=0))

        async def sleep(seconds: float) -> None:
            self.later(seconds)

        timer = Timer(self.onelogin.clock, sleep, self.onelogin.clock)
        return create_feed("onelogin-apac", settings, context, timer=timer)

    @property
    def company(self) -> Company:
        return self.onelogin.company

    @property
    def options(self) -> EventOptions:
        return self.onelogin.account.events.options

    @options.setter
    def options(self, options: EventOptions) -> None:
        self.onelogin.account.events.options = options

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request.url)
        for part, body in self.bodies.items():
            if part in request.url.path:
                return httpx.Response(200, json=body)
        for part, status in self.refused.items():
            if part in request.url.path:
                return httpx.Response(status, json={"error": True, "code": status, "type": "", "message": "Refused"})
        answer = await self._served.handle_async_request(request)
        headers = httpx.Headers({**dict(answer.headers), **self.headers})
        return httpx.Response(answer.status_code, headers=headers, content=await answer.aread())

    def asked(self, part: str) -> list[httpx.URL]:
        return [url for url in self.requests if url.path.endswith(part)]

    def later(self, seconds: float) -> None:
        self.onelogin.clock.seconds += seconds

    def people(self, number: int = 1) -> list[Person]:
        """Return active people who have the application through one role, and in no other way."""
        home, app = self.company.onelogin, self.onelogin.app
        return [
            home.people[key]
            for key, roles in home.assignments(app).items()
            if len(roles) == 1
            and key not in app.individuals
            and (home.people[key].status, home.people[key].state) == ("1", 1)
        ][:number]

    def assigned(self) -> Person:
        return self.people()[0]

    def role_of(self, person: Person) -> Group:
        granting = self.onelogin.app.groups
        return next(role for role in self.company.groups_of(person) if role.id in granting)

    async def look(self, *people: Person) -> Mapping[str, StandingFound]:
        return await self.feed.look_at({each.id: each.email for each in people}, self.source)

    async def standing(self, person: Person) -> Standing:
        return (await self.look(person))[person.id].standing

    async def poll(self, cursor: str) -> tuple[list[FeedEvent], str]:
        page = await self.feed.poll(cursor)
        assert not page.has_more
        return list(page.events), page.cursor


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    made = Harness()
    yield made
    await made.http.aclose()


async def test_leaver_is_named_after_the_place_and_not_again(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    harness.later(5)
    harness.company.suspend(person)

    events, cursor = await harness.poll(cursor)
    again, same = await harness.poll(cursor)

    (event,) = events
    assert (event.word, event.people, event.is_wide) == ("USER_SUSPENDED", (person.id,), False)
    assert event.at is not None
    assert event.at.timestamp() == harness.onelogin.clock.seconds
    assert (again, same) == ([], cursor)


async def test_a_quiet_poll_is_one_request_with_its_order_percent_encoded(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    harness.requests.clear()

    await harness.poll(cursor)

    (request,) = harness.requests
    assert b"sort=%2Bid" in request.query
    assert b"limit=50" in request.query


async def test_types_are_asked_for_once_a_day(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    for _ in range(3):
        await harness.poll(cursor)
    assert len(harness.asked("/types")) == 1
    harness.later(90_000)
    await harness.poll(cursor)
    assert len(harness.asked("/types")) == 2


@pytest.mark.parametrize(
    "options",
    [
        EventOptions(renumbered_by=5000),
        EventOptions(unlisted=frozenset({"USER_SUSPENDED"})),
        EventOptions(doubled_share=1),
    ],
    ids=["other ids", "name not in the list", "doubled"],
)
async def test_leaver_is_named_whatever_the_list_of_types_shows(harness: Harness, options: EventOptions) -> None:
    harness.options = options
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    harness.company.suspend(person)

    events, _ = await harness.poll(cursor)

    assert {(each.word, each.people, each.is_wide) for each in events} == {("USER_SUSPENDED", (person.id,), False)}


async def test_ids_are_the_fallback_where_the_list_of_types_cannot_be_read(harness: Harness) -> None:
    harness.refused["/types"] = 500
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    harness.company.suspend(person)

    assert [each.people for each in (await harness.poll(cursor))[0]] == [(person.id,)]
    assert len(harness.asked("/types")) == 1
    harness.later(700)
    await harness.poll(cursor)
    assert len(harness.asked("/types")) == 2


@pytest.mark.parametrize("keeps_early_ids", [False, True], ids=["higher id", "lower id"])
async def test_late_event_is_not_lost(harness: Harness, keeps_early_ids: bool) -> None:
    harness.options = EventOptions(late_share=1, late_seconds=50, keeps_early_ids=keeps_early_ids)
    cursor = (await harness.feed.begin()).cursor
    late, other = harness.people(2)
    harness.company.suspend(late)
    harness.options = EventOptions(keeps_early_ids=keeps_early_ids)
    harness.later(10)
    harness.company.suspend(other)
    first, cursor = await harness.poll(cursor)
    harness.later(60)
    second, cursor = await harness.poll(cursor)
    third, _ = await harness.poll(cursor)

    assert [each.people for each in first] == [(other.id,)]
    assert [each.people for each in second] == [(late.id,)]
    assert third == []
    assert int(second[0].id) > int(first[0].id) or keeps_early_ids
    assert first[0].at is not None
    assert second[0].at is not None
    assert second[0].at < first[0].at


async def test_lost_event_names_no_one(harness: Harness) -> None:
    harness.options = EventOptions(lost_share=1)
    cursor = (await harness.feed.begin()).cursor
    harness.company.suspend(harness.assigned())
    assert (await harness.poll(cursor))[0] == []


async def test_more_than_a_page_is_read_by_the_key_of_its_last_row(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    for _ in range(2 * PAGE_LIMIT + 1):
        harness.company.rename(person, given="Ana")
        harness.later(0.01)

    events, cursor = await harness.poll(cursor)

    assert len(events) == len({each.id for each in events}) == 2 * PAGE_LIMIT + 1
    assert len(harness.asked("/events")) == 4
    harness.later(600)
    assert (await harness.poll(cursor))[0] == []
    harness.requests.clear()
    assert (await harness.poll((await harness.poll(cursor))[1]))[0] == []
    assert len(harness.requests) <= 4, "a burst that is long ago is not read again and again"


async def test_feed_that_names_everyone_is_bounded_and_begins_afresh(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    for _ in range(21 * PAGE_LIMIT):
        harness.onelogin.account.events.add("USER_UPDATED", person.id)
        harness.later(0.001)
    with pytest.raises(CursorLost, match="1,000 events"):
        await harness.poll(cursor)

    page = await harness.feed.begin()
    harness.later(1)
    harness.company.suspend(person)
    harness.requests.clear()
    events, _ = await harness.poll(page.cursor)

    assert len(page.events) == PAGE_LIMIT
    assert [each.word for each in events] == ["USER_SUSPENDED"]
    assert len(harness.requests) <= 2


async def test_role_without_its_application_is_wide_and_names_the_application(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    role = harness.onelogin.app.groups[0]
    harness.company.unassign_group(harness.onelogin.app, role)
    harness.onelogin.account.events.add("MAPPINGS_REAPPLIED")

    events, _ = await harness.poll(cursor)

    assert [(each.word, each.is_wide, each.people, each.groups, each.apps) for each in events] == [
        ("APP_REMOVED_FROM_ROLE", True, (), (), (harness.onelogin.app.id,)),
        ("MAPPINGS_REAPPLIED", True, (), (), ()),
    ]


async def test_role_given_may_add_and_role_taken_names_its_person(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    role = harness.role_of(person)
    harness.company.quit(person, role.id)
    harness.company.join(person, role.id)

    events, _ = await harness.poll(cursor)

    assert [(each.may_add, each.is_wide, each.people, each.groups) for each in events] == [
        (False, False, (person.id,), (role.id,)),
        (True, False, (person.id,), (role.id,)),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"event_type_id": 5, "user_id": 1}, None),
        ({"event_type_id": 3999, "user_id": 1}, (("1",), False)),
        ({"event_type_id": 3999, "user_id": None}, ((), True)),
        ({"event_type_id": 21, "user_id": None}, ((), True)),
        ({"event_type_id": None, "user_id": True}, ((), True)),
        ("rubbish", ((), True)),
    ],
    ids=["known noise", "unknown with a person", "unknown", "known without a person", "odd", "no object"],
)
async def test_row_that_was_not_asked_for_may_mean_anything(
    harness: Harness, row: object, expected: tuple[tuple[str, ...], bool] | None
) -> None:
    cursor = (await harness.feed.begin()).cursor
    row = {"id": 9, "created_at": "2026-11-23T00:00:00.000Z", **row} if isinstance(row, dict) else row
    harness.bodies["/api/1/events"] = {"status": {}, "pagination": {"after_cursor": None}, "data": [row]}

    events, cursor = await harness.poll(cursor)

    assert [(each.people, each.is_wide) for each in events] == ([] if expected is None else [expected])
    assert (await harness.poll(cursor))[0] == [], "the same row is known, with an id or without one"


async def test_page_that_hides_whether_another_follows_is_an_error(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    rows = [{"id": number, "event_type_id": 21, "user_id": 1} for number in range(PAGE_LIMIT)]
    harness.bodies["/api/1/events"] = {"data": rows}
    with pytest.raises(IncompleteRead, match="without its pagination"):
        await harness.poll(cursor)


async def test_repeated_page_ends_the_poll(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    harness.bodies["/api/1/events"] = {"data": [], "pagination": {"after_cursor": "c2FtZQ=="}}
    with pytest.raises(IncompleteRead, match="repeats"):
        await harness.poll(cursor)


@pytest.mark.parametrize(
    "cursor",
    [
        "https://acme.okta.example/api/v1/logs?after=1_1",
        "",
        "[]",
        '{"since": true}',
        '{"since": 1, "known": [1]}',
        '{"since": -1, "known": []}',
        '{"since": 9e99, "known": []}',
        '{"since": 999999999999999999, "known": []}',
    ],
)
async def test_foreign_place_is_lost_and_is_not_quoted(harness: Harness, cursor: str) -> None:
    with pytest.raises(CursorLost) as lost:
        await harness.poll(cursor)
    assert not cursor or cursor not in lost.value.message
    assert harness.requests == []


@pytest.mark.parametrize("status", [400, 410, 422])
async def test_refused_place_is_lost_and_not_a_list_of_leavers(harness: Harness, status: int) -> None:
    cursor = (await harness.feed.begin()).cursor
    harness.refused["/api/1/events"] = status
    with pytest.raises(CursorLost):
        await harness.poll(cursor)
    with pytest.raises(IncompleteRead):
        await harness.make_feed().begin()


async def test_missing_permission_names_the_scope(harness: Harness) -> None:
    harness.refused["/api/1/events"] = 403
    with pytest.raises(PermissionMissing) as missing:
        await harness.feed.begin()
    assert "Read Users" in missing.value.hint


async def test_limit_that_another_client_has_used_up_ends_the_poll_and_not_the_looks(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    harness.later(3_500)
    harness.onelogin.account.use_events_quota(5_000)

    with pytest.raises(IncompleteRead):
        await harness.poll(cursor)
    sent = len(harness.requests)
    with pytest.raises(IncompleteRead, match="used up its rate limit"):
        await harness.poll(cursor)

    assert len(harness.requests) == sent, "no request before the time that OneLogin names"
    assert await harness.standing(harness.assigned()) is Standing.ENTITLED
    harness.later(100)
    assert (await harness.poll(cursor))[0] == []


@pytest.mark.parametrize("ahead", [-7200, 7200], ids=["behind", "ahead"])
async def test_clock_that_differs_from_the_providers_loses_no_leaver(harness: Harness, ahead: int) -> None:
    now = harness.onelogin.clock.seconds
    harness.onelogin.account.events.source.now = lambda: harness.onelogin.clock.seconds - ahead
    harness.headers["Date"] = _http_date(now - ahead)
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    harness.later(1)
    harness.company.suspend(person)

    assert [each.people for each in (await harness.poll(cursor))[0]] == [(person.id,)]


async def test_event_from_the_future_hides_no_later_one(harness: Harness) -> None:
    harness.headers["Date"] = _http_date(harness.onelogin.clock.seconds)
    cursor = (await harness.feed.begin()).cursor
    first, second = harness.people(2)
    harness.later(86_400)
    harness.company.rename(first, given="Ana")
    events, cursor = await harness.poll(cursor)
    harness.later(-86_400)
    harness.company.suspend(second)
    later, _ = await harness.poll(cursor)
    assert (len(events), [each.people for each in later]) == (1, [(second.id,)])


async def test_standing_follows_what_happened(harness: Harness) -> None:
    company = harness.company
    suspended, deleted, left, stays, unlicensed = harness.people(5)
    company.suspend(suspended)
    company.delete(deleted)
    company.quit(left, harness.role_of(left).id)
    unlicensed.state = 3

    found = await harness.look(suspended, deleted, left, stays, unlicensed)

    assert [found[each.id].standing for each in (suspended, deleted, left, stays, unlicensed)] == [
        *[Standing.LEFT] * 3,
        Standing.ENTITLED,
        Standing.LEFT,
    ]
    doubted = [each for each in (suspended, deleted, left) if harness.feed.needs_second_look(found[each.id])]
    assert doubted == [left], "a mapping may give another role seconds later"


async def test_mapping_that_moves_a_person_is_no_leaver_at_the_second_look(harness: Harness) -> None:
    harness.options = EventOptions(mapping_seconds=8)
    person = harness.assigned()
    other = next(key for key in harness.onelogin.app.groups if key != harness.role_of(person).id)
    harness.company.move(person, harness.role_of(person).id, other)

    first = (await harness.look(person))[person.id]
    assert harness.feed.needs_second_look(first)
    harness.later(harness.feed.second_look_seconds)

    assert await harness.standing(person) is Standing.ENTITLED


async def test_change_that_was_undone_before_the_look_is_no_leaver(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    harness.company.suspend(person)
    harness.company.reinstate(person)

    events, _ = await harness.poll(cursor)

    assert {each.people for each in events} == {(person.id,)}
    assert await harness.standing(person) is Standing.ENTITLED


@pytest.mark.parametrize("is_hidden", [False, True])
async def test_individual_assignment_is_left_to_a_whole_run(harness: Harness, is_hidden: bool) -> None:
    person = harness.assigned()
    harness.onelogin.app.active = not is_hidden
    harness.company.assign_individually(person, harness.onelogin.app)
    harness.company.quit(person, harness.role_of(person).id)

    assert await harness.standing(person) is Standing.UNKNOWN
    harness.source = replace(harness.source, ignores_individuals=True)
    assert await harness.standing(person) is Standing.LEFT


async def test_only_the_roles_of_the_source_count(harness: Harness) -> None:
    person = harness.assigned()
    other = next(key for key in harness.onelogin.app.groups if key != harness.role_of(person).id)
    harness.source = replace(harness.source, groups=(other,))

    found = (await harness.look(person))[person.id]

    assert (found.standing, harness.feed.needs_second_look(found)) == (Standing.LEFT, True)


async def test_application_without_roles_shows_no_leaver(harness: Harness) -> None:
    person = harness.assigned()
    for role in list(harness.onelogin.app.groups):
        harness.company.unassign_group(harness.onelogin.app, role)
    assert await harness.standing(person) is Standing.UNKNOWN


@pytest.mark.parametrize("status", [403, 404])
async def test_unreadable_application_is_an_error(harness: Harness, status: int) -> None:
    harness.refused[f"/apps/{harness.onelogin.app.id}"] = status
    with pytest.raises(ReadError):
        await harness.look(harness.assigned())


async def test_404_for_everyone_is_no_leaver(harness: Harness) -> None:
    harness.refused["/api/2/users/"] = 404
    person = harness.assigned()

    found = (await harness.look(person))[person.id]

    assert (found.standing, found.found.status) == (Standing.UNKNOWN, Status.DELETED)


async def test_404_for_a_person_who_is_still_listed_is_no_leaver(harness: Harness) -> None:
    person = harness.assigned()
    harness.refused[f"/users/{person.id}"] = 404
    assert await harness.standing(person) is Standing.UNKNOWN


async def test_roles_that_no_person_shows_prove_nothing(harness: Harness) -> None:
    person = harness.assigned()
    row = {"id": int(person.id), "email": person.email, "status": 1, "state": 1, "role_ids": []}
    harness.bodies[f"/users/{person.id}/apps"] = []
    harness.bodies["/api/2/users/"] = row

    assert await harness.standing(person) is Standing.UNKNOWN


@pytest.mark.parametrize(
    "change", [{"role_ids": None}, {"status": 77}, {"id": 1}, {"state": None}], ids=lambda change: next(iter(change))
)
async def test_row_that_shows_less_proves_nothing(harness: Harness, change: dict[str, object]) -> None:
    person = harness.assigned()
    row = {"id": int(person.id), "email": person.email, "status": 1, "state": 1, "role_ids": []}
    harness.bodies[f"/users/{person.id}"] = row | change
    assert await harness.standing(person) is Standing.UNKNOWN


async def test_failed_read_of_one_person_leaves_the_others(harness: Harness) -> None:
    broken, left = harness.people(2)
    harness.company.suspend(left)
    harness.refused[f"/users/{broken.id}"] = 403

    found = await harness.look(broken, left)

    assert {key: each.standing for key, each in found.items()} == {broken.id: Standing.UNKNOWN, left.id: Standing.LEFT}


async def test_address_that_another_person_has_now_proves_nothing(harness: Harness) -> None:
    """Everyone may have got a new id: the old ones are deleted, and the same humans are there again."""
    person = harness.assigned()
    role = harness.role_of(person)
    harness.company.delete(person)
    assert await harness.standing(person) is Standing.LEFT

    again = harness.company.hire("onelogin", person.given, person.family, [role.id], person.email)
    assert await harness.standing(person) is Standing.UNKNOWN

    harness.company.suspend(again)
    assert await harness.standing(person) is Standing.LEFT


async def test_requests_of_a_look_are_few(harness: Harness) -> None:
    suspended, left = harness.people(2)
    harness.company.suspend(suspended)
    harness.company.quit(left, harness.role_of(left).id)

    await harness.look(suspended)
    assert len(harness.requests) <= 5, "a token, the application, its roles, the person, their address"
    harness.requests.clear()
    await harness.look(left)
    assert len(harness.requests) <= 7, "and their applications, a role and one of its people"


def _http_date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)
