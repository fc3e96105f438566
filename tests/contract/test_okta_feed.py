"""Okta's System Log as a feed: polled by its own next link, and everyone that it names is looked at by id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest

from connectors.base import PermissionMissing, ReadError, Source, Status
from connectors.feed import CursorLost, Feed, FeedEvent, Standing
from connectors.http import RequestLimits
from connectors.okta.feed import create_feed
from connectors.okta.settings import OktaSettings
from connectors.provider import ConnectorContext
from sandbox.company import Company, Person
from sandbox.okta import LogOptions, okta_app
from tests.contract.pretend_directories import ORG, PretendOkta


class Harness:
    def __init__(self) -> None:
        self.okta = PretendOkta()
        self.answers: list[httpx.Response] = []
        self.refused: dict[str, int] = {}
        self.date = ""
        settings = OktaSettings.model_validate({"type": "okta", "org_url": ORG, "api_token": "api-token"})
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self._served = httpx.ASGITransport(okta_app(self.okta.org))
        context = ConnectorContext(self.http, RequestLimits(retries=0))
        self.feed: Feed = create_feed("okta-main", settings, context, wall=self.okta.clock)
        self.source = Source("okta-main", self.okta.app.id)

    @property
    def company(self) -> Company:
        return self.okta.company

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        for part, status in self.refused.items():
            if part in request.url.path:
                return httpx.Response(status, json={"errorCode": "E0000007" if status == 404 else "E0000006"})
        answer = await self._served.handle_async_request(request)
        headers = httpx.Headers(answer.headers)
        if self.date:
            headers["Date"] = self.date
        return httpx.Response(answer.status_code, headers=headers, content=await answer.aread())

    def later(self, seconds: float) -> None:
        self.okta.clock.seconds += seconds

    def assigned(self, index: int = 0) -> Person:
        """Return an active person who has the application through one group, and in no other way."""
        home, app = self.company.okta, self.okta.app
        found = [
            home.people[key]
            for key, groups in home.assignments(app).items()
            if len(groups) == 1 and key not in app.individuals and home.people[key].status == "ACTIVE"
        ]
        return found[index]

    async def standing(self, person: Person) -> Standing:
        return (await self.feed.look_at({person.id: person.email}, self.source))[person.id].standing


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    made = Harness()
    yield made
    await made.http.aclose()


async def poll_all(feed: Feed, cursor: str) -> tuple[list[FeedEvent], str]:
    events: list[FeedEvent] = []
    while True:
        page = await feed.poll(cursor)
        events += page.events
        cursor = page.cursor
        if not page.has_more:
            return events, cursor


async def test_leaver_is_named_after_the_cursor_and_not_again(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    harness.later(5)
    harness.company.suspend(person)

    events, cursor = await poll_all(harness.feed, cursor)
    again, same = await poll_all(harness.feed, cursor)

    assert [(each.word, each.people, each.is_wide) for each in events] == [
        ("user.lifecycle.suspend", (person.id,), False)
    ]
    assert events[0].at is not None
    assert events[0].at.timestamp() == harness.okta.clock.seconds
    assert (again, same) == ([], cursor), "an idle log gives the same cursor"


async def test_group_is_a_wide_event_that_names_its_people_too(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    group = harness.okta.app.groups[0]
    harness.company.unassign_group(harness.okta.app, group)

    events, _ = await poll_all(harness.feed, cursor)

    assert events[0].word == "group.application_assignment.remove"
    assert events[0].is_wide
    assert {each.word for each in events[1:]} == {"application.user_membership.remove"}
    assert all(each.people for each in events[1:])


@pytest.mark.parametrize("options", [LogOptions(shuffles_targets=True), LogOptions(doubled_share=1)])
async def test_people_are_found_whatever_the_order_of_targets_and_events(harness: Harness, options: LogOptions) -> None:
    harness.okta.org.system_log.options = options
    cursor = (await harness.feed.begin()).cursor
    person = harness.assigned()
    harness.company.quit(person, harness.company.groups_of(person)[0].id)
    harness.later(60)

    events, _ = await poll_all(harness.feed, cursor)

    assert {each.people for each in events} == {(person.id,)}
    assert {each.word for each in events} >= {"group.user_membership.remove"}


async def test_late_event_is_not_lost(harness: Harness) -> None:
    harness.okta.org.system_log.options = LogOptions(late_share=1, late_seconds=50)
    cursor = (await harness.feed.begin()).cursor
    late = harness.assigned()
    harness.company.suspend(late)
    harness.okta.org.system_log.options = LogOptions()
    harness.later(10)
    harness.company.suspend(harness.assigned())
    first, cursor = await poll_all(harness.feed, cursor)
    harness.later(60)
    second, _ = await poll_all(harness.feed, cursor)

    assert (len(first), [each.people for each in second]) == (1, [(late.id,)])
    assert second[0].at is not None
    assert first[0].at is not None
    assert second[0].at < first[0].at


async def test_refused_cursor_is_lost_and_not_a_list_of_leavers(harness: Harness) -> None:
    cursor = (await harness.feed.begin()).cursor
    harness.okta.org.system_log.expire_cursors()

    with pytest.raises(CursorLost) as lost:
        await harness.feed.poll(cursor)
    assert "after=" not in lost.value.message


async def test_missing_permission_names_the_scope(harness: Harness) -> None:
    harness.refused["/logs"] = 403

    with pytest.raises(PermissionMissing) as missing:
        await harness.feed.begin()
    assert "okta.logs.read" in missing.value.hint


async def test_cursor_to_another_host_is_not_followed(harness: Harness) -> None:
    with pytest.raises(ReadError):
        await harness.feed.poll("https://evil.example.com/api/v1/logs?after=1_1")


async def test_standing_follows_what_happened(harness: Harness) -> None:
    app, company = harness.okta.app, harness.company
    suspended, deactivated, deleted, left, stays = (harness.assigned(number) for number in range(5))
    company.suspend(suspended)
    company.deactivate(deactivated)
    company.delete(deleted)
    for group in company.groups_of(left):
        if group.id in app.groups:
            company.quit(left, group.id)

    standings = [await harness.standing(each) for each in (suspended, deactivated, deleted, left, stays)]

    assert standings == [*[Standing.LEFT] * 4, Standing.ENTITLED]


async def test_missing_person_has_not_left_where_no_person_can_be_seen(harness: Harness) -> None:
    person = harness.assigned()
    harness.refused["/users/"] = 404

    found = (await harness.feed.look_at({person.id: person.email}, harness.source))[person.id]

    assert (found.standing, found.found.status) == (Standing.UNKNOWN, Status.DELETED)


async def test_inactive_application_shows_no_leaver(harness: Harness) -> None:
    harness.okta.app.active = False
    with pytest.raises(ReadError):
        await harness.feed.look_at({harness.assigned().id: ""}, harness.source)


async def test_membership_without_the_assignment_proves_nothing(harness: Harness) -> None:
    person = harness.assigned()
    harness.refused[f"/apps/{harness.okta.app.id}/users/{person.id}"] = 404
    assert await harness.standing(person) is Standing.UNKNOWN


async def test_failed_read_of_one_person_leaves_the_others(harness: Harness) -> None:
    broken, left = harness.assigned(0), harness.assigned(1)
    harness.company.suspend(left)
    harness.refused[f"/users/{broken.id}"] = 403

    found = await harness.feed.look_at({each.id: each.email for each in (broken, left)}, harness.source)

    assert {key: each.standing for key, each in found.items()} == {
        broken.id: Standing.UNKNOWN,
        left.id: Standing.LEFT,
    }


async def test_individual_assignment_is_left_to_a_whole_run(harness: Harness) -> None:
    person = harness.assigned()
    harness.company.assign_individually(person, harness.okta.app)
    for group in harness.company.groups_of(person):
        if group.id in harness.okta.app.groups:
            harness.company.quit(person, group.id)
    assert await harness.standing(person) is Standing.ENTITLED


async def test_only_the_groups_of_the_source_count(harness: Harness) -> None:
    person = harness.assigned()
    own = next(group.id for group in harness.company.groups_of(person) if group.id in harness.okta.app.groups)
    other = next(group for group in harness.okta.app.groups if group != own)
    harness.source = replace(harness.source, groups=(other,))

    assert await harness.standing(person) is Standing.UNKNOWN


async def test_address_that_another_person_has_now_proves_nothing(harness: Harness) -> None:
    """Everyone may have got a new id: the old ones are deleted, and the same humans are there again."""
    person = harness.assigned()
    group = next(group.id for group in harness.company.groups_of(person) if group.id in harness.okta.app.groups)
    harness.company.delete(person)
    assert await harness.standing(person) is Standing.LEFT

    harness.company.hire("okta", person.given, person.family, [group], person.email)

    assert await harness.standing(person) is Standing.UNKNOWN


@pytest.mark.parametrize("hours", [-1, 1])
async def test_first_poll_begins_at_the_time_of_okta_whatever_our_clock_shows(harness: Harness, hours: int) -> None:
    person, okta = harness.assigned(), harness.okta.clock
    dated = datetime.fromtimestamp(okta.seconds, UTC)
    harness.date = format_datetime(dated, usegmt=True)
    ours = okta.seconds + hours * 3600
    settings = OktaSettings.model_validate({"type": "okta", "org_url": ORG, "api_token": "api-token"})
    context = ConnectorContext(harness.http, RequestLimits(retries=0))
    feed = create_feed("okta-main", settings, context, wall=lambda: ours)

    page = await feed.begin()
    harness.later(5)
    harness.company.suspend(person)
    events, _ = await poll_all(feed, page.cursor)

    assert page.server_time == dated
    assert [each.people for each in events] == [(person.id,)]
