"""The lines of `check` that every provider has: how they are bounded, and what the clocks show."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from connectors.base import CheckName, CredentialsRefused, Finding, IncompleteRead, ReadError, Source
from connectors.checks import check_feed, check_groups, check_sources, clock_skew, next_link_finding
from connectors.directory import AppGroup
from connectors.feed import FeedPage, StandingFound
from tests.fake_feed import FakeFeed

SOURCE, OTHER = Source("main", "one"), Source("main", "two")


async def accepted() -> None:
    """Accept the credentials."""


async def test_check_that_takes_too_long_keeps_what_it_found_before() -> None:
    async def check_source(subject: str, source: Source) -> list[Finding]:
        if source is OTHER:
            await asyncio.Event().wait()
        return [Finding("ok", subject, "well", name=CheckName.APPLICATION)]

    found = await check_sources("connector main", accepted, "reached", [SOURCE, OTHER], check_source, seconds=0.05)

    assert [(each.name, each.source) for each in found] == [
        (CheckName.CREDENTIALS, None),
        (CheckName.APPLICATION, SOURCE),
        (CheckName.TIME_LIMIT, None),
    ]
    assert (found[-1].level, "within 0.05 s" in found[-1].message) == ("error", True)


async def test_one_group_that_can_not_be_read_stops_no_other_and_many_are_cut() -> None:
    async def count(group: AppGroup) -> str:
        if group.id == "3":
            raise IncompleteRead("no", "ask")
        return "2 people"

    found = await check_groups("connector main", [AppGroup(str(number), f"g{number}") for number in range(150)], count)

    assert [each.message for each in found if each.level == "error"] == ["no"]
    assert len(found) == 101
    assert found[-1].message == "50 more groups were not tried"


@pytest.mark.parametrize(
    ("shown", "skew"), [(100, 0), (104, 0), (105, 0), (99, 0), (98, -1), (40, -59), (106, 1), (705, 600)]
)
def test_skew_is_none_while_the_answer_may_be_from_between(shown: float, skew: float) -> None:
    assert clock_skew(shown, sent_at=100, received_at=105) == skew


@pytest.mark.parametrize(
    ("link", "level"),
    [
        (None, "ok"),
        ("https://acme.okta.com/api/v1/users?after=1", "ok"),
        ("https://acme.okta.com:443/api/v1/users?after=1", "ok"),
        ("http://acme.okta.com/api/v1/users?after=1", "error"),
        ("https://acme.okta.com:8443/api/v1/users?after=1", "error"),
        ("https://login.acme.com/api/v1/users?after=1", "error"),
    ],
)
def test_next_page_must_be_at_the_configured_address(link: str | None, level: str) -> None:
    assert next_link_finding("connector main", link, "https://acme.okta.com", "org_url").level == level


class TriedFeed(FakeFeed):
    """A feed that refuses what *refused* names: its events, or an application."""

    def __init__(self, refused: str, error: ReadError) -> None:
        super().__init__()
        self.refused = refused
        self.error = error

    async def begin(self) -> FeedPage:
        if self.refused == "events":
            raise self.error
        return await super().begin()

    async def look_at(self, people: Mapping[str, str], source: Source) -> Mapping[str, StandingFound]:
        if self.refused == source.app:
            raise self.error
        return await super().look_at(people, source)


async def test_feed_is_tried_for_its_events_and_each_application() -> None:
    refused = CredentialsRefused("invalid_scope: okta.logs.read.", "Grant okta.logs.read.")

    well = await check_feed("connector main", TriedFeed("", refused), [SOURCE, OTHER])
    no_events = await check_feed("connector main", TriedFeed("events", refused), [SOURCE, OTHER])
    no_app = await check_feed("connector main", TriedFeed("two", refused), [SOURCE, OTHER])

    assert [(each.level, each.name, each.source) for each in well] == [
        ("ok", CheckName.CHANGE_FEED, None),
        ("ok", CheckName.CHANGE_FEED, SOURCE),
        ("ok", CheckName.CHANGE_FEED, OTHER),
    ]
    (finding,) = no_events
    assert (finding.level, finding.message) == (
        "warning",
        "The change feed can't be read: invalid_scope: okta.logs.read.",
    )
    assert finding.remedy.startswith("Grant okta.logs.read. Runs go on without the feed")
    assert [(each.level, each.source) for each in no_app] == [("ok", None), ("ok", SOURCE), ("warning", OTHER)]
    assert "CANARY" not in str([well, no_events, no_app])


async def test_feed_that_does_not_answer_ends_its_check_in_time() -> None:
    class SilentFeed(FakeFeed):
        async def begin(self) -> FeedPage:
            await asyncio.Event().wait()
            raise AssertionError

    (finding,) = await check_feed("connector main", SilentFeed(), [SOURCE], seconds=0.05)

    assert (finding.level, finding.name) == ("error", CheckName.TIME_LIMIT)
