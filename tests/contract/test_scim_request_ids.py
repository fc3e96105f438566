"""Every message about an answer of a workspace has the id of the last request, as its vendor's support needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest

from agent.errors import WriteError
from agent.model import Fields
from connectors.base import ReadError
from tests.contract.scim_faults import ALWAYS, Answering, Fault, OpenClient, a_scene

Act = Callable[[OpenClient], Awaitable[object]]
REFUSALS = (400, 401, 403, 404, 409, 412, 415, 418, 422, 429, 500, 502, 503)


async def _patch(workspace: OpenClient) -> object:
    member = (await workspace.list_members()).members[0]
    return await workspace.patch(member, Fields(None, None, False))


async def _replace(workspace: OpenClient) -> object:
    member = (await workspace.list_members()).members[0]
    return await workspace.replace(member, Fields("new@acme.com", None, None))


ACTS: dict[str, tuple[str, Act]] = {
    "list": ("GET list", lambda workspace: workspace.list_members()),
    "find": ("GET find", lambda workspace: workspace.find("ana@acme.com")),
    "create": ("POST", lambda workspace: workspace.create("ana@acme.com", "Ana Lima", "Ana", "Lima")),
    "patch": ("PATCH", _patch),
    "replace": ("PUT", _replace),
}


def refusing(status: int, request_ids: list[str], header: str = "x-request-id") -> Fault:
    """Answer *status* to each request, with a new id that is added to *request_ids*."""

    async def refuse(_request: httpx.Request, _server: Answering) -> httpx.Response:
        request_ids.append(f"Req-{len(request_ids):04}")
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "detail": "No.", "status": str(status)}
        return httpx.Response(status, json=body, headers={header: request_ids[-1]})

    return refuse


async def error_of(act: Awaitable[object]) -> ReadError | WriteError:
    try:
        await act
    except (ReadError, WriteError) as error:
        return error
    raise AssertionError("it should have failed")


@pytest.mark.parametrize(
    ("act", "status"),
    # A lookup that is answered 404 has a result: no member has the address.
    [(act, status) for act in ACTS for status in REFUSALS if (act, status) != ("find", 404)],
)
async def test_refusal_names_the_id_of_the_last_attempt(act: str, status: int) -> None:
    method, perform = ACTS[act]
    scene, request_ids = a_scene(members=3), list[str]()
    scene.wire.fault(method, ALWAYS, refusing(status, request_ids))
    async with scene.client() as workspace:
        error = await error_of(perform(workspace))

    assert f"[request id {request_ids[-1]}]" in error.message
    assert error.message.count("request id") == 1
    assert request_ids[-1] not in error.hint


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_check_names_the_id(status: int) -> None:
    scene, request_ids = a_scene(), list[str]()
    scene.wire.fault("GET list", ALWAYS, refusing(status, request_ids))
    async with scene.client() as workspace:
        findings = await workspace.check(lambda: "unknown@acme.com")

    assert any(request_ids[-1] in finding.message for finding in findings if finding.level != "ok")


@pytest.mark.parametrize("header", ["x-request-id", "x-correlation-id", "cf-ray"])
async def test_id_of_a_gateway_is_one_too(header: str) -> None:
    scene, request_ids = a_scene(), list[str]()
    scene.wire.fault("POST", ALWAYS, refusing(422, request_ids, header))
    async with scene.client() as workspace:
        with pytest.raises(WriteError) as raised:
            await workspace.create("ana@acme.com", "Ana Lima", "Ana", "Lima")

    assert f"[request id {request_ids[-1]}]" in raised.value.message


@pytest.mark.parametrize("act", ACTS)
async def test_no_answer_names_no_id(act: str) -> None:
    method, perform = ACTS[act]
    scene, request_ids = a_scene(members=3), list[str]()
    refuse = refusing(503, request_ids)

    async def first_refuse_then_be_silent(request: httpx.Request, server: Answering) -> httpx.Response:
        if not request_ids:
            return await refuse(request, server)
        raise httpx.ReadTimeout("", request=request)

    scene.wire.fault(method, ALWAYS, first_refuse_then_be_silent)
    async with scene.client() as workspace:
        error = await error_of(perform(workspace))

    assert request_ids
    assert "request id" not in error.message


async def test_write_without_effect_names_the_id_of_the_write() -> None:
    scene = a_scene(members=3)

    async def accept(request: httpx.Request, _server: Answering) -> httpx.Response:
        return httpx.Response(204, headers={"x-request-id": "Write-1"})

    scene.wire.fault("PATCH", ALWAYS, accept)
    async with scene.client() as workspace:
        with pytest.raises(WriteError) as raised:
            await _patch(workspace)

    assert "[request id Write-1]" in raised.value.message
