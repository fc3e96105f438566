"""The API: what the page can do, for programs. Each request brings its token; cookies mean nothing here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from agent.address import is_valid
from agent.desk import Ongoing, Request
from agent.ports import Trigger
from agent.settings.token import Role
from agent.web.front import Front
from agent.web.openapi import document
from agent.web.problem import Refusal
from agent.web.shapes import (
    Approval,
    Asked,
    Reason,
    RunAccepted,
    RunList,
    WorkspaceList,
    ongoing_shape,
    person_shape,
    run_shape,
    workspace_shape,
)
from agent.web.visitor import Visitor

__all__ = ["routes"]

T = TypeVar("T", bound=BaseModel)
Answering = Callable[[HttpRequest, Visitor], Awaitable[Response]]
MOST_RUNS, DEFAULT_RUNS = 500, 50


def routes(front: Front) -> list[Route]:
    """Return `/api/v1/…`. Refusals are raised, for the application to answer."""
    api = Api(front)
    return [
        Route("/api/v1/openapi.json", api.openapi, methods=["GET"]),
        api.reading("/workspaces", api.workspaces),
        api.reading("/workspaces/{name}", api.workspace),
        api.operating("/workspaces/{name}/runs", api.ask),
        api.operating("/workspaces/{name}/pause", api.pause),
        api.operating("/workspaces/{name}/resume", api.resume),
        api.reading("/runs", api.runs),
        api.reading("/runs/{run_id}", api.run),
        api.operating("/runs/{run_id}/approval", api.approve),
        api.reading("/people", api.person),
    ]


@dataclass(frozen=True, slots=True)
class Api:
    """One method to a resource."""

    front: Front

    def reading(self, path: str, answering: Answering) -> Route:
        return Route(f"/api/v1{path}", self._guarded(Role.READ, answering), methods=["GET"])

    def operating(self, path: str, answering: Answering) -> Route:
        return Route(f"/api/v1{path}", self._guarded(Role.OPERATE, answering), methods=["POST"])

    def _guarded(self, role: Role, answering: Answering) -> Callable[[HttpRequest], Awaitable[Response]]:
        async def answer(request: HttpRequest) -> Response:
            visitor = self.front.by_token(request, _bearer(request))
            self.front.may(visitor, role)
            return await answering(request, visitor)

        return answer

    async def openapi(self, _: HttpRequest) -> Response:
        return Response(document(), media_type="application/json")

    async def workspaces(self, request: HttpRequest, _: Visitor) -> Response:
        _query(request)
        desk = self.front.desk
        shapes = [workspace_shape(await desk.standing(name), desk.ongoing) for name in desk.names]
        return _json(WorkspaceList(workspaces=tuple(shapes)))

    async def workspace(self, request: HttpRequest, _: Visitor) -> Response:
        _query(request)
        return await self._standing(request)

    async def _standing(self, request: HttpRequest) -> Response:
        desk = self.front.desk
        return _json(workspace_shape(await desk.standing(request.path_params["name"]), desk.ongoing))

    async def ask(self, request: HttpRequest, visitor: Visitor) -> Response:
        name, asked = request.path_params["name"], await _body(request, Asked)
        is_dry_run = asked.mode == "plan"
        wanted = Request(name, is_dry_run, Trigger.API, visitor.name, asked.reason, asked.user)
        return _accepted(await self.front.desk.ask(wanted))

    async def pause(self, request: HttpRequest, visitor: Visitor) -> Response:
        reason = (await _body(request, Reason)).reason
        await self.front.desk.pause(request.path_params["name"], visitor.name, reason)
        return await self._standing(request)

    async def resume(self, request: HttpRequest, visitor: Visitor) -> Response:
        reason = (await _body(request, Reason)).reason
        await self.front.desk.resume(request.path_params["name"], visitor.name, reason)
        return await self._standing(request)

    async def runs(self, request: HttpRequest, _: Visitor) -> Response:
        query = _query(request, "workspace", "since", "limit")
        names = [query["workspace"]] if "workspace" in query else []
        for name in names:
            await self.front.desk.standing(name)
        limit, since = _limit(query.get("limit")), _since(query.get("since"))
        found = await self.front.desk.state.runs(names, since, limit)
        return _json(RunList(runs=tuple(run_shape(run) for run in found)))

    async def run(self, request: HttpRequest, _: Visitor) -> Response:
        _query(request)
        found = await self.front.run(request.path_params["run_id"])
        if isinstance(found, Ongoing):
            return _json(ongoing_shape(found))
        return _json(run_shape(found, await self.front.desk.state.changes(found.id)))

    async def approve(self, request: HttpRequest, visitor: Visitor) -> Response:
        approval = await _body(request, Approval)
        found = await self.front.run(request.path_params["run_id"])
        if isinstance(found, Ongoing):
            raise Refusal(409, "not-approvable", "The run has not ended.", "Wait for its end.")
        return _accepted(await self.front.approve(found, approval.digest, visitor, approval.reason, Trigger.API))

    async def person(self, request: HttpRequest, _: Visitor) -> Response:
        email = _query(request, "email").get("email", "")
        if not is_valid(email):
            raise Refusal(400, "query", "email: must be an email address.", "Name the person: ?email=ana@acme.com")
        return _json(person_shape(email, await self.front.desk.explain(email)))


def _bearer(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(
            401,
            "credentials",
            "The request brings no token.",
            "Send `Authorization: Bearer …` with a token of `pigment-sync hash-token`.",
            {"WWW-Authenticate": "Bearer"},
        )
    return token.strip()


def _query(request: HttpRequest, *allowed: str) -> dict[str, str]:
    """Return the query. Raises `Refusal` for a name that means nothing here: a misspelt filter shows too much."""
    given = request.query_params.multi_items()
    names = [name for name, _ in given]
    unknown = sorted(set(names) - set(allowed))
    if unknown or len(set(names)) < len(names):
        known = f"It takes: {', '.join(allowed)}." if allowed else "It takes none."
        raise Refusal(400, "query", "The query has a parameter that is not known, or one twice.", known)
    return dict(given)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_RUNS
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MOST_RUNS):
        raise Refusal(400, "query", f"limit: must be a number from 1 to {MOST_RUNS}.", "Correct it.")
    return int(text)


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(400, "query", "since: must be a date and time.", "Write it as 2026-03-01T12:00:00Z.") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


async def _body(request: HttpRequest, shape: type[T]) -> T:
    _query(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "content-type", "The body is not JSON.", "Send Content-Type: application/json.")
    try:
        return shape.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        status = 400 if first["type"] == "json_invalid" else 422
        where = ".".join(map(str, first["loc"])) or "body"
        raise Refusal(
            status, "body", f"{where}: {first['msg']}.", "See /api/v1/openapi.json for what is understood."
        ) from None


def _accepted(run_id: str) -> Response:
    url = f"/api/v1/runs/{run_id}"
    return Response(
        RunAccepted(id=run_id, url=url).model_dump_json(), 202, {"Location": url}, media_type="application/json"
    )


def _json(shape: BaseModel) -> Response:
    return Response(shape.model_dump_json(), media_type="application/json")
