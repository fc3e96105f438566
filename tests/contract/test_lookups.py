"""A lookup of a leaver decides nothing: whatever it meets, at any provider, the run continues and reports it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from structlog.testing import capture_logs

from agent.engine.confirm import Confirmation
from agent.engine.lookup import MAX_CONCURRENT, MAX_FAILURES, Lookups
from agent.guard.empty_groups import GroupSightings, newly_empty_groups, next_sightings
from agent.guard.hold import apply_guards
from agent.guard.results import GuardHistory
from agent.model import Change, GroupRef, Hold, Inputs, Kind, Link, Listing, Member, Memory, Mode, Policy
from connectors.base import (
    CheckName,
    Connector,
    CredentialsRefused,
    Finding,
    Group,
    IncompleteRead,
    LookupResult,
    Person,
    PersonKey,
    Snapshot,
    Source,
    Status,
)
from tests.contract import entra_tenant, okta_org, onelogin_account
from tests.contract.entra_tenant import Tenant
from tests.contract.okta_org import Fault, Org, body, broken_off, cut_off, unreachable
from tests.contract.onelogin_account import Account
from tests.factories import some_limits

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROVIDERS = ["okta", "entra", "onelogin"]


@pytest.fixture(autouse=True)
def _microsoft() -> Iterator[None]:
    with entra_tenant.sign_in():
        yield


@dataclass
class Provider:
    """A pretend provider that still knows *person*, who left; *path* is the URL path of their lookup.

    The lists omit *omitted* in *times* reads, after the first *after* reads.
    """

    fake: Org | Tenant | Account
    source: Source
    group: str
    person: str
    path: str
    lists: str
    omitted: str = ""
    times: int = 0
    after: int = 0
    readings: Counter[str] = field(default_factory=Counter)

    def connector(self) -> Connector:
        return self.fake.connector(transport=self)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.fake(request)
        path = request.url.path
        if re.search(self.lists, path) is None or answer.status_code != 200:
            return answer
        self.readings[path] += 1
        if not self.after < self.readings[path] <= self.after + self.times:
            return answer
        document = answer.json()
        rows = document["value"] if isinstance(document, dict) else document
        rows[:] = [row for row in rows if str(row["id"]) != self.omitted]
        return httpx.Response(200, json=document, headers={"Total-Count": str(len(rows))})


def provider(name: str) -> Provider:
    """Return a provider where each list fits on one page, with ana in Sales and Staff and someone who left."""
    match name:
        case "okta":
            org = okta_org.company()
            org.page = 50
            org.users["00uold"] = okta_org.user("old")
            path, lists = "/api/v1/users/00uold", r"/(apps|groups)/\w+/users$"
            return Provider(org, okta_org.SOURCE, okta_org.SALES, "00uold", path, lists)
        case "entra":
            tenant = entra_tenant.company()
            tenant.page = 50
            tenant.users["u-gone"] = entra_tenant.user("gone")
            return Provider(
                tenant, entra_tenant.SOURCE, entra_tenant.SALES, "u-gone", "/v1.0/users/u-gone", r"/members$"
            )
        case _:
            account = onelogin_account.company()
            account.page = 50
            account.hire("old")
            key, lists = str(100 + len(account.users)), r"/(apps|roles)/\w+/users$"
            path = f"{onelogin_account.USERS}/{key}"
            return Provider(account, onelogin_account.SOURCE, onelogin_account.SALES, key, path, lists)


async def planned(pretend: Provider, *people: str) -> tuple[list[Change], list[Hold]]:
    """Return who is deactivated, and who is held, where *people* are linked and not in the provider's lists."""
    keys = [PersonKey(pretend.source.connector, person) for person in people or (pretend.person,)]
    links = [Link(key, f"m{n}", (GroupRef(pretend.group, "Sales"),)) for n, key in enumerate(keys)]
    members = tuple(Member(f"m{n}", f"{key.id}@acme.com", key.id, True) for n, key in enumerate(keys))
    policy = Policy("latam", (pretend.source,), limits=some_limits(), mode=Mode.ENFORCE)
    connectors = {pretend.source.connector: pretend.connector()}
    snapshot = await connectors[pretend.source.connector].read(pretend.source)
    reads = Inputs((snapshot,), Listing(members), Memory(tuple(links)))
    _, plan = await Confirmation(connectors, Lookups(connectors)).confirm(reads, policy, {}, NOW)
    leave = [change for change in plan.changes if change.kind is Kind.DEACTIVATE]
    return leave, [hold for hold in plan.holds if hold.kind is Kind.DEACTIVATE]


