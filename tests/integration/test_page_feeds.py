"""The change feeds on the overview: each state is a clear line with what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.daemon.interface import FeedState, FeedStatus
from tests.integration.test_page_approvals import PageDaemon, Visitor, daemon, visitor

__all__ = ["daemon", "visitor"]

# The page compares with the time of day: the parameters are moved to it when their test begins.
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERY = timedelta(seconds=15)
WELL = FeedStatus("okta-main", EVERY, polled_at=NOW, since=NOW, lags=[10, 18, 40])
LATER = timedelta(hours=1)


def moved(feed: FeedStatus, by: timedelta) -> FeedStatus:
    names = ("polled_at", "since", "until", "lost_at")
    return replace(feed, **{name: at + by for name in names if (at := getattr(feed, name)) is not None})


@pytest.mark.parametrize(
    ("feed", "state", "words"),
    [
        (WELL, FeedState.WORKING, ["Change feed okta-main: polled", "median lag 18 s in the last day"]),
        (replace(WELL, lags=()), FeedState.WORKING, ["no leaver in the last day"]),
        (FeedStatus("okta-main", None), FeedState.OFF, ["Change feed okta-main: off.", "feed of the connector"]),
        (replace(WELL, polled_at=None), FeedState.NOT_YET, ["Change feed okta-main: not polled yet"]),
        (
            replace(WELL, problem="It has no okta.logs.read. Grant it.", until=NOW + LATER),
            FeedState.REFUSED,
            ["Change feed okta-main is off: It has no okta.logs.read. Grant it.", "tried again in"],
        ),
        (
            replace(WELL, problem="It gave no answer. Try again later."),
            FeedState.FAILING,
            ["can't be polled: It gave no answer.", "wait for the next scheduled run"],
        ),
        (
            replace(WELL, polled_at=NOW - LATER),
            FeedState.SILENT,
            ["was last polled", "feed.failed in the log", "restart the daemon"],
        ),
        (replace(WELL, polled_at=None, since=NOW - LATER), FeedState.SILENT, ["has not been polled since"]),
        (
            replace(WELL, lost="the feed lost its place", lost_at=NOW),
            FeedState.LOST,
            ["began afresh", "the feed lost its place", "A run over everyone makes up", "polled"],
        ),
        (
            replace(WELL, unlooked={"latam": "The application is not ACTIVE. Activate it."}),
            FeedState.WORKING,
            ["named people of latam who can't be judged: The application is not ACTIVE.", "No one is deactivated"],
        ),
        (replace(WELL, missed=1), FeedState.WORKING, ["announced 1 leaver whom", "Run pigment-sync check"]),
        (replace(WELL, skew=-LATER), FeedState.WORKING, ["clock is 60 min behind", "Let the machine follow"]),
        (replace(WELL, skew=2 * LATER), FeedState.WORKING, ["clock is 2 h ahead of", "No deactivation depends on it"]),
    ],
)
async def test_state_of_a_feed_is_a_line_with_its_remedy(
    visitor: Visitor, daemon: PageDaemon, feed: FeedStatus, state: FeedState, words: list[str]
) -> None:
    now = datetime.now(UTC)
    daemon.feeds = (moved(feed, now - NOW),)

    shown = await visitor.read("/")

    assert feed.state_at(NOW) is state
    assert [each for each in words if each not in shown] == [], shown
