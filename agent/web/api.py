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

from agent.daemon.interface import ActiveRun, ManualRunRequest
from agent.model.email import is_valid
from agent.model.run import Trigger
from agent.settings.token import Role
from agent.web.auth import Principal
from agent.web.context import WebContext
from agent.web.openapi import openapi_document
from agent.web.problems import HttpProblem
from agent.web.schemas import (
    ApprovalBody,
    ReasonBody,
    RunAccepted,
    RunList,
    RunRequestBody,
    WorkspaceList,
    active_run_to_schema,
    person_to_schema,
    run_to_schema,
    workspace_to_schema,
)

__all__ = ["routes"]

T = TypeVar("T", bound=BaseModel)
ApiHandler = Callable[[HttpRequest, Principal], Awaitable[Response]]
MAX_RUNS, DEFAULT_RUNS = 500, 50


def routes(front: WebContext) -> list[Route]:
    """Return `/api/v1/…`. Refusals are raised, for the application to answer."""
    api = Api(front)
    return [
        Route("/api/v1/openapi.json", api.show_openapi, methods=["GET"]),
        api.read_route("/workspaces", api.list_workspaces),
        api.read_route("/workspaces/{name}", api.show_workspace),
        api.operate_route("/workspaces/{name}/runs", api.request_run),
        api.operate_route("/workspaces/{name}/pause", api.pause),
        api.operate_route("/workspaces/{name}/resume", api.resume),
        api.read_route("/runs", api.list_runs),
        api.read_route("/runs/{run_id}", api.show_run),
        api.operate_route("/runs/{run_id}/approval", api.approve),
        api.read_route("/people", api.explain_person),
    ]


@dataclass(frozen=True, slots=True)
class Api:
    """One method to a resource."""

    context: WebContext

    def read_route(self, path: str, answering: ApiHandler) -> Route:
        return Route(f"/api/v1{path}", self._require_role(Role.READ, answering), methods=["GET"])

    def operate_route(self, path: str, answering: ApiHandler) -> Route:
        return Route(f"/api/v1{path}", self._require_role(Role.OPERATE, answering), methods=["POST"])

    def _require_role(self, role: Role, answering: ApiHandler) -> Callable[[HttpRequest], Awaitable[Response]]:
        async def answer(request: HttpRequest) -> Response:
            visitor = self.context.authenticate(request, _bearer_token(request))
            self.context.authorize(visitor, role)
            return await answering(request, visitor)

        return answer

    async def show_openapi(self, _: HttpRequest) -> Response:
        return Response(openapi_document(), media_type="application/json")

    async def list_workspaces(self, request: HttpRequest, _: Principal) -> Response:
        _parse_query(request)
        desk = self.context.daemon
        shapes = [
            workspace_to_schema(await desk.load_workspace_status(name), desk.active_runs)
            for name in desk.workspace_names
        ]
        return _json_response(WorkspaceList(workspaces=tuple(shapes)))

    async def show_workspace(self, request: HttpRequest, _: Principal) -> Response:
        _parse_query(request)
        return await self._respond_with_workspace(request)

    async def _respond_with_workspace(self, request: HttpRequest) -> Response:
        desk = self.context.daemon
        return _json_response(
            workspace_to_schema(await desk.load_workspace_status(request.path_params["name"]), desk.active_runs)
        )

    async def request_run(self, request: HttpRequest, visitor: Principal) -> Response:
        name, asked = request.path_params["name"], await _parse_body(request, RunRequestBody)
        is_dry_run = asked.mode == "plan"
        wanted = ManualRunRequest(name, is_dry_run, Trigger.API, visitor.name, asked.reason, asked.user)
        return _accepted_response(await self.context.daemon.request_run(wanted))

    async def pause(self, request: HttpRequest, visitor: Principal) -> Response:
        reason = (await _parse_body(request, ReasonBody)).reason
        await self.context.daemon.pause(request.path_params["name"], visitor.name, reason)
        return await self._respond_with_workspace(request)

    async def resume(self, request: HttpRequest, visitor: Principal) -> Response:
        reason = (await _parse_body(request, ReasonBody)).reason
        await self.context.daemon.resume(request.path_params["name"], visitor.name, reason)
        return await self._respond_with_workspace(request)

    async def list_runs(self, request: HttpRequest, _: Principal) -> Response:
        query = _parse_query(request, "workspace", "since", "limit")
        names = [query["workspace"]] if "workspace" in query else []
        for name in names:
            await self.context.daemon.load_workspace_status(name)
        limit, since = _parse_limit(query.get("limit")), _parse_since(query.get("since"))
        found = await self.context.daemon.state.load_runs(names, since, limit)
        return _json_response(RunList(runs=tuple(run_to_schema(run) for run in found)))

    async def show_run(self, request: HttpRequest, _: Principal) -> Response:
        _parse_query(request)
        found = await self.context.find_run(request.path_params["run_id"])
        if isinstance(found, ActiveRun):
            return _json_response(active_run_to_schema(found))
        return _json_response(run_to_schema(found, await self.context.daemon.state.load_changes(found.id)))

    async def approve(self, request: HttpRequest, visitor: Principal) -> Response:
        approval = await _parse_body(request, ApprovalBody)
        found = await self.context.find_run(request.path_params["run_id"])
        if isinstance(found, ActiveRun):
            raise HttpProblem(409, "not-approvable", "The run has not ended.", "Wait for its end.")
        return _accepted_response(
            await self.context.approve(found, approval.digest, visitor, approval.reason, Trigger.API)
        )

    async def explain_person(self, request: HttpRequest, _: Principal) -> Response:
        email = _parse_query(request, "email").get("email", "")
        if not is_valid(email):
            raise HttpProblem(400, "query", "email: must be an email address.", "Name the person: ?email=ana@acme.com")
        return _json_response(person_to_schema(email, await self.context.daemon.explain_person(email)))