ERRORS: dict[str, Callable[[int], Fault]] = {
    "okta": okta_org.error,
    "entra": entra_tenant.error,
    "onelogin": onelogin_account.error,
}
FAULTS = {
    "404": body("<html>not here</html>", 404),
    "500": body("", 500),
    "503": body("", 503),
    "no usable answer": body("<html>sign in</html>"),
}


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_lookup_that_is_refused_words_the_sentence_and_stops_nothing(name: str, status: int) -> None:
    pretend = provider(name)
    pretend.fake.at[pretend.path] = [ERRORS[name](status)] * 5
    ((change,), _) = await planned(pretend)
    assert change.code == "left-groups"
    assert change.reason.endswith(f"no longer assigned (could not be looked up: {status}).")


@pytest.mark.parametrize("why", FAULTS)
@pytest.mark.parametrize("name", PROVIDERS)
async def test_lookup_that_fails_words_the_sentence_and_stops_nothing(name: str, why: str) -> None:
    pretend = provider(name)
    pretend.fake.at[pretend.path] = [FAULTS[why]] * 20
    ((change,), _) = await planned(pretend)
    assert change.reason.endswith(f"no longer assigned (could not be looked up: {why}).")


@pytest.mark.parametrize("fault", [broken_off, cut_off, unreachable, body('{"id": "other"}'), body("[]"), body('"x"')])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_lookup_without_a_whole_answer_stops_nothing(name: str, fault: Fault) -> None:
    pretend = provider(name)
    pretend.fake.at[pretend.path] = [fault] * 20
    ((change,), _) = await planned(pretend)
    assert change.reason.endswith("(could not be looked up: no usable answer).")


@pytest.mark.parametrize("name", PROVIDERS)
async def test_lookup_of_a_person_that_is_answered_gives_the_usual_reason(name: str) -> None:
    ((change,), _) = await planned(provider(name))
    assert change.reason.endswith(f"left Sales in {provider(name).source.connector}.")


@pytest.mark.parametrize("name", PROVIDERS)
async def test_id_that_can_not_be_asked_for_stops_nothing(name: str) -> None:
    ((change,), _) = await planned(provider(name), "../../apps")
    assert change.reason.endswith("(could not be looked up: no usable answer).")


def without_groups(name: str) -> Provider:
    """Return a provider that answers a lookup of the person who left, and does not show who their groups are."""
    pretend = provider(name)
    match pretend.fake:
        case Account() as account:
            row = account.users[pretend.person]
            account.at[pretend.path] = [lambda _: httpx.Response(200, json=row | {"role_ids": None})]
        case Org() | Tenant() as fake:
            relation = "groups" if isinstance(fake, Org) else "memberOf"
            fake.at[f"{pretend.path}/{relation}"] = [ERRORS[name](403)] * 5
    return pretend


@pytest.mark.parametrize(("name", "why"), [("okta", "403"), ("entra", "403"), ("onelogin", "no usable answer")])
async def test_groups_that_a_lookup_does_not_show_are_named_with_the_reason(name: str, why: str) -> None:
    with capture_logs() as lines:
        ((change,), _) = await planned(without_groups(name))
    assert change.code == "left-groups"
    assert change.reason.endswith(f"(their groups could not be looked up: {why}).")
    (line,) = [each for each in lines if each["event"] == "lookup.without_groups"]
    assert ("answered 403" if why == "403" else "role_ids") in line["error"]


# What it may cost.

OKTA = Source("okta-main", "0oa1")


@dataclass
class Scripted:
    """A connector that answers lookups with *act*."""

    act: Callable[[str], LookupResult | None]
    person_ids: list[str] = field(default_factory=list)
    name: str = "okta-main"

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        raise AssertionError((source, fresh))

    def clear_cache(self) -> None:
        raise AssertionError

    async def lookup(self, person_id: str, _source: Source, /) -> LookupResult:
        self.person_ids.append(person_id)
        await asyncio.sleep(0)
        found = self.act(person_id)
        if found is None:
            await asyncio.Event().wait()
        assert found is not None
        return found

    async def check(self, sources: object) -> list[Finding]:
        raise AssertionError(sources)


def an_answer(groups: frozenset[str] = frozenset()) -> LookupResult:
    return LookupResult(Status.ACTIVE, groups=groups)


def refused(_: str) -> LookupResult:
    raise CredentialsRefused("no", "ask", 403)


