"""Graph's delta queries as a feed: changes name people, their accounts and memberships are read, and lag proves
nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from connectors.base import IncompleteRead, PermissionMissing, ReadError, Source, Status
from connectors.feed import CursorLost, FeedEvent, Standing
from sandbox.company import Person
from sandbox.company.events import Happening
from sandbox.entra import DeltaOptions, EntraOptions
from tests.contract.entra_tenant import error, page
from tests.contract.feed_worlds import EntraWorld, poll_all
from tests.contract.okta_org import body

SAMPLES = Path(__file__).parents[3] / "shared" / "apis" / "specs" / "graph-doc-samples.json"
DOCUMENTS: list[dict[str, Any]] = orjson.loads(SAMPLES.read_bytes()) if SAMPLES.exists() else []
STAYS = 99
WEEK = 7 * 86_400


@pytest.fixture
async def world() -> AsyncIterator[EntraWorld]:
    made = EntraWorld()
    yield made
    await made.http.aclose()


def named(events: list[FeedEvent]) -> dict[str, set[str]]:
    """Return the words of the events by person."""
    return {key: {each.word for each in events if key in each.people} for each in events for key in each.people}


def wide(events: list[FeedEvent]) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.word, each.apps) for each in events if each.is_wide]


# What a poll names.


async def test_each_kind_of_leaver_is_named_once(world: EntraWorld) -> None:
    disabled, left, deleted, purged, restored, stays = (world.assigned(number) for number in range(6))
    cursor = (await world.feed.begin()).cursor
    world.company.suspend(disabled)
    world.leave_groups(left)
    world.company.delete(deleted)
    world.company.purge(world.company.delete(purged))
    world.company.restore(world.company.delete(restored))

    events, cursor = await poll_all(world.feed, cursor)
    again, _ = await poll_all(world.feed, cursor)

    assert named(events) == {
        disabled.id: {"users/delta"},
        left.id: {"groups/delta member removed"},
        deleted.id: {"users/delta @removed changed"},
        purged.id: {"users/delta @removed deleted", "groups/delta member removed"},
        restored.id: {"users/delta"},
    }
    assert stays.id not in named(events)
    assert not any(each.is_wide or each.may_add for each in events)
    assert all(each.id and each.at is None for each in events)
    assert again == []


async def test_newcomer_of_a_group_may_have_got_access(world: EntraWorld) -> None:
    cursor = (await world.feed.begin()).cursor
    person = world.company.hire("entra", "New", "Comer", ["Board"])
    other = world.company.hire("entra", "Else", "Where", ["Inner"])

    events, _ = await poll_all(world.feed, cursor)

    added = [each for each in events if each.may_add]
    assert [(each.people, each.apps) for each in added] == [((person.id,), (world.source.app,))]
    assert other.id in named(events)


@pytest.mark.parametrize("what", ["group-lost", "group-added", "disabled", "enabled", "missing", "group-deleted"])
async def test_change_of_the_application_or_of_its_groups_is_wide(world: EntraWorld, what: str) -> None:
    app, company = world.harness.app, world.company
    app.active = what != "enabled"
    cursor = (await world.feed.begin()).cursor
    match what:
        case "group-lost":
            company.unassign_group(app, "Board")
        case "group-added":
            company.assign_group(app, "Inner")
        case "disabled" | "enabled":
            app.active = not app.active
        case "missing":
            world.at[f"/servicePrincipals/{app.id}"] = [error(404)]
        case "group-deleted":
            company.delete_group("entra", "Board")

    events, cursor = await poll_all(world.feed, cursor)

    assert wide(events)
    assert {apps for _, apps in wide(events)} == {(app.id,)}
    if what != "missing":
        assert (await poll_all(world.feed, cursor))[0] == []


@pytest.mark.parametrize("ignores", [True, False])
async def test_individual_assignment_is_wide_where_the_source_counts_it(world: EntraWorld, ignores: bool) -> None:
    world.use(replace(world.source, ignores_individuals=ignores))
    cursor = (await world.feed.begin()).cursor
    world.company.assign_individually(world.harness.nested, world.harness.app)

    events, _ = await poll_all(world.feed, cursor)

    assert bool(wide(events)) is not ignores
    assert named(events) == {}


async def test_only_the_groups_that_a_source_names_are_followed(world: EntraWorld) -> None:
    world.use(replace(world.source, groups=("Board",)))
    cursor = (await world.feed.begin()).cursor
    world.leave_groups(world.assigned())
    world.company.join(world.assigned(1), "Board")

    events, _ = await poll_all(world.feed, cursor)

    assert set(named(events)) == {world.assigned(1).id}


async def test_group_that_the_application_lacks_does_not_stop_the_feed(world: EntraWorld) -> None:
    world.use(replace(world.source, groups=("Nowhere",)))
    cursor = (await world.feed.begin()).cursor
    world.company.suspend(world.assigned())
    assert set(named((await poll_all(world.feed, cursor))[0])) == {world.assigned().id}


async def test_nothing_is_lost_while_the_followed_groups_change(world: EntraWorld) -> None:
    """A group is assigned, and someone leaves another one after that was read, but before it is followed afresh."""
    cursor = (await world.feed.begin()).cursor
    world.company.assign_group(world.harness.app, "Inner")
    left, leaves_later = world.assigned(), world.harness.nested
    world.after["/groups/delta"] = lambda: world.leave_groups(left)

    events, cursor = await poll_all(world.feed, cursor)
    world.company.quit(leaves_later, "Inner")
    after, _ = await poll_all(world.feed, cursor)

    assert set(named(events)) == {left.id}
    assert set(named(after)) == {leaves_later.id}


async def test_group_inside_a_group_is_followed_where_nesting_counts(world: EntraWorld) -> None:
    world.use(replace(world.source, nested=True))
    cursor = (await world.feed.begin()).cursor
    inner = world.harness.nested
    world.company.quit(inner, "Inner")

    events, _ = await poll_all(world.feed, cursor)

    assert named(events) == {inner.id: {"groups/delta member removed"}}
    assert events[0].apps == (world.source.app,)


@pytest.mark.parametrize("nested", [True, False])
async def test_group_that_comes_into_a_group_is_wide_where_nesting_counts(world: EntraWorld, nested: bool) -> None:
    world.use(replace(world.source, nested=nested))
    cursor = (await world.feed.begin()).cursor
    group = world.company.entra.add_group("Later")
    world.company.hire("entra", "Lia", "Later", ["Later"])
    world.harness.board.groups.append(group.id)
    entry = {"@odata.type": "#microsoft.graph.group", "id": group.id}
    row = {"id": world.harness.board.id, "displayName": "Board", "members@delta": [entry]}
    links = orjson.loads(cursor)["groups"]
    assert len(links) == 1
    world.at["/groups/delta"] = [delta_page([row], links[0][1])]

    events, cursor = await poll_all(world.feed, cursor)
    person = world.company.entra.person("lia.later@acme.com")
    assert person is not None
    world.company.quit(person, "Later")
    after, _ = await poll_all(world.feed, cursor)

    assert bool(wide(events)) is nested
    assert (person.id in named(after)) is nested


def delta_page(rows: list[Any], link: object) -> Any:
    return lambda _: httpx.Response(200, json={"@odata.deltaLink": link, "value": rows})


@pytest.mark.parametrize(
    "row",
    [None, 7, {}, {"id": None}, {"id": "g-1"}, {"id": "g-1", "members@delta": {}}, {"id": "g-1", "@removed": {}}],
)
async def test_row_of_an_unknown_shape_is_wide(world: EntraWorld, row: object) -> None:
    cursor = (await world.feed.begin()).cursor
    link = orjson.loads(cursor)["groups"][0][1]
    world.at["/groups/delta"] = [delta_page([row], link)]
    assert wide((await poll_all(world.feed, cursor))[0])


@pytest.mark.parametrize("kind", ["device", "servicePrincipal", "orgContact"])
async def test_thing_that_joins_a_group_names_no_one(world: EntraWorld, kind: str) -> None:
    cursor = (await world.feed.begin()).cursor
    entry = {"@odata.type": f"#microsoft.graph.{kind}", "id": "d-1"}
    row = {"id": world.harness.sales.id, "displayName": "Sales", "members@delta": [entry]}
    world.at["/groups/delta"] = [delta_page([row], orjson.loads(cursor)["groups"][0][1])]
    assert (await poll_all(world.feed, cursor))[0] == []


async def test_person_without_an_id_is_wide(world: EntraWorld) -> None:
    cursor = (await world.feed.begin()).cursor
    world.at["/users/delta"] = [delta_page([{"displayName": "Ana"}], orjson.loads(cursor)["people"])]
    assert wide((await poll_all(world.feed, cursor))[0]) == [("users/delta", ())]


@pytest.mark.parametrize("sample", [each for each in DOCUMENTS if "delta" in each["label"] and each["status"] == 200])
async def test_sample_of_the_vendor_names_its_people(world: EntraWorld, sample: dict[str, Any]) -> None:
    cursor = (await world.feed.begin()).cursor
    known = orjson.loads(cursor)
    is_people = "users/delta" in sample["request"]
    document = {key: value for key, value in sample["body"].items() if not key.endswith("nextLink")}
    document["@odata.deltaLink"] = known["people"] if is_people else known["groups"][0][1]
    world.at["/users/delta" if is_people else "/groups/delta"] = [lambda _: httpx.Response(200, json=document)]

    events, _ = await poll_all(world.feed, cursor)

    entries = [
        entry for row in sample["body"]["value"] for entry in row.get("members@delta", [row] if is_people else [])
    ]
    assert set(named(events)) == {entry["id"] for entry in entries}
    removed = {entry["id"] for entry in entries if "@removed" in entry}
    assert {key for key, words in named(events).items() if any("removed" in word for word in words)} == removed
    assert bool(wide(events)) is any("@removed" in row for row in sample["body"]["value"] if not is_people)


# The links.


async def test_idle_poll_costs_four_requests_and_one_more_for_each_fifty_groups(world: EntraWorld) -> None:
    async def cost() -> int:
        cursor = (await world.feed.begin()).cursor
        world.requests.clear()
        await poll_all(world.feed, cursor)
        return len(world.requests)

    few = await cost()
    for number in range(50):
        world.company.entra.add_group(f"More {number}")
        world.company.assign_group(world.harness.app, f"More {number}")

    assert (few, await cost()) == (4, 5)


async def test_rounds_of_many_pages_are_read_to_their_end(world: EntraWorld) -> None:
    cursor = (await world.feed.begin()).cursor
    people = [world.assigned(number) for number in range(6)]
    for person in people:
        world.leave_groups(person)
        world.company.suspend(person)
    world.delta.options = DeltaOptions(page_size=1, begins_with_empty_page=True)

    events, _ = await poll_all(world.feed, cursor)

    assert named(events) == {each.id: {"users/delta", "groups/delta member removed"} for each in people}


async def test_more_pages_than_a_round_takes_lose_the_place(world: EntraWorld) -> None:
    cursor = (await world.feed.begin()).cursor
    for number in range(22):
        world.company.hire("entra", f"Many{number}", "More")
    world.delta.options = DeltaOptions(page_size=1)
    with pytest.raises(CursorLost, match="more than 20 pages of the changes of people"):
        await world.feed.poll(cursor)


async def test_first_round_is_read_once_where_the_latest_token_takes_no_filter(world: EntraWorld) -> None:
    world.delta.options = DeltaOptions(refuses_latest_with_filter=True, page_size=2)
    begun = await world.feed.begin()
    world.leave_groups(world.assigned())

    events, _ = await poll_all(world.feed, begun.cursor)

    assert begun.events == ()
    assert set(named(events)) == {world.assigned().id}


@pytest.mark.parametrize("word", ["syncStateNotFound", "resyncRequired", "Request_BadRequest"])
async def test_token_that_is_too_old_loses_the_place(world: EntraWorld, word: str) -> None:
    cursor = (await world.feed.begin()).cursor
    world.delta.options = DeltaOptions(expired_code=word)
    world.company.suspend(world.assigned())
    world.later(WEEK + 60)

    with pytest.raises(CursorLost) as lost:
        await world.feed.poll(cursor)
    assert "deltatoken" not in lost.value.message + lost.value.hint
    assert (await world.feed.begin()).events == ()


@pytest.mark.parametrize("status", [404, 410])
async def test_place_is_lost_during_maintenance(world: EntraWorld, status: int) -> None:
    cursor = (await world.feed.begin()).cursor
    if status == 410:
        world.delta.moved_requests = 1
    else:
        world.at["/users/delta"] = [error(404, "syncStateNotFound")]
    with pytest.raises(CursorLost):
        await world.feed.poll(cursor)
    assert {request.url.host for request in world.requests} == {"graph.microsoft.com"}


async def test_page_that_expires_within_a_round_begins_the_round_again(world: EntraWorld) -> None:
    cursor = (await world.feed.begin()).cursor
    world.company.suspend(world.assigned())
    world.delta.options = DeltaOptions(begins_with_empty_page=True)
    world.requests.clear()
    world.at["/users/delta"] = [None, error(410, "resyncRequired")]

    events, _ = await poll_all(world.feed, cursor)

    assert set(named(events)) == {world.assigned().id}
    assert world.requests_to("/users/delta") == 4


@pytest.mark.parametrize(
    "cursor",
    ["", "rubbish", "[]", "7", "null", '{"version": 2}', '{"version": 1, "people": "x", "groups": 7, "apps": {}}'],
)
async def test_cursor_of_another_kind_is_lost(world: EntraWorld, cursor: str) -> None:
    with pytest.raises(CursorLost, match="not one of Entra's feed"):
        await world.feed.poll(cursor)
    assert world.requests == []


FOREIGN = [
    "https://evil.example.com/v1.0/users/delta?$deltatoken=secret-1",
    "http://graph.microsoft.com/v1.0/users/delta?$deltatoken=secret-1",
    "https://graph.microsoft.com:8443/v1.0/users/delta?$deltatoken=secret-1",
    "https://u:p@graph.microsoft.com/v1.0/users/delta?$deltatoken=secret-1",
]


@pytest.mark.parametrize("link", FOREIGN)
@pytest.mark.parametrize("kind", ["people", "groups"])
async def test_cursor_to_another_server_is_lost_and_never_followed(world: EntraWorld, kind: str, link: str) -> None:
    found = orjson.loads((await world.feed.begin()).cursor)
    found["people"] = link if kind == "people" else found["people"]
    found["groups"] = [[["g-1"], link]] if kind == "groups" else found["groups"]
    world.requests.clear()
    with pytest.raises(CursorLost) as lost:
        await world.feed.poll(orjson.dumps(found).decode())
    assert "another server" in lost.value.message
    assert "secret-1" not in lost.value.message
    assert world.requests == []


@pytest.mark.parametrize("link", FOREIGN)
@pytest.mark.parametrize("name", ["@odata.nextLink", "@odata.deltaLink"])
@pytest.mark.parametrize("path", ["/users/delta", "/groups/delta"])
async def test_link_to_another_server_is_refused_and_never_kept(
    world: EntraWorld, path: str, name: str, link: str
) -> None:
    cursor = (await world.feed.begin()).cursor
    world.at[path] = [lambda _: httpx.Response(200, json={name: link, "value": []})]
    with pytest.raises(IncompleteRead, match="another server") as refused:
        await world.feed.poll(cursor)
    assert not isinstance(refused.value, CursorLost)
    assert {request.url.host for request in world.requests} == {"graph.microsoft.com"}


@pytest.mark.parametrize("links", [{}, {"@odata.deltaLink": 7}, {"@odata.deltaLink": ""}, {"@odata.nextLink": []}])
async def test_round_without_an_end_is_an_error(world: EntraWorld, links: dict[str, object]) -> None:
    cursor = (await world.feed.begin()).cursor
    world.at["/users/delta"] = [lambda _: httpx.Response(200, json=links | {"value": []})]
    with pytest.raises(IncompleteRead):
        await world.feed.poll(cursor)


@pytest.mark.parametrize(
    ("options", "polls"),
    [
        (DeltaOptions(late_share=1, late_seconds=20), [0, 0, 1, 0]),
        (DeltaOptions(delay_seconds=20), [0, 0, 1, 0]),
        (DeltaOptions(replayed_share=1, replay_seconds=20), [1, 0, 1, 0]),
        (DeltaOptions(lost_share=1), [0, 0, 0, 0]),
    ],
)
async def test_late_repeated_and_lost_changes_only_change_when_someone_is_named(
    world: EntraWorld, options: DeltaOptions, polls: list[int]
) -> None:
    world.delta.options = options
    cursor = (await world.feed.begin()).cursor
    world.company.suspend(world.assigned())
    found = []
    for _ in polls:
        events, cursor = await poll_all(world.feed, cursor)
        assert not wide(events)
        found.append(len(named(events)))
        world.later(10)
    assert found == polls


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        ("/users/delta", "User.Read.All"),
        ("/groups/delta", "GroupMember.Read.All"),
        ("/servicePrincipals/", "Application.Read.All"),
    ],
)
async def test_missing_permission_is_named(world: EntraWorld, path: str, permission: str) -> None:
    cursor = (await world.feed.begin()).cursor
    for read in (world.feed.begin(), world.feed.poll(cursor)):
        world.at[path] = [error(403, message="Insufficient privileges to complete the operation.")] * STAYS
        with pytest.raises(PermissionMissing) as missing:
            await read
        assert permission in missing.value.hint


async def test_cursor_is_in_no_representation(world: EntraWorld) -> None:
    begun = await world.feed.begin()
    assert "deltatoken" in begun.cursor
    assert "deltatoken" not in repr(begun)


# How people stand.


async def test_standing_follows_what_happened(world: EntraWorld) -> None:
    disabled, deleted, left, back, stays, alone = (world.assigned(number) for number in range(6))
    world.company.suspend(disabled)
    world.company.delete(deleted)
    world.leave_groups(left)
    world.leave_groups(back)
    world.company.join(back, "Sales")
    world.leave_groups(alone)
    world.company.assign_individually(alone, world.harness.app)

    found = await world.look(disabled, deleted, left, back, stays, alone)

    assert {key: each.standing for key, each in found.items()} == {
        disabled.id: Standing.LEFT,
        deleted.id: Standing.LEFT,
        left.id: Standing.LEFT,
        back.id: Standing.ENTITLED,
        stays.id: Standing.ENTITLED,
        alone.id: Standing.ENTITLED,
    }
    needs = {key for key, each in found.items() if world.feed.needs_second_look(each)}
    assert left.id in needs
    assert not needs & {disabled.id, deleted.id}, "an account shows its own state"
    assert world.feed.second_look_seconds == 10


async def test_nested_membership_counts_where_the_source_asks_for_it(world: EntraWorld) -> None:
    person = world.harness.nested
    nested = replace(world.source, nested=True)
    assert (await world.look(person, source=nested))[person.id].standing is Standing.ENTITLED
    assert (await world.look(person))[person.id].standing is Standing.LEFT
    world.company.quit(person, "Inner")
    assert (await world.look(person, source=nested))[person.id].standing is Standing.LEFT


async def test_guest_whom_the_source_does_not_count_is_left_to_a_whole_run(world: EntraWorld) -> None:
    person = world.assigned()
    person.guest = True
    assert (await world.look(person))[person.id].standing is Standing.UNKNOWN
    counted = replace(world.source, guests=True)
    assert (await world.look(person, source=counted))[person.id].standing is Standing.ENTITLED


async def test_unknown_state_of_an_account_proves_nothing(world: EntraWorld) -> None:
    person = world.assigned()
    person.status = "unknown"
    world.leave_groups(person)
    assert (await world.look(person))[person.id].standing is Standing.UNKNOWN


@pytest.mark.parametrize("lacks", [frozenset(Happening), frozenset({Happening.JOINED})])
async def test_replica_that_lags_behind_never_makes_a_mover_a_leaver(lacks: frozenset[Happening]) -> None:
    world = EntraWorld(switches=EntraOptions(units=None, replica_seconds=15, replica_lacks=lacks))
    world.later(60)
    world.company.hire("entra", "Board", "Member", ["Board"])
    person = world.assigned()
    world.company.move(person, "Sales", "Board")
    if Happening.QUIT not in lacks:
        first = (await world.look(person))[person.id]
        assert (first.standing, world.feed.needs_second_look(first)) == (Standing.LEFT, True)
    assert await world.look_as_runs_do(person) == {person.id: Standing.ENTITLED}


async def test_new_account_that_a_replica_does_not_show_yet_is_no_leaver() -> None:
    world = EntraWorld(switches=EntraOptions(units=None, replica_seconds=60))
    world.later(60)
    person = world.company.hire("entra", "New", "Comer", ["Sales"])
    found = (await world.look(person))[person.id]
    assert (found.standing, found.found.status) == (Standing.UNKNOWN, Status.DELETED)


async def test_missing_person_has_not_left_where_no_person_can_be_seen(world: EntraWorld) -> None:
    people = [world.assigned(number) for number in range(6)]
    world.at["/users/"] = [error(404)] * STAYS
    found = await world.look(*people)
    assert {each.standing for each in found.values()} == {Standing.UNKNOWN}


async def test_absence_proves_nothing_where_no_membership_can_be_seen(world: EntraWorld) -> None:
    people = [world.assigned(number) for number in range(2)]
    world.at["/memberOf"] = [page([])] * STAYS
    assert set((await world.look_as_runs_do(*people)).values()) == {Standing.UNKNOWN}


async def test_absence_from_a_group_that_has_no_one_left_proves_nothing(world: EntraWorld) -> None:
    people = [world.assigned(number) for number in range(6)]
    for person in people:
        world.leave_groups(person)
    assert set((await world.look_as_runs_do(*people)).values()) == {Standing.UNKNOWN}


async def test_absence_from_a_group_that_is_gone_proves_nothing(world: EntraWorld) -> None:
    person = world.assigned()
    world.company.join(person, "Board")
    world.leave_groups(person)
    world.company.delete_group("entra", "Board")
    assert (await world.look(person))[person.id].standing is Standing.UNKNOWN


@pytest.mark.parametrize("permitted", [True, False])
async def test_absence_from_a_hidden_group_needs_the_permission_to_see_it(world: EntraWorld, permitted: bool) -> None:
    person = world.assigned()
    world.harness.board.hides_members = True
    world.leave_groups(person)
    if permitted:
        world.tenant.roles = world.tenant.roles | {"Member.Read.Hidden"}
    wanted = Standing.LEFT if permitted else Standing.UNKNOWN
    assert (await world.look(person))[person.id].standing is wanted


async def test_disabled_account_is_a_leaver_also_where_memberships_can_not_be_seen(world: EntraWorld) -> None:
    disabled, left = world.assigned(0), world.assigned(1)
    world.harness.board.hides_members = True
    world.company.suspend(disabled)
    world.leave_groups(left)
    assert await world.look_as_runs_do(disabled, left) == {disabled.id: Standing.LEFT, left.id: Standing.UNKNOWN}


async def test_failed_read_of_one_person_leaves_the_others(world: EntraWorld) -> None:
    broken, left, groupless = (world.assigned(number) for number in range(3))
    world.company.suspend(left)
    world.at[f"/users/{broken.id}"] = [error(403)] * STAYS
    world.at[f"/users/{groupless.id}/memberOf"] = [body("<html>")] * STAYS
    assert await world.look_as_runs_do(broken, left, groupless) == {
        broken.id: Standing.UNKNOWN,
        left.id: Standing.LEFT,
        groupless.id: Standing.UNKNOWN,
    }


@pytest.mark.parametrize("by", ["email", "mail"])
async def test_address_that_another_person_has_now_proves_nothing(world: EntraWorld, by: str) -> None:
    person = world.assigned()
    world.company.delete(person)
    assert (await world.look(person))[person.id].standing is Standing.LEFT
    heir: Person = world.company.hire("entra", "Same", "Human", ["Sales"], person.email if by == "email" else None)
    heir.mail = person.email
    assert (await world.look(person))[person.id].standing is Standing.UNKNOWN
    world.company.suspend(heir)
    assert (await world.look(person))[person.id].standing is Standing.LEFT


@pytest.mark.parametrize("what", ["disabled", "missing", "refused"])
async def test_application_that_can_not_be_read_shows_no_leaver(world: EntraWorld, what: str) -> None:
    world.company.suspend(world.assigned())
    if what == "disabled":
        world.harness.app.active = False
    else:
        world.at["/servicePrincipals/"] = [error(404 if what == "missing" else 403)] * STAYS
    with pytest.raises(ReadError) as ended:
        await world.look(world.assigned())
    assert ended.value.hint


async def test_application_of_another_source_is_read_for_itself(world: EntraWorld) -> None:
    other = world.company.entra.add_app("Pigment US", (world.harness.board,))
    world.use(world.source, Source("entra-eu", other.id))
    cursor = (await world.feed.begin()).cursor
    world.company.assign_group(other, "Inner")

    events, cursor = await poll_all(world.feed, cursor)
    assert {apps for _, apps in wide(events)} == {(other.id,)}

    world.use(world.source)
    events, _ = await poll_all(world.feed, cursor)
    assert wide(events) == [], "an application that no source names any more concerns no one"
