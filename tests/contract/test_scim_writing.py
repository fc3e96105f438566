"""Every write is verified or failed, for any response: one test per cell of docs/reads-and-writes.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from agent.errors import NotPersisted, TokensRefused, WorkspaceUnreachable, WriteError, WriteLost, WriteRefused
from agent.model import Fields, Member
from agent.ports.workspace import WorkspaceWriter
from connectors.http import RequestLimits
from tests.contract.scim_faults import (
    ALWAYS,
    TOKENS,
    URL,
    Answering,
    Fault,
    OpenClient,
    Scene,
    a_scene,
    answer,
    broken_off,
    done_but,
    edited,
    reset_after,
    scim_error,
    silent,
    streamed,
    unreachable,
)

ONCE = (1,)


async def create(workspace: WorkspaceWriter) -> Member:
    return await workspace.create("Ana@acme.com", "Ana Lima", "Ana", "Lima")


async def first(workspace: WorkspaceWriter) -> Member:
    return (await workspace.list_members()).members[0]


def active(scene: Scene) -> list[tuple[str, bool]]:
    return [(member.user_name, member.active) for member in scene.space.members]


# Creating: never twice, for any response.


async def test_create_has_the_shape_of_the_template_without_an_id() -> None:
    scene = a_scene()

    async with scene.client() as workspace:
        await create(workspace)

    assert scene.wire.bodies("POST") == [
        {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "Ana@acme.com",
            "displayName": "Ana Lima",
            "name": {"givenName": "Ana", "familyName": "Lima"},
            "emails": [{"value": "Ana@acme.com", "primary": True, "type": "work"}],
            "active": True,
        }
    ]
    assert scene.wire.sent[0].headers["content-type"] == "application/scim+json"


async def test_create_with_one_name_only_sends_that_name() -> None:
    scene = a_scene()

    async with scene.client() as workspace:
        await workspace.create("cher@acme.com", "Cher", "", "")

    assert scene.wire.bodies("POST")[0]["name"] == {"formatted": "Cher"}


LOST_AFTER: dict[str, Fault] = {
    "reset": reset_after,
    "500": done_but(500),
    "502-html": done_but(502, b"<html>Bad gateway</html>"),
    "503": done_but(503),
}
LOST_BEFORE: dict[str, Fault] = {
    "timeout": silent,
    "broken-off": broken_off,
    "500": answer(500),
    "502": answer(502),
    "503": answer(503),
    "504": answer(504),
}


@pytest.mark.parametrize("fault", LOST_AFTER.values(), ids=LOST_AFTER)
async def test_lost_answer_to_a_create_that_was_made_is_found_and_not_sent_again(fault: Fault) -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, fault)

    async with scene.client() as workspace:
        member = await create(workspace)

    assert member.email == "Ana@acme.com"
    assert scene.wire.kinds() == ["POST", "GET find"]
    assert active(scene) == [("Ana@acme.com", True)]


@pytest.mark.parametrize("fault", LOST_BEFORE.values(), ids=LOST_BEFORE)
async def test_lost_create_that_was_not_made_is_sent_once_more_after_looking(fault: Fault) -> None:
    scene = a_scene()
    scene.wire.fault("POST", ONCE, fault)

    async with scene.client() as workspace:
        await create(workspace)

    assert scene.wire.kinds() == ["POST", "GET find", "POST"]
    assert active(scene) == [("Ana@acme.com", True)]
    assert scene.time.naps == [1]


@pytest.mark.parametrize("fault", LOST_BEFORE.values(), ids=LOST_BEFORE)
async def test_create_that_is_lost_twice_is_lost(fault: Fault) -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, fault)

    async with scene.client() as workspace:
        with pytest.raises(WriteLost, match=r"Ana@acme\.com"):
            await create(workspace)

    assert scene.wire.kinds() == ["POST", "GET find"] * 2


async def test_lost_create_that_can_not_be_looked_up_is_lost_and_not_sent_again() -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, reset_after)
    scene.wire.fault("GET find", ALWAYS, answer(502))

    async with scene.client(limits=RequestLimits(retries=1)) as workspace:
        with pytest.raises(WriteLost):
            await create(workspace)

    assert scene.wire.kinds("POST") == ["POST"]


async def test_lost_create_that_arrives_late_is_found_when_the_second_meets_it() -> None:
    scene = a_scene()

    async def late(request: httpx.Request, real: Answering) -> httpx.Response:
        await real(request)
        return await real(request)

    scene.wire.fault("POST", 1, silent)
    scene.wire.fault("POST", 2, late)

    async with scene.client() as workspace:
        member = await create(workspace)

    assert (member.email, len(scene.space.members)) == ("Ana@acme.com", 1)
    assert scene.wire.kinds() == ["POST", "GET find", "POST", "GET find"]


async def test_lost_create_with_a_conflict_that_no_lookup_shows_is_lost_and_not_failed() -> None:
    scene = a_scene()
    scene.wire.fault("POST", ONCE, reset_after)
    scene.wire.fault("GET find", ALWAYS, answer(200, json.dumps({"totalResults": 0})))

    async with scene.client() as workspace:
        with pytest.raises(WriteLost, match="the email is taken") as lost:
            await create(workspace)

    assert lost.value.is_accepted
    assert scene.wire.kinds("POST") == ["POST"] * 2


@pytest.mark.parametrize(("name", "is_active"), [("Somebody Else", True), ("Ana Lima", False)])
async def test_lost_create_never_takes_a_member_that_is_not_what_was_sent(name: str, is_active: bool) -> None:
    scene = a_scene()
    scene.space.admin_create("ana@acme.com", name, active=is_active)
    scene.wire.fault("POST", ONCE, silent)

    async with scene.client() as workspace:
        with pytest.raises(WriteRefused) as refused:
            await create(workspace)

    assert refused.value.status == 409
    assert scene.wire.kinds("POST") == ["POST"]


async def test_taken_email_is_refused_with_409_and_not_looked_into() -> None:
    scene = a_scene(members=1)

    async with scene.client() as workspace:
        with pytest.raises(WriteRefused) as refused:
            await workspace.create("P1@acme.com", "Person 1", "", "")

    assert (refused.value.status, refused.value.scim_type) == (409, "uniqueness")
    assert scene.wire.kinds() == ["POST"]


async def test_taken_email_answered_as_a_bad_request_is_a_409_too() -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, scim_error(400, "uniqueness"))

    async with scene.client() as workspace:
        with pytest.raises(WriteRefused) as refused:
            await create(workspace)

    assert refused.value.status == 409


async def test_refused_create_reports_email_reason_and_remedy() -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, scim_error(400, "invalidValue", "Domain acme.com is not configured"))

    async with scene.client() as workspace:
        with pytest.raises(WriteRefused) as refused:
            await create(workspace)

    assert refused.value.message == (
        "Pigment workspace latam answered 400 invalidValue to the creation of Ana@acme.com: "
        '"Domain acme.com is not configured".'
    )
    assert "domain restriction" in refused.value.hint


@pytest.mark.parametrize(
    "fault", [answer(429), answer(429, retry_after="9"), unreachable], ids=["429", "after", "down"]
)
async def test_create_that_surely_was_not_made_is_retried_without_looking(fault: Fault) -> None:
    scene = a_scene()
    scene.wire.fault("POST", [1, 2], fault)

    async with scene.client() as workspace:
        await create(workspace)

    assert scene.wire.kinds() == ["POST"] * 3
    assert len(scene.time.naps) == 2


@pytest.mark.parametrize("fault", [done_but(201), done_but(204), done_but(201, b"<html>")], ids=["201", "204", "html"])
async def test_create_answered_without_the_member_is_proved_by_looking(fault: Fault) -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, fault)

    async with scene.client() as workspace:
        assert (await create(workspace)).email == "Ana@acme.com"

    assert scene.wire.kinds() == ["POST", "GET find"]


GHOST = json.dumps({"id": "ghost", "userName": "Ana@acme.com", "displayName": "Ana Lima"})


@pytest.mark.parametrize("body", ["", GHOST, "<html>"], ids=["empty", "inactive", "html"])
async def test_create_that_was_accepted_and_is_not_there_is_lost_and_not_sent_again(body: str) -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, answer(201, body))

    async with scene.client() as workspace:
        with pytest.raises(
            WriteLost, match=r"answered 201 to the creation of Ana@acme\.com but does not list it"
        ) as lost:
            await create(workspace)

    assert lost.value.is_accepted
    assert scene.wire.kinds("POST") == ["POST"]
    assert sum(scene.time.naps) == 5


async def test_create_that_shows_some_seconds_later_is_done() -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, done_but(202))
    scene.wire.fault("GET find", [1, 2, 3], answer(200, json.dumps({"totalResults": 0})))

    async with scene.client() as workspace:
        assert (await create(workspace)).email == "Ana@acme.com"

    assert scene.wire.kinds() == ["POST"] + ["GET find"] * 4


async def test_created_member_that_is_not_active_is_not_persisted() -> None:
    scene = a_scene()

    async def inactive(request: httpx.Request, real: Answering) -> httpx.Response:
        return await real(httpx.Request("POST", request.url, headers=request.headers, json=_inactive(request)))

    scene.wire.fault("POST", ALWAYS, inactive)

    async with scene.client() as workspace:
        with pytest.raises(NotPersisted, match="active"):
            await create(workspace)

    assert scene.wire.kinds() == ["POST"] + ["GET one"] * 6


def _inactive(request: httpx.Request) -> dict[str, object]:
    body: dict[str, object] = json.loads(request.content)
    return body | {"active": False}


# Changing: verified by reading the member.


async def test_patch_has_paths_and_replace_in_lower_case() -> None:
    scene = a_scene(members=1)

    async with scene.client() as workspace:
        await workspace.patch(await first(workspace), Fields(display_name="Ana", active=False))

    (body,) = scene.wire.bodies("PATCH")
    assert body["Operations"] == [
        {"op": "replace", "path": "active", "value": False},
        {"op": "replace", "path": "displayName", "value": "Ana"},
        {"op": "replace", "path": "name.formatted", "value": "Ana"},
    ]


async def test_patch_leaves_formatted_alone_where_it_is_not_shown() -> None:
    scene = a_scene(members=1, shows_formatted=False)

    async with scene.client() as workspace:
        await workspace.patch(await first(workspace), Fields(display_name="Ana"))

    assert [operation["path"] for operation in scene.wire.bodies("PATCH")[0]["Operations"]] == ["displayName"]


async def test_email_goes_by_put_even_when_a_patch_is_asked_for() -> None:
    scene = a_scene(members=1)

    async with scene.client() as workspace:
        moved = await workspace.patch(await first(workspace), Fields(email="new@acme.com"))

    assert moved.email == "new@acme.com"
    assert scene.wire.kinds() == ["GET list", "PUT"]


async def test_put_keeps_other_attributes_and_always_sends_active() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET list", ALWAYS, edited(lambda page: page["Resources"][0].update(TITLE="Dr", active=False)))

    async with scene.client() as workspace:
        await workspace.replace(await first(workspace), Fields(email="new@acme.com"))

    (body,) = scene.wire.bodies("PUT")
    assert body["userName"] == "new@acme.com"
    assert [email["value"] for email in body["emails"]] == ["new@acme.com"]
    assert (body["TITLE"], body["active"], body["displayName"]) == ("Dr", False, "Person 1")
    assert "meta" not in body


@pytest.mark.parametrize("status", [405, 501])
async def test_workspace_without_patch_gets_a_put_and_is_not_asked_again(status: int) -> None:
    scene = a_scene(members=2)
    scene.wire.fault("PATCH", ALWAYS, answer(status))

    async with scene.client() as workspace:
        for member in (await workspace.list_members()).members:
            assert (await workspace.patch(member, Fields(active=False))).active is False

    assert scene.wire.kinds() == ["GET list", "PATCH", "PUT", "PUT"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_change_that_is_silently_dropped_is_not_persisted(method: str) -> None:
    scene = a_scene(members=1)

    async def dropped(request: httpx.Request, real: Answering) -> httpx.Response:
        return await real(
            httpx.Request("GET", request.url, headers={"authorization": request.headers["authorization"]})
        )

    scene.wire.fault(method, ALWAYS, dropped)

    async with scene.client() as workspace:
        member = await first(workspace)
        change = workspace.patch if method == "PATCH" else workspace.replace
        with pytest.raises(NotPersisted, match=r"p1@acme\.com and does not return its new displayName"):
            await change(member, Fields(display_name="Ana"))

    assert scene.wire.kinds()[1:] == [method] + ["GET one"] * 6
    assert sum(scene.time.naps) == 5


@pytest.mark.parametrize("body", [b"", b"{}", b"old"], ids=["empty", "no-member", "old"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_change_that_reads_show_late_is_looked_at_again_until_they_do(method: str, body: bytes) -> None:
    scene = a_scene(members=1)
    old: list[bytes] = []

    async def stale(request: httpx.Request, real: Answering) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, content=old[0])
        response = await real(httpx.Request("GET", request.url, headers=request.headers))
        old.append(await response.aread())
        await real(request)
        return httpx.Response(200 if body else 204, content=old[0] if body == b"old" else body)

    scene.wire.fault(method, ALWAYS, stale)
    scene.wire.fault("GET one", [1, 2, 3], stale)

    async with scene.client() as workspace:
        member = await first(workspace)
        change = workspace.patch if method == "PATCH" else workspace.replace
        assert (await change(member, Fields(display_name="Ana", active=False))).display_name == "Ana"

    assert scene.wire.kinds()[1:] == [method] + ["GET one"] * 4


async def test_many_changes_that_never_show_cost_two_looks_each() -> None:
    scene = a_scene(members=5)
    scene.wire.fault("PATCH", ALWAYS, answer(204))

    async with scene.client() as workspace:
        for member in (await workspace.list_members()).members:
            with pytest.raises(NotPersisted):
                await workspace.patch(member, Fields(active=False))

    assert len(scene.wire.kinds("GET one")) == 3 * 6 + 2 * 2
    assert sum(scene.time.naps) == 25


async def test_put_that_comes_back_inactive_is_not_persisted() -> None:
    scene = a_scene(members=1)

    async def deactivating(request: httpx.Request, real: Answering) -> httpx.Response:
        return await real(httpx.Request("PUT", request.url, headers=request.headers, json=_inactive(request)))

    scene.wire.fault("PUT", ALWAYS, deactivating)

    async with scene.client() as workspace:
        with pytest.raises(NotPersisted, match="changed its active, which was not requested"):
            await workspace.replace(await first(workspace), Fields(email="new@acme.com"))


@pytest.mark.parametrize("shown", [{"displayName": "Else"}, {"name": {"formatted": "Else"}}], ids=["display", "name"])
async def test_put_proves_the_names_that_it_sends_too(shown: dict[str, object]) -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PUT", ALWAYS, edited(lambda member: member.update(shown)))
    scene.wire.fault("GET one", ALWAYS, edited(lambda member: member.update(shown)))

    async with scene.client() as workspace:
        with pytest.raises(NotPersisted, match=next(iter(shown))):
            await workspace.replace(await first(workspace), Fields(email="new@acme.com"))


async def test_formatted_name_that_the_server_makes_up_itself_fails_no_change() -> None:
    scene = a_scene(members=1)
    for which in ("GET", "PUT"):
        scene.wire.fault(which, ALWAYS, edited(_with_formatted))

    async with scene.client() as workspace:
        member = await first(workspace)
        assert (await workspace.replace(member, Fields(email="new@acme.com"))).email == "new@acme.com"


def _with_formatted(document: dict[str, Any]) -> None:
    for member in document.get("Resources", [document]):
        member["name"] = {"formatted": "Person, The"}


# A member that is returned under another id.


class Renaming:
    """A server that derives ids from the email: the response to a PUT has the new id, and the old id is gone."""

    def __init__(self, scene: Scene, old: str, *, keeps_old: bool = False, status: int = 200) -> None:
        self._old, self._new, self._keeps_old, self._status = old, "the-new-id", keeps_old, status
        self._is_moved = False
        for kind_ in ("PUT", "GET one", "GET find"):
            scene.wire.fault(kind_, ALWAYS, self)

    async def __call__(self, request: httpx.Request, real: Answering) -> httpx.Response:
        if self._is_moved and request.url.path.endswith(self._old) and not self._keeps_old:
            return httpx.Response(404, json={"schemas": []})
        url = str(request.url).replace(self._new, self._old)
        response = await real(httpx.Request(request.method, url, headers=request.headers, content=request.content))
        self._is_moved = self._is_moved or request.method == "PUT"
        if request.method == "PUT" and self._status != 200:
            return httpx.Response(self._status)
        text = (await response.aread()).decode()
        return httpx.Response(200, text=text.replace(self._old, self._new))


@pytest.mark.parametrize(("keeps_old", "status"), [(False, 200), (True, 200), (False, 204)])
async def test_member_that_gets_a_new_id_with_its_new_email_is_changed(keeps_old: bool, status: int) -> None:
    scene = a_scene(members=2)

    async with scene.client() as workspace:
        member = await first(workspace)
        Renaming(scene, member.scim_id, keeps_old=keeps_old, status=status)
        changed = await workspace.replace(member, Fields(email="new@acme.com"))

    assert (changed.scim_id, changed.email) == ("the-new-id", "new@acme.com")
    assert scene.time.naps == []


async def test_member_that_can_not_be_looked_for_under_its_new_email_is_lost_with_the_reason() -> None:
    scene = a_scene(members=2)

    async with scene.client(limits=RequestLimits(retries=1)) as workspace:
        member = await first(workspace)
        scene.wire.fault("GET find", ALWAYS, answer(403))
        Renaming(scene, member.scim_id, status=204)
        with pytest.raises(WriteLost, match=r"reading it back failed: .* 403"):
            await workspace.replace(member, Fields(email="new@acme.com"))


async def test_response_with_another_member_under_another_id_is_never_accepted() -> None:
    scene = a_scene(members=2)

    async def another_writer(request: httpx.Request, real: Answering) -> httpx.Response:
        other = scene.space.members[1]
        url = request.url.copy_with(path=f"/latam/scim/v2/Users/{other.id}")
        return await real(httpx.Request("GET", url, headers=request.headers))

    scene.wire.fault("PUT", ALWAYS, another_writer)
    scene.wire.fault("PATCH", ALWAYS, another_writer)

    async with scene.client() as workspace:
        member = await first(workspace)
        with pytest.raises(NotPersisted):
            await workspace.replace(member, Fields(email="new@acme.com"))
        with pytest.raises(NotPersisted):
            await workspace.patch(member, Fields(active=False))


@pytest.mark.parametrize("fault", [done_but(204), done_but(200), done_but(200, b"<html>")], ids=["204", "200", "html"])
async def test_change_answered_without_the_member_is_proved_by_reading_it(fault: Fault) -> None:
    scene = a_scene(members=1)
    scene.wire.fault("P", ALWAYS, fault)

    async with scene.client() as workspace:
        member = await first(workspace)
        assert (await workspace.patch(member, Fields(active=False))).active is False
        assert (await workspace.replace(member, Fields(email="new@acme.com", active=True))).email == "new@acme.com"

    assert scene.wire.kinds() == ["GET list", "PATCH", "GET one", "PUT", "GET one"]


async def test_change_answered_with_the_old_member_is_verified_by_reading_it() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ALWAYS, edited(lambda member: member.update(active=True)))

    async with scene.client() as workspace:
        assert (await workspace.patch(await first(workspace), Fields(active=False))).active is False


async def test_change_answered_with_another_member_is_proved_by_reading_the_right_one() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ALWAYS, edited(lambda member: member.update(id="other")))

    async with scene.client() as workspace:
        member = await first(workspace)
        assert (await workspace.patch(member, Fields(active=False))).scim_id == member.scim_id


@pytest.mark.parametrize("proof", [answer(502), answer(200, "<html>"), answer(401)], ids=["502", "html", "401"])
async def test_change_that_can_not_be_read_back_is_lost(proof: Fault) -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ALWAYS, done_but(204))
    scene.wire.fault("GET one", ALWAYS, proof)

    async with scene.client(limits=RequestLimits(retries=1)) as workspace:
        member = await first(workspace)
        with pytest.raises(WriteLost):
            await workspace.patch(member, Fields(active=False))


async def test_member_that_vanished_under_its_change_is_not_persisted() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ALWAYS, done_but(204))
    scene.wire.fault("GET one", ALWAYS, scim_error(404))

    async with scene.client() as workspace:
        member = await first(workspace)
        with pytest.raises(NotPersisted):
            await workspace.patch(member, Fields(active=False))


REPEATED: dict[str, Fault] = {
    "reset-after": reset_after,
    "timeout": silent,
    "broken-off": broken_off,
    "unreachable": unreachable,
    "429": answer(429, retry_after="3"),
    "500": answer(500),
    "502": answer(502),
    "503": done_but(503),
    "504": answer(504),
}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("fault", REPEATED.values(), ids=REPEATED)
async def test_change_is_sent_again_when_its_answer_is_lost(method: str, fault: Fault) -> None:
    scene = a_scene(members=1)
    scene.wire.fault(method, [1, 2], fault)

    async with scene.client() as workspace:
        member = await first(workspace)
        change = workspace.patch if method == "PATCH" else workspace.replace
        assert (await change(member, Fields(active=False))).active is False

    assert scene.wire.kinds(method) == [method] * 3
    assert active(scene) == [("p1@acme.com", False)]


async def test_change_without_any_answer_is_lost_after_bounded_attempts() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ALWAYS, silent)

    async with scene.client(limits=RequestLimits(retries=2)) as workspace:
        member = await first(workspace)
        with pytest.raises(WriteLost, match="no answer in time"):
            await workspace.patch(member, Fields(active=False))

    assert len(scene.wire.kinds("PATCH")) == 3


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("status", [408, 500, 503])
async def test_change_that_errors_answer_to_the_end_is_lost_as_it_may_be_made(status: int, method: str) -> None:
    scene = a_scene(members=1)
    scene.wire.fault(method, ALWAYS, done_but(status))

    async with scene.client(limits=RequestLimits(retries=2)) as workspace:
        member = await first(workspace)
        change = workspace.patch if method == "PATCH" else workspace.replace
        with pytest.raises(WriteLost, match=f"answered {status} to {method}") as lost:
            await change(member, Fields(active=False))

    assert "The next run checks whether it took effect" in lost.value.hint
    assert "later" in lost.value.hint
    assert active(scene) == [("p1@acme.com", False)]


@pytest.mark.parametrize("refusal", [answer(400), scim_error(404), answer(429)], ids=["400", "404", "429"])
async def test_change_that_is_refused_after_a_lost_answer_is_lost(refusal: Fault) -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ONCE, reset_after)
    scene.wire.fault("PATCH", range(2, 100), refusal)

    async with scene.client(limits=RequestLimits(retries=2)) as workspace:
        member = await first(workspace)
        with pytest.raises(WriteLost, match="answered 4"):
            await workspace.patch(member, Fields(active=False))

    assert active(scene) == [("p1@acme.com", False)]


async def test_changed_member_that_is_outdated_after_a_lost_answer_is_lost() -> None:
    scene = a_scene(members=1, etags=True)

    async def changed_and_edited(request: httpx.Request, real: Answering) -> httpx.Response:
        await real(request)
        scene.space.admin_rename("p1@acme.com", "Somebody Else")
        raise httpx.ReadError("connection reset", request=request)

    scene.wire.fault("PUT", ONCE, changed_and_edited)

    async with scene.client() as workspace:
        member = await first(workspace)
        with pytest.raises(WriteLost, match=r"changed .* since it was listed"):
            await workspace.replace(member, Fields(active=False))

    assert active(scene) == [("p1@acme.com", False)]


async def test_create_that_is_refused_after_a_lost_answer_is_lost() -> None:
    scene = a_scene()
    scene.wire.fault("POST", ONCE, silent)
    scene.wire.fault("POST", [2], scim_error(400))

    async with scene.client() as workspace:
        with pytest.raises(WriteLost, match="answered 400 to the creation"):
            await create(workspace)

    assert scene.wire.kinds() == ["POST", "GET find", "POST"]


@pytest.mark.parametrize(("status", "word"), [(404, "removed"), (400, "domain"), (409, "email")])
async def test_refused_change_is_this_members_alone(status: int, word: str) -> None:
    scene = a_scene(members=5)
    scene.wire.fault("PATCH", range(1, 100), scim_error(status, detail="no"))

    async with scene.client(limits=RequestLimits(retries=0)) as workspace:
        for member in (await workspace.list_members()).members:
            with pytest.raises(WriteRefused) as refused:
                await workspace.patch(member, Fields(active=False))
            assert refused.value.status == status
            assert word in refused.value.hint


async def test_media_type_is_made_plain_once_for_a_server_that_wants_it() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ONCE, answer(415))

    async with scene.client() as workspace:
        member = await first(workspace)
        await workspace.patch(member, Fields(active=False))
        await workspace.patch(member, Fields(active=True))

    kinds = [request.headers.get("content-type") for request in scene.wire.sent if request.method == "PATCH"]
    assert kinds == ["application/scim+json", "application/json", "application/json"]


# A member that changed since it was read.


async def test_etag_is_sent_where_there_is_one() -> None:
    scene = a_scene(members=1, etags=True)

    async with scene.client() as workspace:
        member = await first(workspace)
        await workspace.patch(member, Fields(active=False))

    assert scene.wire.sent[-1].headers["if-match"] == member.etag != ""


async def test_outdated_member_that_still_is_what_was_read_is_changed() -> None:
    scene = a_scene(members=1, etags=True)

    async with scene.client() as workspace:
        member = await first(workspace)
        scene.space.admin_rename("p1@acme.com", "Other")
        scene.space.admin_rename("p1@acme.com", "Person 1")
        assert (await workspace.replace(member, Fields(email="new@acme.com"))).email == "new@acme.com"

    assert scene.wire.kinds() == ["GET list", "PUT", "GET one", "PUT"]


async def test_member_changed_meanwhile_is_left_to_the_next_run() -> None:
    scene = a_scene(members=1, etags=True)

    async with scene.client() as workspace:
        member = await first(workspace)
        scene.space.admin_rename("p1@acme.com", "Somebody Else")
        with pytest.raises(WriteRefused, match=r"changed .* since it was listed") as refused:
            await workspace.replace(member, Fields(email="new@acme.com"))

    assert refused.value.status == 412
    assert active(scene) == [("p1@acme.com", True)]


async def test_change_that_was_made_before_its_answer_was_lost_is_recognised_by_its_version() -> None:
    scene = a_scene(members=1, etags=True)
    scene.wire.fault("PATCH", ONCE, reset_after)

    async with scene.client() as workspace:
        assert (await workspace.patch(await first(workspace), Fields(active=False))).active is False

    assert scene.wire.kinds() == ["GET list", "PATCH", "PATCH", "GET one"]


async def test_version_conflict_answered_as_409_is_read_again() -> None:
    scene = a_scene(members=1, etags=True)
    scene.wire.fault("PUT", ONCE, scim_error(409))

    async with scene.client() as workspace:
        await workspace.replace(await first(workspace), Fields(email="new@acme.com"))

    assert scene.wire.kinds() == ["GET list", "PUT", "GET one", "PUT"]


async def test_version_that_never_fits_is_refused_and_not_tried_for_ever() -> None:
    scene = a_scene(members=1, etags=True)
    scene.wire.fault("PUT", ALWAYS, answer(412))

    async with scene.client() as workspace:
        member = await first(workspace)
        with pytest.raises(WriteRefused) as refused:
            await workspace.replace(member, Fields(email="new@acme.com"))

    assert (refused.value.status, len(scene.wire.kinds("PUT"))) == (412, 2)


@pytest.mark.parametrize("status", [412, 428])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_weak_version_that_a_strict_server_refuses_is_left_out_of_the_second_attempt(
    method: str, status: int
) -> None:
    scene = a_scene(members=1, etags=True)

    async def strict(request: httpx.Request, real: Answering) -> httpx.Response:
        is_weak = request.headers.get("if-match", "").startswith("W/")
        return httpx.Response(status) if is_weak else await real(request)

    scene.wire.fault(method, ALWAYS, strict)

    async with scene.client() as workspace:
        member = await first(workspace)
        change = workspace.patch if method == "PATCH" else workspace.replace
        assert (await change(member, Fields(active=False))).active is False

    assert scene.wire.kinds() == ["GET list", method, "GET one", method]


@pytest.mark.parametrize("version", ['"7"', 'W/"7"'], ids=["strong", "weak"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_version_that_a_server_demands_is_read_and_sent(method: str, version: str) -> None:
    scene = a_scene(members=1)

    async def demanding(request: httpx.Request, real: Answering) -> httpx.Response:
        if request.method != "GET" and "if-match" not in request.headers:
            return httpx.Response(428)
        response = await real(request)
        return httpx.Response(response.status_code, content=await response.aread(), headers={"etag": version})

    scene.wire.fault(method, ALWAYS, demanding)
    scene.wire.fault("GET one", ALWAYS, demanding)

    async with scene.client() as workspace:
        member = await first(workspace)
        change = workspace.patch if method == "PATCH" else workspace.replace
        assert (await change(member, Fields(active=False))).active is False

    assert scene.wire.kinds() == ["GET list", method, "GET one", method]
    assert scene.wire.sent[-1].headers["if-match"] == version


# One change that is refused, and a rate limit with a time.


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_change_refused_with_403_is_this_members_alone_where_the_token_is_answered(method: str) -> None:
    scene = a_scene(members=1)
    scene.wire.fault(method, ONCE, scim_error(403, detail="the last security admin can't be deactivated"))

    async with scene.client(*TOKENS) as workspace:
        member = await first(workspace)
        with pytest.raises(WriteRefused, match=r"answered 403 .*the last security admin can't be deactivated") as no:
            await write(workspace, method, member)
        await write(workspace, method, member)

    assert (no.value.status, scene.warnings) == (403, [])
    assert "Other requests with this token are accepted" in no.value.hint
    assert scene.wire.kinds() == ["GET list", method, "GET list", method]


async def test_seat_limit_that_refuses_every_create_costs_one_question_a_minute() -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, scim_error(403, detail="No seats are left."))

    async with scene.client() as workspace:
        for second in range(90):
            with pytest.raises(WriteRefused, match="No seats are left"):
                await create(workspace)
            scene.time.now += second > 0

    assert scene.wire.kinds("POST") == ["POST"] * 90
    assert len(scene.wire.kinds("GET")) == 2


async def test_403_with_an_unverifiable_token_fails_this_member_only() -> None:
    scene = a_scene(members=2)

    async with scene.client(limits=RequestLimits(retries=0)) as workspace:
        one, other = (await workspace.list_members()).members
        scene.wire.fault("PATCH", ONCE, answer(403, "no"))
        scene.wire.fault("GET list", ALWAYS, answer(502))
        with pytest.raises(WriteRefused):
            await workspace.patch(one, Fields(active=False))
        assert (await workspace.patch(other, Fields(active=False))).active is False


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_403_to_everything_stops_the_workspace(method: str) -> None:
    scene = a_scene(members=1)

    async with scene.client(*TOKENS) as workspace:
        member = await first(workspace)
        scene.wire.fault("", ALWAYS, scim_error(403, detail="SCIM is off"))
        with pytest.raises(TokensRefused, match="refuses every token: 403") as raised:
            await write(workspace, method, member)

    assert raised.value.code == "credentials"
    assert len(scene.wire.kinds(method)) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_403_that_names_a_time_is_waited_for(method: str) -> None:
    scene = a_scene(members=1)
    scene.wire.fault(method, [1, 2], answer(403, retry_after="3"))

    async with scene.client(*TOKENS) as workspace:
        await write(workspace, method, await first(workspace))

    assert scene.wire.kinds() == ["GET list"] + [method] * 3
    assert all(3 <= seconds <= 4 for seconds in scene.time.naps)
    assert scene.warnings == []


async def test_proof_or_lookup_that_is_refused_with_403_blames_no_token() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("POST", ALWAYS, reset_after)
    scene.wire.fault("PATCH", ALWAYS, done_but(204))
    scene.wire.fault("GET find", ALWAYS, answer(403))
    scene.wire.fault("GET one", ALWAYS, answer(403))

    async with scene.client(*TOKENS) as workspace:
        member = await first(workspace)
        with pytest.raises(WriteLost):
            await create(workspace)
        with pytest.raises(WriteLost):
            await workspace.patch(member, Fields(active=False))

    assert scene.warnings == []


# The whole workspace.


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_token_refused_for_a_write_gives_way_to_the_next(method: str, status: int) -> None:
    scene = a_scene(members=1)

    async with scene.client(*TOKENS) as workspace:
        member = await first(workspace)
        scene.wire.fault("", ALWAYS, only_the_second_token(status))
        await write(workspace, method, member)

    assert scene.wire.sent[-1].headers["authorization"] == "Bearer second-token"
    assert [warning["event"] for warning in scene.warnings] == ["token.refused"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_write_without_an_accepted_token_stops_the_workspace(method: str) -> None:
    scene = a_scene(members=1)
    scene.wire.fault(method, ALWAYS, answer(401, "Bearer second-token is not known"))

    async with scene.client(*TOKENS) as workspace:
        member = await first(workspace)
        with pytest.raises(TokensRefused) as raised:
            await write(workspace, method, member)

    assert raised.value.code == "credentials"
    assert "second-token" not in raised.value.message
    assert len(scene.wire.kinds(method)) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_tokens_refused_after_a_lost_answer_leave_open_whether_the_change_was_made(method: str) -> None:
    scene = a_scene(members=1)

    async with scene.client() as workspace:
        member = await first(workspace)
        scene.wire.fault(method, 1, reset_after)
        scene.wire.fault(method, ALWAYS, answer(401))
        scene.wire.fault("GET find", ALWAYS, answer(200, json.dumps({"totalResults": 0})))
        with pytest.raises(TokensRefused) as raised:
            await write(workspace, method, member)
        with pytest.raises(TokensRefused) as again:
            await write(workspace, method, member)

    assert (raised.value.code, raised.value.may_be_applied) == ("credentials", True)
    assert (again.value.code, again.value.may_be_applied) == ("credentials", False)


async def test_accepted_create_that_can_not_be_looked_up_is_not_repeated() -> None:
    scene = a_scene()
    scene.wire.fault("POST", ALWAYS, done_but(202))
    scene.wire.fault("GET find", ALWAYS, answer(502))

    async with scene.client(limits=RequestLimits(retries=0)) as workspace:
        with pytest.raises(WriteLost) as lost:
            await create(workspace)

    assert lost.value.is_accepted


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_workspace_that_can_not_be_reached_is_gone(method: str) -> None:
    scene = a_scene(members=1)
    scene.wire.fault(method, ALWAYS, unreachable)

    async with scene.client(limits=RequestLimits(retries=2)) as workspace:
        member = await first(workspace)
        with pytest.raises(WorkspaceUnreachable) as raised:
            await write(workspace, method, member)

    assert (raised.value.code, raised.value.may_be_applied) == ("unreachable", True)
    assert len(scene.wire.kinds(method)) == 3


@pytest.mark.parametrize("fault", [silent, answer(503), answer(429)], ids=["silent", "503", "429"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_three_changes_in_a_row_without_an_answer_end_the_attempts(method: str, fault: Fault) -> None:
    scene = a_scene(members=1)
    scene.wire.fault(method, ALWAYS, fault)

    async with scene.client(limits=RequestLimits(retries=1)) as workspace:
        member = await first(workspace)
        outcomes = [await outcome(workspace, method, member) for _ in range(3)]

    assert WorkspaceUnreachable not in outcomes[:2]
    assert outcomes[2] is WorkspaceUnreachable


async def test_answer_in_between_shows_that_the_workspace_is_there() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", [1, 2, 4, 5], silent)

    async with scene.client(limits=RequestLimits(retries=0)) as workspace:
        member = await first(workspace)
        outcomes = [await outcome(workspace, "PATCH", member) for _ in range(6)]

    assert outcomes == [WriteLost, WriteLost, None, WriteLost, WriteLost, None]


async def test_lost_create_that_is_found_shows_that_the_workspace_is_there() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ALWAYS, silent)
    scene.wire.fault("POST", ALWAYS, reset_after)

    async with scene.client(limits=RequestLimits(retries=0)) as workspace:
        member = await first(workspace)
        outcomes = [await outcome(workspace, method, member) for method in ("PATCH", "PATCH", "POST", "PATCH", "PATCH")]

    assert outcomes == [WriteLost, WriteLost, None, WriteLost, WriteLost]


async def test_packed_answer_without_a_body_is_an_answer() -> None:
    scene = a_scene(members=1)

    async def emptied(request: httpx.Request, real: Answering) -> httpx.Response:
        await real(request)
        return await streamed([], {"content-encoding": "gzip"})(request, real)

    scene.wire.fault("PATCH", ALWAYS, emptied)

    async with scene.client() as workspace:
        assert (await workspace.patch(await first(workspace), Fields(active=False))).active is False

    assert scene.wire.kinds() == ["GET list", "PATCH", "GET one"]


async def test_token_that_can_not_be_revealed_any_more_stops_the_workspace() -> None:
    scene = a_scene(members=1)
    tokens: Iterable[str] = iter([TOKENS[0], ""])
    async with httpx.AsyncClient(transport=scene.wire) as http:
        workspace = OpenClient("latam", URL, [lambda: next(iter(tokens))], http, timer=scene.time.timer())
        member = await first(workspace)
        with pytest.raises(TokensRefused) as raised:
            await workspace.patch(member, Fields(active=False))

    assert raised.value.code == "credentials"


# Requests that can't be sent.


@pytest.mark.parametrize("scim_id", [".", ".."])
async def test_id_that_no_url_can_hold_is_not_sent(scim_id: str) -> None:
    scene = a_scene()

    async with scene.client() as workspace:
        with pytest.raises(WriteError, match="can't be part of a URL"):
            await workspace.patch(Member(scim_id, "a@acme.com", "A", True), Fields(active=False))

    assert scene.wire.sent == []


async def test_put_never_guesses_whether_a_member_is_active() -> None:
    scene = a_scene()

    async with scene.client() as workspace:
        with pytest.raises(WriteError, match="active"):
            await workspace.replace(Member("1", "a@acme.com", "A", None), Fields(email="b@acme.com"))

    assert scene.wire.sent == []


def only_the_second_token(status: int) -> Fault:
    async def fault(request: httpx.Request, real: Answering) -> httpx.Response:
        if request.headers["authorization"] == f"Bearer {TOKENS[0]}":
            return httpx.Response(status)
        return await real(request)

    return fault


async def write(workspace: WorkspaceWriter, method: str, member: Member) -> None:
    if method == "POST":
        await create(workspace)
    elif method == "PATCH":
        await workspace.patch(member, Fields(active=False))
    else:
        await workspace.replace(member, Fields(email="new@acme.com"))


async def outcome(workspace: WorkspaceWriter, method: str, member: Member) -> type[WriteError] | None:
    try:
        await write(workspace, method, member)
    except WriteError as error:
        return type(error)
    return None