async def look_up(scripted: Scripted, count: int = 25, seconds: float = 20) -> list[LookupResult]:
    keys = [PersonKey("okta-main", f"p{number}") for number in range(count)]
    person = Person("okta-main", "p", None, "", groups=("g1",))
    snapshot = Snapshot(OKTA, "Pigment", (Group("g1", "G", 1),), (person,))
    lookups = Lookups({"okta-main": scripted}, seconds)
    return list((await lookups.look_up(keys, [snapshot], Policy("latam", (OKTA,), limits=some_limits()))).values())


async def test_failures_in_a_row_end_the_lookups_of_that_connector() -> None:
    scripted = Scripted(refused)
    found = await look_up(scripted)
    assert len(scripted.person_ids) < MAX_FAILURES + MAX_CONCURRENT
    assert {each.failure for each in found} == {"403", "not tried after other lookups failed"}


async def test_lookups_that_hang_cost_one_wait_and_not_one_each() -> None:
    scripted = Scripted(lambda _: None)
    found = await look_up(scripted, seconds=0.05)
    assert len(scripted.person_ids) < MAX_FAILURES + MAX_CONCURRENT
    assert found[0].failure == "no answer in time"


async def test_failures_for_single_people_leave_the_others_their_lookups() -> None:
    def sometimes(person: str) -> LookupResult:
        if int(person[1:]) % 5 == 0:
            raise IncompleteRead("odd", "again", 500)
        return an_answer()

    scripted = Scripted(sometimes)
    found = await look_up(scripted)
    assert len(scripted.person_ids) == len(found) == 25
    assert sum(each.failure == "500" for each in found) == 5


async def test_groups_that_the_workspace_does_not_count_are_left_out() -> None:
    (found,) = await look_up(Scripted(lambda _: an_answer(frozenset({"g1", "g2"}))), count=1)
    (other,) = await look_up(Scripted(lambda _: an_answer(frozenset({"g2"}))), count=1)
    assert (found.groups, found.is_assigned) == (frozenset({"g1"}), True)
    assert (other.groups, other.is_assigned) == (frozenset(), False)


# Lists that leave people out.


OMITTED = {"okta": "00uana", "entra": "u-ana", "onelogin": onelogin_account.ANA}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_list_that_leaves_someone_out_once_is_read_again_and_costs_no_one_access(name: str) -> None:
    pretend = provider(name)
    pretend.omitted, pretend.times = OMITTED[name], 1
    assert await planned(pretend, pretend.omitted) == ([], [])
    assert set(pretend.readings.values()) == {2}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_list_that_leaves_someone_out_for_good_holds_them_and_no_one_else(name: str) -> None:
    pretend = provider(name)
    pretend.omitted, pretend.times = OMITTED[name], 99
    (change,), (hold,) = await planned(pretend, pretend.omitted, pretend.person)
    assert change.person == PersonKey(pretend.source.connector, pretend.person)
    assert (hold.code, hold.change) == ("source-disagrees", None)
    assert "Sales" in hold.reason
    assert set(pretend.readings.values()) == {2}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_connector_that_forgets_reads_every_list_again(name: str) -> None:
    """A run that plans again minutes later must see who has left meanwhile."""
    pretend = provider(name)
    connector = pretend.connector()
    await connector.read(pretend.source)
    await connector.read(pretend.source, fresh=True)
    before = dict(pretend.readings)
    connector.clear_cache()
    await connector.read(pretend.source)
    assert {path: count - before[path] for path, count in pretend.readings.items()} == dict.fromkeys(before, 1)


# A group that becomes empty.


def with_a_small_group(name: str) -> Provider:
    """Return a provider with leo alone in Small; his lookup shows that he is active, but not his groups."""
    pretend = provider(name)
    match pretend.fake:
        case Org() as org:
            org.names["00g3small"], org.members["00g3small"] = "Small", []
            org.hire("leo", "00g3small")
            org.at["/api/v1/users/00uleo/groups"] = [okta_org.error(403)] * 9
            pretend.omitted = "00uleo"
        case Tenant() as tenant:
            tenant.members["g-small"] = []
            tenant.assign("g-small", "Group", "Small")
            tenant.hire("leo", "g-small")
            tenant.at["/v1.0/users/u-leo/memberOf"] = [entra_tenant.error(403)] * 9
            pretend.omitted = "u-leo"
        case Account() as account:
            account.roles["93"], account.names["93"] = [], "Small"
            account.app["role_ids"].append(93)
            key = str(101 + len(account.users))
            row = account.hire("leo", "93")
            blind = httpx.Response(200, json=row | {"role_ids": None})
            account.at[f"{onelogin_account.USERS}/{key}"] = [lambda _: blind] * 9
            pretend.omitted = key
    pretend.after = 1
    return pretend