def _bearer_token(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HttpProblem(
            401,
            "credentials",
            "The request brings no token.",
            "Send `Authorization: Bearer …` with a token of `pigment-sync hash-token`.",
            {"WWW-Authenticate": "Bearer"},
        )
    return token.strip()


def _parse_query(request: HttpRequest, *allowed: str) -> dict[str, str]:
    """Return the query. Raises `HttpProblem` for a name that means nothing here: a misspelt filter shows too much."""
    given = request.query_params.multi_items()
    names = [name for name, _ in given]
    unknown = sorted(set(names) - set(allowed))
    if unknown or len(set(names)) < len(names):
        known = f"It takes: {', '.join(allowed)}." if allowed else "It takes none."
        raise HttpProblem(400, "query", "The query has a parameter that is not known, or one twice.", known)
    return dict(given)


def _parse_limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_RUNS
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MAX_RUNS):
        raise HttpProblem(400, "query", f"limit: must be a number from 1 to {MAX_RUNS}.", "Correct it.")
    return int(text)


def _parse_since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise HttpProblem(
            400, "query", "since: must be a date and time.", "Write it as 2026-03-01T12:00:00Z."
        ) from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


async def _parse_body(request: HttpRequest, shape: type[T]) -> T:
    _parse_query(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpProblem(415, "content-type", "The body is not JSON.", "Send Content-Type: application/json.")
    try:
        return shape.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        status = 400 if first["type"] == "json_invalid" else 422
        where = ".".join(map(str, first["loc"])) or "body"
        raise HttpProblem(
            status, "body", f"{where}: {first['msg']}.", "See /api/v1/openapi.json for what is understood."
        ) from None


def _accepted_response(run_id: str) -> Response:
    url = f"/api/v1/runs/{run_id}"
    return Response(
        RunAccepted(id=run_id, url=url).model_dump_json(), 202, {"Location": url}, media_type="application/json"
    )


def _json_response(shape: BaseModel) -> Response:
    return Response(shape.model_dump_json(), media_type="application/json")
