"""Pretend providers with a change feed, of one shape, for the promises that every feed keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx
from starlette.types import ASGIApp

from connectors.base import Source
from connectors.entra import EntraSettings
from connectors.entra.feed import create_feed as create_entra_feed
from connectors.feed import Feed, FeedEvent, Standing, StandingFound
from connectors.http import RequestLimits, Timer
from connectors.okta import OktaSettings
from connectors.okta.feed import create_feed as create_okta_feed
from connectors.onelogin import OneLoginSettings
from connectors.onelogin.feed import create_feed as create_onelogin_feed
from connectors.provider import ConnectorContext
from sandbox.company import Company, Person
from sandbox.entra import EntraOptions, entra_app
from sandbox.okta import okta_app
from sandbox.onelogin import onelogin_app
from tests.contract.entra_tenant import AUTHORITY, CLIENT_ID, GRAPH, TENANT_ID, discovery
from tests.contract.okta_org import FakeTime, Fault
from tests.contract.pretend_directories import ACCOUNT, ORG, PretendOkta, PretendOneLogin
from tests.contract.pretend_directories import SECRET as ONELOGIN_SECRET
from tests.contract.pretend_entra import SECRET, Harness

__all__ = ["WORLDS", "EntraWorld", "FeedWorld", "OktaWorld", "OneLoginWorld", "poll_all"]


class FeedWorld(ABC):
    """One feed and the provider behind it.

    *nth* and *at* replace answers: by number of the request from 1, or by a part of the path for as long as they last,
    None leaving one answer as it is. *after* is called once, after a request whose path has the part was answered.
    """

    def __init__(self, app: ASGIApp, retries: int = 0) -> None:
        self.requests: list[httpx.Request] = []
        self.nth: dict[int, Fault] = {}
        self.at: dict[str, list[Fault | None]] = {}
        self.after: dict[str, Callable[[], object]] = {}
        self.remembered: dict[str, tuple[int, httpx.Headers, bytes]] | None = None
        """Answers that are given again, where a test sets it: nothing changes meanwhile."""
        self.time = FakeTime()
        self.limits = RequestLimits(retries=retries, max_wait_seconds=120)
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self._served = httpx.ASGITransport(app)

    host: str
    feed: Feed
    source: Source
    company: Company

    @abstractmethod
    def assigned(self, index: int = 0) -> Person:
        """Return an active person who has the application through one group, and in no other way."""

    @abstractmethod
    def leave_groups(self, person: Person) -> None:
        """Take *person* out of every group of the application."""

    def sign_in(self, request: httpx.Request) -> httpx.Response | None:  # noqa: ARG002
        """Return the answer to a request for a token, None for any other request."""
        return None

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        signed_in = self.sign_in(request)
        if signed_in is not None:
            return signed_in
        self.requests.append(request)
        fault = self.nth.get(len(self.requests))
        for part, faults in self.at.items():
            if fault is None and part in request.url.path and faults:
                fault = faults.pop(0)
        if fault is not None:
            return fault(request)
        status, headers, content = await self._serve(request)
        for part in [part for part in self.after if part in request.url.path]:
            self.after.pop(part)()
        return httpx.Response(status, headers=headers, content=content)

    async def _serve(self, request: httpx.Request) -> tuple[int, httpx.Headers, bytes]:
        if self.remembered is not None and (known := self.remembered.get(str(request.url))) is not None:
            return known
        answer = await self._served.handle_async_request(request)
        found = answer.status_code, answer.headers, await answer.aread()
        if self.remembered is not None:
            self.remembered[str(request.url)] = found
        return found

    def requests_to(self, part: str) -> int:
        return sum(part in request.url.path for request in self.requests)

    async def look(self, *people: Person, source: Source | None = None) -> Mapping[str, StandingFound]:
        return await self.feed.look_at({each.id: each.email for each in people}, source or self.source)

    async def look_as_runs_do(self, *people: Person) -> Mapping[str, Standing]:
        """Return how people stand after the second look that some of them need."""
        first = await self.look(*people)
        doubted = [
            each
            for each in people
            if first[each.id].standing is Standing.LEFT and self.feed.needs_second_look(first[each.id])
        ]
        second = await self.look(*doubted) if doubted else {}
        return {key: each.standing for key, each in {**first, **second}.items()}


class OktaWorld(FeedWorld):
    host = httpx.URL(ORG).host

    def __init__(self, retries: int = 0) -> None:
        self.okta = PretendOkta()
        super().__init__(okta_app(self.okta.org), retries)
        self.company = self.okta.company
        settings = OktaSettings.model_validate({"type": "okta", "org_url": ORG, "api_token": "api-token"})
        context = ConnectorContext(self.http, self.limits)
        self.feed = create_okta_feed("okta-main", settings, context, timer=self.time.timer, wall=self.okta.clock)
        self.source = Source("okta-main", self.okta.app.id)

    def assigned(self, index: int = 0) -> Person:
        home, app = self.company.okta, self.okta.app
        found = [
            home.people[key]
            for key, groups in home.assignments(app).items()
            if len(groups) == 1 and key not in app.individuals and home.people[key].status == "ACTIVE"
        ]
        return found[index]

    def leave_groups(self, person: Person) -> None:
        for group in self.company.groups_of(person):
            if group.id in self.okta.app.groups:
                self.company.quit(person, group.id)


class EntraWorld(FeedWorld):
    """A tenant in which the group `Sales` gives the application to all *people*; `Board` has no one."""

    host = httpx.URL(GRAPH).host

    def __init__(self, retries: int = 0, people: int = 6, switches: EntraOptions | None = None) -> None:
        self.harness = Harness(people, switches or EntraOptions(units=None))
        self.tenant, self.company = self.harness.tenant, self.harness.company
        self.delta = self.tenant.delta_log
        super().__init__(entra_app(self.tenant), retries)
        self.source = Source("entra-eu", self.harness.app.id, ignores_individuals=True)
        self.use(self.source)

    def use(self, *sources: Source) -> None:
        """Read the feed for *sources* from now on."""
        self.source = sources[0]
        usual = {"type": "entra", "tenant_id": TENANT_ID, "client_id": CLIENT_ID, "client_secret": SECRET}
        context = replace(ConnectorContext(self.http, self.limits), sources=sources)
        settings = EntraSettings.model_validate(usual)
        self.feed = create_entra_feed(
            "entra-eu", settings, context, timer=self.time.timer, wall=lambda: self.harness.clock[0]
        )

    def sign_in(self, request: httpx.Request) -> httpx.Response | None:
        if not str(request.url).startswith(AUTHORITY):
            return None
        if request.url.path.endswith("/openid-configuration"):
            return httpx.Response(200, json=discovery())
        return httpx.Response(200, json=self.tenant.token_issuer.token_response(CLIENT_ID, "graph"))

    def assigned(self, index: int = 0) -> Person:
        return self.harness.staff[index]

    def leave_groups(self, person: Person) -> None:
        self.company.quit(person, "Sales")

    def later(self, seconds: float) -> None:
        self.harness.clock[0] += seconds


class OneLoginWorld(FeedWorld):
    host = httpx.URL(ACCOUNT).host

    def __init__(self, retries: int = 0) -> None:
        self.onelogin = PretendOneLogin()
        super().__init__(onelogin_app(self.onelogin.account), retries)
        self.company = self.onelogin.company
        values = {"type": "onelogin", "api_url": ACCOUNT, "client_id": "id", "client_secret": ONELOGIN_SECRET}
        timer = Timer(self.time.timer.now, self.time.sleep, self.onelogin.clock)
        context = ConnectorContext(self.http, self.limits)
        self.feed = create_onelogin_feed("onelogin-apac", OneLoginSettings.model_validate(values), context, timer=timer)
        self.source = Source("onelogin-apac", self.onelogin.app.id)

    def sign_in(self, request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/auth/oauth2/v2/token":
            return None
        return httpx.Response(200, json=self.onelogin.account.issue_token("id", ONELOGIN_SECRET))

    def assigned(self, index: int = 0) -> Person:
        home, app = self.company.onelogin, self.onelogin.app
        found = [
            home.people[key]
            for key, roles in home.assignments(app).items()
            if len(roles) == 1 and key not in app.individuals and home.people[key].status == "1"
        ]
        return [each for each in found if each.state == 1][index]

    def leave_groups(self, person: Person) -> None:
        for role in self.company.groups_of(person):
            if role.id in self.onelogin.app.groups:
                self.company.quit(person, role.id)


WORLDS: dict[str, Callable[..., FeedWorld]] = {"okta": OktaWorld, "entra": EntraWorld, "onelogin": OneLoginWorld}
"""Every provider with a feed, by name."""


async def poll_all(feed: Feed, cursor: str) -> tuple[list[FeedEvent], str]:
    """Return the events after *cursor* to the newest, and where to go on."""
    events: list[FeedEvent] = []
    while True:
        page = await feed.poll(cursor)
        events += page.events
        cursor = page.cursor
        if not page.has_more:
            return events, cursor
