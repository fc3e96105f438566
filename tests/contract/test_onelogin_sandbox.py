"""The OneLogin connector against the pretend OneLogin: the company as it is, and with every fault at every request."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
import pytest

from connectors.base import CredentialsRefused, IncompleteRead, Person, ReadError, Snapshot, Source, Status
from connectors.http import RequestLimits
from connectors.onelogin import OneLoginSettings
from connectors.onelogin.connector import OneLoginConnector
from sandbox import company
from sandbox.faults.action import System
from sandbox.faults.middleware import FaultMiddleware, Runtime
from sandbox.faults.parse import parse_rules
from sandbox.faults.registry import FaultRegistry
from sandbox.onelogin import OneLoginOptions, onelogin_app
from tests.contract.okta_org import FakeTime
from tests.contract.pretend_directories import ACCOUNT, PretendOneLogin

Fault = dict[str, object]


@dataclass
class Harness:
    """A pretend account behind faults, and a connector that reads it."""

    pretend: PretendOneLogin = field(default_factory=PretendOneLogin)
    book: FaultRegistry = field(default_factory=FaultRegistry)
    time: FakeTime = field(default_factory=FakeTime)

    @property
    def source(self) -> Source:
        return Source("onelogin-apac", self.pretend.app.id)

    def connector(self, client_id: str = "id") -> OneLoginConnector:
        around = Runtime(lambda: self.time.now, self.time.sleep, httpx.ReadError)
        app = FaultMiddleware(onelogin_app(self.pretend.account), self.book, System.ONELOGIN, around)
        settings = {"type": "onelogin", "api_url": ACCOUNT, "client_id": client_id, "client_secret": "secret"}
        return OneLoginConnector(
            "onelogin-apac",
            OneLoginSettings.model_validate(settings),
            httpx.AsyncClient(transport=httpx.ASGITransport(app)),
            limits=RequestLimits(max_bytes=2**20, max_pages=30),
            timer=self.time.timer,
        )

    async def read(self, *faults: Fault) -> Snapshot:
        self.book.put(parse_rules({"faults": list(faults)}))
        return await self.connector().read(self.source)

    def people_by_id(self) -> dict[str, company.Person]:
        directory = self.pretend.company.onelogin
        return {key: directory.people[key] for key in directory.assignments(self.pretend.app)}


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def test_snapshot_is_the_company(harness: Harness) -> None:
    snapshot = await harness.read()
    people_by_id, roles = harness.people_by_id(), harness.pretend.company.onelogin.groups
    assert snapshot.app_name == harness.pretend.app.name
    assert {(group.id, group.name) for group in snapshot.groups} == {
        (key, roles[key].name) for key in harness.pretend.app.groups
    }
    assert {person.id: person.email for person in snapshot.people} == {
        key: each.email for key, each in people_by_id.items()
    }
    for person in snapshot.people:
        assert set(person.groups) == {key for key in harness.pretend.app.groups if person.id in roles[key].people}
        assert person.individual is (not person.groups)
        assert person.display_name == people_by_id[person.id].display_name
    assert {person.email for person in snapshot.people if person.status is not Status.ACTIVE} == {
        "duy.dang@acme.com",
        "jun.wang@acme.com",
    }
    assert sum(person.individual for person in snapshot.people) == 1


@pytest.mark.parametrize(
    "fault",
    [{"do": "encoded-cursor"}, {"do": "doubled-headers", "names": "*"}, {"do": "html", "status": 522, "times": 2}],
)
async def test_onelogins_other_response_formats_change_nothing(harness: Harness, fault: Fault) -> None:
    expected = await harness.read()
    assert await harness.read(fault) == expected


async def test_check_finds_nothing_to_fix(harness: Harness) -> None:
    findings = await harness.connector().check([harness.source])
    assert {finding.level for finding in findings} == {"ok"}


@pytest.mark.parametrize("switches", [OneLoginOptions(end_cursor="empty"), OneLoginOptions(wraps_token=True)])
async def test_what_is_documented_in_two_ways_is_read_alike(harness: Harness, switches: OneLoginOptions) -> None:
    expected = await harness.read()
    harness.pretend.account.options = switches
    assert await harness.read() == expected


async def test_token_that_was_revoked_between_two_reads_is_requested_again(harness: Harness) -> None:
    connector = harness.connector()
    expected = await connector.read(harness.source)
    harness.pretend.account.revoke_all()
    assert (await connector.lookup(expected.people[0].id, harness.source)).status is Status.ACTIVE


async def test_scope_that_is_too_small_is_a_matter_of_credentials(harness: Harness) -> None:
    with pytest.raises(CredentialsRefused, match="Insufficient Permissions") as raised:
        await harness.connector("people").read(harness.source)
    assert "Read All" in raised.value.hint


async def test_credential_whose_owner_was_deleted_is_reported(harness: Harness) -> None:
    harness.pretend.account.options = OneLoginOptions(owner_deleted=True)
    with pytest.raises(IncompleteRead, match="answered 500 to the token request") as raised:
        await harness.read()
    assert "administrator" in raised.value.hint


async def test_leaver_is_suspended_deleted_or_elsewhere(harness: Harness) -> None:
    first, second, *_ = (await harness.read()).people
    harness.pretend.company.suspend(str(first.email))
    harness.pretend.company.delete(second.id)
    connector = harness.connector()
    assert (await connector.lookup(first.id, harness.source)).status is Status.SUSPENDED
    assert (await connector.lookup(second.id, harness.source)).status is Status.DELETED
    snapshot = await connector.read(harness.source)
    assert {person.id: person.status for person in snapshot.people}[first.id] is Status.SUSPENDED
    assert second.id not in {person.id for person in snapshot.people}


EVERY_FAULT: tuple[Fault, ...] = (
    {"do": "status", "status": 400},
    {"do": "status", "status": 403},
    {"do": "status", "status": 404},
    {"do": "status", "status": 429},
    {"do": "status", "status": 500},
    {"do": "status", "status": 503},
    {"do": "html"},
    {"do": "html", "status": 404},
    {"do": "disconnect"},
    {"do": "reset"},
    {"do": "revoke-token"},
    {"do": "early-retry"},
    {"do": "expired-cursor"},
    {"do": "truncated"},
    {"do": "truncated", "keep": 0},
    {"do": "invalid-json"},
    {"do": "no-body"},
    {"do": "no-body", "status": 200},
    {"do": "huge-body", "size": 2**21},
    {"do": "deep-json"},
    {"do": "empty-page"},
    {"do": "repeated-cursor"},
    {"do": "foreign-link"},
    {"do": "endless-pages"},
    {"do": "first-page-again"},
    {"do": "wrong-total", "by": 1},
    {"do": "wrong-total", "by": -1},
    {"do": "duplicate-rows"},
    {"do": "nulls"},
    {"do": "nulls", "ids": True},
    {"do": "nulls", "rows": "first"},
    {"do": "nulls", "rows": "first", "ids": True},
    {"do": "headers", "headers": {"After-Cursor": ""}},
    {"do": "headers", "headers": {"Total-Count": ""}},
    {"do": "headers", "headers": {"After-Cursor": "", "Total-Count": ""}},
    {"do": "headers", "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3600"}},
    # Drift on a first page looks like a person who joined or left before: no reader can see the difference.
    {"do": "drift", "kind": "removed", "query": "*cursor=*"},
    {"do": "drift", "kind": "added", "query": "*cursor=*"},
)


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=str)
@pytest.mark.parametrize("when", ["at", "start"])
async def test_injected_fault_at_any_one_request_never_gives_a_shorter_snapshot(when: str, fault: Fault) -> None:
    harness = Harness()
    expected = await harness.read()
    number, has_fired = 0, True
    while has_fired:
        number += 1
        harness.time.now += 7200
        snapshot = await read_or_none(harness, fault | {when: number})
        assert snapshot is None or is_harmless(snapshot, expected)
        has_fired = bool(harness.book.fired)
    assert number > 1


async def read_or_none(harness: Harness, fault: Fault) -> Snapshot | None:
    try:
        return await harness.read(fault)
    except ReadError:
        return None


def is_harmless(snapshot: Snapshot, expected: Snapshot) -> bool:
    """Return whether *shot* is whole, or marks everyone it shows differently as unknown."""
    shown = {person.id: person for person in snapshot.people}
    others = [person for person in expected.people if shown.get(person.id) != person]
    is_of_them = shown.keys() <= {person.id for person in expected.people}
    return snapshot == expected or (
        is_of_them and all(is_unjudged(shown.get(person.id), snapshot) for person in others)
    )


def is_unjudged(person: Person | None, snapshot: Snapshot) -> bool:
    return "" in snapshot.unidentified if person is None else person.status is Status.UNKNOWN


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "status", "status": 503, "times": 3},
        {"do": "html", "times": 3},
        {"do": "disconnect", "times": 3},
        {"do": "reset", "times": 3},
        {"do": "early-retry", "at": 3},
        {"do": "empty-page", "every": 2},
        {"do": "duplicate-rows"},
        {"do": "wrong-total", "by": 1, "times": 2},
        # The count of all users, their first page, and now the second.
        {"do": "drift", "path": "/api/2/users", "at": 3},
        {"do": "foreign-link"},
    ],
    ids=str,
)
async def test_injected_fault_that_heals_changes_nothing(fault: Fault) -> None:
    harness = Harness()
    expected = await harness.read()
    assert await harness.read(fault) == expected
    assert harness.book.fired