async def run(
    pretend: Provider, sightings: GroupSightings, now: datetime
) -> tuple[GroupSightings, list[str], list[str]]:
    """Return what a run remembers of groups, and the codes of leo's deactivation and of its hold."""
    key = PersonKey(pretend.source.connector, pretend.omitted)
    group = {"okta": "00g3small", "entra": "g-small", "onelogin": "93"}[key.connector.partition("-")[0]]
    memory = Memory((Link(key, "m0", (GroupRef(group, "Small"),)),))
    policy = Policy("latam", (pretend.source,), limits=some_limits(), mode=Mode.ENFORCE)
    connectors = {key.connector: pretend.connector()}
    snapshot = await connectors[key.connector].read(pretend.source)
    reads = Inputs((snapshot,), Listing((Member("m0", "leo@example.com", "Leo", True),)), memory)
    reads, unguarded = await Confirmation(connectors, Lookups(connectors)).confirm(reads, policy, sightings, now)
    emptied = newly_empty_groups(reads.snapshots, sightings, now)
    plan = apply_guards(
        unguarded,
        replace(policy, limits=some_limits(max_deactivations=25, max_deactivations_percent=100)),
        GuardHistory(newly_empty_groups=emptied),
    )
    going = [change.code for change in plan.changes if change.person == key and change.kind is Kind.DEACTIVATE]
    changed = next_sightings(reads.snapshots, sightings, now)
    return {**sightings, **changed}, going, [hold.code for hold in plan.holds if hold.person == key]


@pytest.mark.parametrize("name", PROVIDERS)
async def test_group_that_one_answer_shows_empty_is_read_again_and_costs_no_one_access(name: str) -> None:
    pretend = with_a_small_group(name)
    pretend.times = 1
    sightings, going, held = await run(pretend, {}, NOW)
    assert (going, held) == ([], [])
    sightings, going, held = await run(pretend, sightings, NOW + timedelta(minutes=15))
    assert (going, held) == ([], [])
    assert set(pretend.readings.values()) == {3}
    assert all(seen.empty_since is None for seen in sightings.values())


@pytest.mark.parametrize("name", PROVIDERS)
async def test_group_that_stays_empty_holds_its_leavers_until_a_run_five_minutes_on(name: str) -> None:
    pretend = with_a_small_group(name)
    pretend.times = 99
    sightings, *_ = await run(pretend, {}, NOW)
    ended = []
    for minutes in (15, 19, 20):
        sightings, going, held = await run(pretend, sightings, NOW + timedelta(minutes=minutes))
        ended.append((going, held))
    assert ended == [([], ["group-emptied"]), ([], ["group-emptied"]), (["left-groups"], [])]


# What `check` reports about it.


async def found_by_check(pretend: Provider) -> list[Finding]:
    if isinstance(pretend.fake, Tenant):
        # Of those assigned individually `check` asks for one in any case.
        pretend.fake.assigned = [row for row in pretend.fake.assigned if row["principalType"] == "Group"]
    return await pretend.connector().check([pretend.source])


@pytest.mark.parametrize("name", PROVIDERS)
async def test_check_looks_one_person_up_and_reports_nothing_when_that_works(name: str) -> None:
    assert {finding.level for finding in await found_by_check(provider(name))} == {"ok"}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_check_warns_that_no_person_can_be_looked_up_and_what_it_costs(name: str) -> None:
    pretend = provider(name)
    for key in list(pretend.fake.users):
        pretend.fake.at[f"{pretend.path.rpartition('/')[0]}/{key}"] = [ERRORS[name](403)] * 5
    finding = next(each for each in await found_by_check(pretend) if each.name is CheckName.ONE_PERSON)
    assert finding.level == "warning"
    assert "answered 403" in finding.message
    assert {"okta": "okta.users.read", "entra": "User.Read.All", "onelogin": "Read All"}[name] in finding.remedy
    assert "can't give the reasons of leavers" in finding.remedy


@pytest.mark.parametrize(("name", "relation"), [("okta", "groups"), ("entra", "memberOf")])
async def test_check_warns_that_the_groups_of_a_person_can_not_be_read(name: str, relation: str) -> None:
    pretend = provider(name)
    for key in list(pretend.fake.users):
        pretend.fake.at[f"{pretend.path.rpartition('/')[0]}/{key}/{relation}"] = [ERRORS[name](403)] * 5
    *_, finding = await found_by_check(pretend)
    assert (finding.level, "not the groups" in finding.message) == ("warning", True)
    assert "answered 403" in finding.message
