"""The API: what the page can do, for programs. Each request brings its token; cookies mean nothing here.

Its description, `/api/v1/openapi.json`, is generated from these functions and from the models in `schemas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from agent.daemon.interface import ActiveRun, DaemonApi, ManualRunRequest
from agent.delivery.rows import report_row
from agent.model.email import is_valid
from agent.model.run import Run, Trigger
from agent.settings.token import Role
from agent.web.auth import Principal
from agent.web.context import AcceptedApproval, GivenApproval, WebContext
from agent.web.problems import HttpProblem
from agent.web.schemas import (
    ApprovalAccepted,
    ApprovalBody,
    ApprovalNeedsSchema,
    MissingApproval,
    PersonSchema,
    Problem,
    ReasonBody,
    ReportList,
    RunAccepted,
    RunList,
    RunRequestBody,
    RunSchema,
    UndoBody,
    WorkspaceList,
    WorkspaceSchema,
    active_run_to_schema,
    approval_needs,
    person_to_schema,
    run_to_schema,
    workspace_to_schema,
)

__all__ = ["API_PREFIX", "add_api", "invalid_request_problem", "openapi_document"]

API_PREFIX = "/api/v1"
PROBLEM_DESCRIPTIONS = {
    400: "The request can't be read.",
    401: "The token is missing or wrong.",
    403: "The token's role does not allow it.",
    404: "There is no such workspace or run.",
    409: "The plan of this run can't be approved now, or the run can't be undone.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The body is not valid.",
    429: "Too many wrong tokens, too many waiting runs or questions, or too few requests left for a question.",
    502: "An identity provider or a workspace could not be read.",
    503: "The state can't be reached.",
}
PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {each: {"description": PROBLEM_DESCRIPTIONS[each], "content": PROBLEM_CONTENT} for each in statuses}


ACCEPTED = {
    "description": "The run is queued; its URL shows its progress.",
    "headers": {"Location": {"schema": {"type": "string"}, "description": "The run."}},
}
WORKSPACE_PROBLEMS = _problems(404)
BODY_PROBLEMS = _problems(404, 413, 415, 422)
APPROVAL_PROBLEMS = _problems(404, 409, 413, 415, 422)
public_router = APIRouter()
router = APIRouter(
    prefix=API_PREFIX,
    responses={
        **_problems(400, 401, 403, 429, 503),
        "default": {"description": "Any other problem.", "content": PROBLEM_CONTENT},
    },
    generate_unique_id_function=lambda route: route.name,
)
bearer_token = HTTPBearer(scheme_name="token", auto_error=False, description="See `pigment-sync hash-token`.")


async def get_context(request: Request) -> WebContext:
    context: WebContext = request.app.state.context
    return context


async def get_daemon(context: Annotated[WebContext, Depends(get_context)]) -> DaemonApi:
    return context.daemon


async def get_reader(
    request: Request,
    context: Annotated[WebContext, Depends(get_context)],
    token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_token)],
) -> Principal:
    """Return who sent *request*. Raises `HttpProblem` for a wrong token, role or query."""
    principal = await _authenticate(request, context, token)
    context.authorize(principal, Role.READ)
    _check_query(request)
    return principal


async def get_operator(
    request: Request,
    context: Annotated[WebContext, Depends(get_context)],
    token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_token)],
) -> Principal:
    """Return the operator who sent *request*. Raises `HttpProblem`, also for a body that is not JSON."""
    principal = await _authenticate(request, context, token)
    context.authorize(principal, Role.OPERATE)
    _check_query(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpProblem(415, "content-type", "The body is not JSON.", "Send Content-Type: application/json.")
    return principal


async def _authenticate(request: Request, context: WebContext, token: HTTPAuthorizationCredentials | None) -> Principal:
    if token is None or not token.credentials.strip():
        raise HttpProblem(
            401,
            "credentials",
            "The request has no token.",
            "Send `Authorization: Bearer …` with a token of `pigment-sync hash-token`.",
            {"WWW-Authenticate": "Bearer"},
        )
    return await context.authenticate(request, token.credentials.strip())


def _check_query(request: Request) -> None:
    """Raises `HttpProblem` for an unknown or repeated name: a misspelt filter would return too much."""
    allowed = [field.alias for field in request.scope["route"].dependant.query_params]
    names = [name for name, _ in request.query_params.multi_items()]
    if set(names) - set(allowed) or len(set(names)) < len(names):
        known = f"Allowed: {', '.join(allowed)}." if allowed else "It takes no parameters."
        raise HttpProblem(400, "query", "The query has an unknown or repeated parameter.", known)


def _parse_since(value: object) -> datetime:
    # Pydantic would read 20260301 as seconds since 1970.
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("must be a date and time, such as 2026-03-01T12:00:00Z") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _require_digits(value: str) -> str:
    # Python's numbers may hold underscores and signs.
    if not (value.isascii() and value.isdecimal()):
        raise ValueError("must be a whole number")
    return value


def _validate_email(value: str) -> str:
    if not is_valid(value):
        raise ValueError("must be an email address, such as ?email=ana@acme.com")
    return value


Daemon = Annotated[DaemonApi, Depends(get_daemon)]
Reader = Annotated[Principal, Depends(get_reader)]
Operator = Annotated[Principal, Depends(get_operator)]
Limit = Annotated[int, Field(ge=1, le=500), BeforeValidator(_require_digits)]
Since = Annotated[datetime, BeforeValidator(_parse_since)]
Email = Annotated[str, AfterValidator(_validate_email), Field(json_schema_extra={"format": "email"})]


@public_router.get("/api/v1/openapi.json")
async def show_openapi() -> dict[str, Any]:
    """Return this document."""
    return openapi_document()


@router.get("/workspaces")
async def list_workspaces(_: Reader, daemon: Daemon) -> WorkspaceList:
    """Return the status of every workspace."""
    statuses = await daemon.load_statuses()
    return WorkspaceList(workspaces=tuple(workspace_to_schema(each, daemon.active_runs) for each in statuses))


@router.get("/workspaces/{name}", responses=WORKSPACE_PROBLEMS)
async def show_workspace(name: str, _: Reader, daemon: Daemon) -> WorkspaceSchema:
    """Return the status of one workspace."""
    return await _load_workspace(name, daemon)


async def _load_workspace(name: str, daemon: DaemonApi) -> WorkspaceSchema:
    return workspace_to_schema(await daemon.load_workspace_status(name), daemon.active_runs)


@router.post("/workspaces/{name}/runs", status_code=202, responses={202: ACCEPTED, **BODY_PROBLEMS})
async def request_run(
    name: str, body: RunRequestBody, operator: Operator, daemon: Daemon, response: Response
) -> RunAccepted:
    """Queue a one-off run."""
    request = ManualRunRequest(name, body.mode == "plan", Trigger.API, operator.name, body.reason, body.user)
    return _accept(await daemon.request_run(request), response)


@router.post("/workspaces/{name}/pause", responses=BODY_PROBLEMS)
async def pause(name: str, body: ReasonBody, operator: Operator, daemon: Daemon) -> WorkspaceSchema:
    """Stop writing to a workspace; planning continues."""
    await daemon.pause(name, operator.name, body.reason)
    return await _load_workspace(name, daemon)


@router.post("/workspaces/{name}/resume", responses=BODY_PROBLEMS)
async def resume(name: str, body: ReasonBody, operator: Operator, daemon: Daemon) -> WorkspaceSchema:
    """Write to a paused workspace again."""
    await daemon.resume(name, operator.name, body.reason)
    return await _load_workspace(name, daemon)


@router.get("/reports")
async def list_reports(_: Reader, daemon: Daemon) -> ReportList:
    """Return every scheduled report: when it was delivered, when it is due next, and what failed."""
    now = daemon.now()
    return ReportList(reports=tuple(report_row(each, now) for each in await daemon.load_reports()))


@router.get("/runs", responses=WORKSPACE_PROBLEMS)
async def list_runs(
    _: Reader,
    daemon: Daemon,
    workspace: str | SkipJsonSchema[None] = None,
    since: Since | SkipJsonSchema[None] = None,
    limit: Limit = 50,
) -> RunList:
    """Return past runs, newest first, without their plans."""
    if workspace is not None:
        await daemon.load_workspace_status(workspace)
    found = await daemon.state.load_runs([] if workspace is None else [workspace], since, limit)
    return RunList(runs=tuple(run_to_schema(run) for run in found))


@router.get("/runs/{run_id}", responses=WORKSPACE_PROBLEMS)
async def show_run(run_id: str, reader: Reader, context: Annotated[WebContext, Depends(get_context)]) -> RunSchema:
    """Return one run with its plan, who approved it, what an approval needs, and the outcome of each change."""
    found = await context.find_run(run_id)
    if isinstance(found, ActiveRun):
        return active_run_to_schema(found)
    state, needs = context.daemon.state, await _load_needs(found, reader, context)
    return run_to_schema(found, await state.load_changes(found.id), await state.load_run_approvals(found.id), needs)


async def _load_needs(run: Run, reader: Principal, context: WebContext) -> ApprovalNeedsSchema | None:
    form, blocked, newer = await context.load_any_form(run, reader), "", None
    if form is None or not form.boxes:
        return None
    if not form.is_undo:
        blocked, newer = await context.find_approval_blocker(run), await context.find_newer_plan(run)
    return approval_needs(form, context.daemon.approval_policy, blocked, newer.id if newer else None)


@router.post("/runs/{run_id}/approval", status_code=202, responses={202: ACCEPTED, **APPROVAL_PROBLEMS})
async def approve(
    run_id: str,
    body: ApprovalBody,
    operator: Operator,
    context: Annotated[WebContext, Depends(get_context)],
    response: Response,
) -> ApprovalAccepted:
    """Approve the changes of this run's plan that are on hold, and queue the sync that applies them.

    Where two people are needed, the sync of the first approval only records it.
    """
    found = await context.find_run(run_id)
    if isinstance(found, ActiveRun):
        raise HttpProblem(409, "not-approvable", "The run has not ended.", "Wait until it ends.")
    given = GivenApproval(body.digest, body.reason, body.guards, body.confirm)
    return _accept_approval(await context.approve(found, given, operator, Trigger.API), response)


@router.post("/runs/{run_id}/undo", status_code=202, responses={202: ACCEPTED, **APPROVAL_PROBLEMS})
async def undo(
    run_id: str,
    body: UndoBody,
    operator: Operator,
    context: Annotated[WebContext, Depends(get_context)],
    response: Response,
) -> ApprovalAccepted:
    """Plan what reverts the changes of this run, or approve that plan; the undo also pauses the workspace.

    Where guards hold something and two people are needed, the first approval is only recorded.
    """
    run = await _find_ended_run(run_id, context)
    if body.digest is None:
        accepted = _accept(await context.plan_undo(run, operator.name, Trigger.API), response)
        return ApprovalAccepted(id=accepted.id, url=accepted.url, missing=())
    given = GivenApproval(body.digest, body.reason, body.guards, body.confirm)
    plan = await context.find_undo_plan(body.digest)
    return _accept_approval(await context.approve_undo(run, plan, given, operator, Trigger.API), response)


async def _find_ended_run(run_id: str, context: WebContext) -> Run:
    found = await context.find_run(run_id)
    if isinstance(found, ActiveRun):
        raise HttpProblem(409, "not-undoable", "The run has not ended.", "Wait until it ends.")
    return found


def _accept_approval(done: AcceptedApproval, response: Response) -> ApprovalAccepted:
    accepted = _accept(done.run_id, response)
    missing = tuple(
        MissingApproval(guard=each.guard, approved_by=each.approved_by, people=each.missing) for each in done.missing
    )
    return ApprovalAccepted(id=accepted.id, url=accepted.url, missing=missing)


@router.get("/people", responses=_problems(502))
async def explain_person(email: Email, _: Reader, daemon: Daemon) -> PersonSchema:
    """Explain why a person is in or out of each workspace, from fresh reads (seconds)."""
    return person_to_schema(email, await daemon.explain_person(email))


def _accept(run_id: str, response: Response) -> RunAccepted:
    url = f"{API_PREFIX}/runs/{run_id}"
    response.headers["Location"] = url
    return RunAccepted(id=run_id, url=url)


def invalid_request_problem(error: RequestValidationError) -> HttpProblem:
    """Return the problem of a query or a body that is not valid. It repeats no value."""
    first: Mapping[str, Any] = error.errors()[0]
    part, *path = first["loc"]
    if part == "query":
        return HttpProblem(400, "query", f"{_location(path, part)}: {_reason(first)}.", "Correct it.")
    # A body that is missing or not JSON can't be read; the others are read and not valid.
    is_unreadable = first["type"] == "json_invalid" or (first["type"] == "missing" and not path)
    where = "body" if is_unreadable else _location(path, part)
    return HttpProblem(
        400 if is_unreadable else 422,
        "body",
        f"{where}: {_reason(first)}.",
        f"See {API_PREFIX}/openapi.json for what is allowed.",
    )


def _location(path: list[str | int], part: str) -> str:
    return ".".join(map(str, path)) or part


def _reason(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


@cache
def openapi_document() -> dict[str, Any]:
    """Return the description of the API."""
    document: dict[str, Any] = get_openapi(
        title="pigment-sync",
        version=version("pigment-sync"),
        description="One-off runs, approvals and reports of the daemon. Tokens: `pigment-sync hash-token`.",
        servers=[{"url": "/"}],
        routes=[*public_router.routes, *router.routes],
    )
    document["components"]["schemas"][Problem.__name__] = Problem.model_json_schema(mode="serialization")
    return document


def add_api(app: FastAPI, context: WebContext) -> None:
    """Add `/api/v1/…` to *app*. Problems are raised, for the application to answer."""
    app.state.context = context
    for each in (public_router, router, _head_router()):
        app.include_router(each)


def _head_router() -> APIRouter:
    """Return routes that answer HEAD wherever there is GET, as RFC 9110, 9.3.2 asks; FastAPI adds none."""
    heads = APIRouter(include_in_schema=False)
    for each in (*public_router.routes, *router.routes):
        if isinstance(each, APIRoute) and each.methods == {"GET"}:
            heads.add_api_route(each.path, each.endpoint, methods=["HEAD"])
    return heads
