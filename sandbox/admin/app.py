"""Serve the admin API over HTTP. It has no login: it listens on loopback, and all data is pretend."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from sandbox.admin import actions, people
from sandbox.admin.body import BadRequest, RequestBody, read_body
from sandbox.company import AddressTaken, CompanyError, NotFound
from sandbox.environment import Environment
from sandbox.faults.admin import faults_app
from sandbox.pigment.errors import ScimError
from sandbox.pigment.options import OptionError
from sandbox.pigment.workspace import PigmentWorkspace
from sandbox.week import simulate_week

__all__ = ["admin_app"]

DEFAULT_LIMIT = 100
Handler = Callable[[Environment, Request, RequestBody], tuple[int, object]]


def admin_app(environment: Environment) -> Starlette:
    """Return the application that shows and changes *environment*. docs/sandbox.md lists the routes."""
    routes: list[tuple[str, str, Handler]] = [
        ("GET", "/", _index),
        ("GET", "/people", _list_people),
        ("POST", "/people", _hire),
        ("GET", "/people/{key}", _show_person),
        ("POST", "/people/{key}/{action}", _act_on_person),
        ("GET", "/directories", _list_directories),
        ("POST", "/directories/{name}/{action}", _act_on_directory),
        ("GET", "/workspaces", _list_workspaces),
        ("GET", "/workspaces/{name}/members", _list_members),
        ("POST", "/workspaces/{name}/{action}", _act_on_workspace),
        ("POST", "/week", _simulate_week),
        ("GET", "/requests", _list_requests),
        ("DELETE", "/requests", _clear_requests),
    ]
    return Starlette(
        routes=[
            *(Route(path, _endpoint(environment, act), methods=[method]) for method, path, act in routes),
            Mount("/", faults_app(environment.faults)),
        ]
    )


def _endpoint(environment: Environment, act: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            status, result = act(environment, request, await read_body(request))
        except NotFound as error:
            return _json_response(404, {"error": str(error)})
        except AddressTaken as error:
            return _json_response(409, {"error": str(error)})
        except ScimError as refusal:
            return _json_response(refusal.status, {"error": refusal.detail})
        except (BadRequest, CompanyError, OptionError) as error:
            return _json_response(400, {"error": str(error)})
        return _json_response(status, result)

    return endpoint


def _index(_: Environment, __: Request, ___: RequestBody) -> tuple[int, object]:
    """List the routes and actions, for a person who opens the address in a browser."""
    return 200, {
        "people": "/people?directory=&q=",
        "what can happen to people": sorted(people.ACTIONS),
        "directories": "/directories",
        "what can happen to directories": sorted(actions.DIRECTORY_ACTIONS),
        "workspaces": "/workspaces",
        "what can happen to workspaces": sorted(actions.WORKSPACE_ACTIONS),
        "a week": "/week",
        "requests": "/requests?system=&method=&limit=",
        "faults": "/faults",
    }


def _list_people(environment: Environment, request: Request, _: RequestBody) -> tuple[int, object]:
    query = request.query_params
    return 200, people.list_people(environment.company, query.get("directory", ""), query.get("q", ""))


def _hire(environment: Environment, _: Request, body: RequestBody) -> tuple[int, object]:
    return 201, people.person_to_json(environment.company, people.hire(environment.company, body))


def _show_person(environment: Environment, request: Request, _: RequestBody) -> tuple[int, object]:
    return 200, people.person_to_json(environment.company, environment.company.person(request.path_params["key"]))


def _act_on_person(environment: Environment, request: Request, body: RequestBody) -> tuple[int, object]:
    person = people.perform_action(environment.company, request.path_params["key"], request.path_params["action"], body)
    return 200, people.person_to_json(environment.company, person)


def _list_directories(environment: Environment, _: Request, __: RequestBody) -> tuple[int, object]:
    return 200, actions.describe_directories(environment.company)


def _act_on_directory(environment: Environment, request: Request, body: RequestBody) -> tuple[int, object]:
    name, action = request.path_params["name"], request.path_params["action"]
    environment.company.directory(name)
    if action not in actions.DIRECTORY_ACTIONS:
        raise BadRequest(f"There is no {action!r}; there are {', '.join(sorted(actions.DIRECTORY_ACTIONS))}.")
    fields, act = actions.DIRECTORY_ACTIONS[action]
    body.refuse_unknown(*fields)
    act(environment, name, body)
    return 200, actions.describe_directories(environment.company)[name]


def _list_workspaces(environment: Environment, _: Request, __: RequestBody) -> tuple[int, object]:
    return 200, actions.describe_workspaces(environment)


def _list_members(environment: Environment, request: Request, _: RequestBody) -> tuple[int, object]:
    workspace = _find_workspace(environment, request)
    return 200, [
        {"id": each.id, "email": each.user_name, "display_name": each.display_name, "active": each.active}
        for each in workspace.members
    ]


def _act_on_workspace(environment: Environment, request: Request, body: RequestBody) -> tuple[int, object]:
    workspace, action = _find_workspace(environment, request), request.path_params["action"]
    if action not in actions.WORKSPACE_ACTIONS:
        raise BadRequest(f"There is no {action!r}; there are {', '.join(sorted(actions.WORKSPACE_ACTIONS))}.")
    fields, act = actions.WORKSPACE_ACTIONS[action]
    if fields is not None:
        body.refuse_unknown(*fields)
    act(workspace, body)
    return 200, actions.describe_workspaces(environment)[workspace.name]


def _find_workspace(environment: Environment, request: Request) -> PigmentWorkspace:
    name = request.path_params["name"]
    if name not in environment.pigment.workspaces:
        raise NotFound(f"There is no workspace {name!r}; there are {', '.join(environment.pigment.workspaces)}.")
    return environment.pigment.workspaces[name]


def _simulate_week(environment: Environment, _: Request, __: RequestBody) -> tuple[int, object]:
    return 200, list(simulate_week(environment.company))


def _list_requests(environment: Environment, request: Request, _: RequestBody) -> tuple[int, object]:
    query = request.query_params
    seen = environment.request_log.matching(query.get("system", ""), query.get("method", "").upper())
    limit = int(query.get("limit", DEFAULT_LIMIT)) if query.get("limit", "1").isdecimal() else DEFAULT_LIMIT
    return 200, {"count": len(seen), "newest": [dataclasses.asdict(each) for each in seen[-limit:]] if limit else []}


def _clear_requests(environment: Environment, _: Request, __: RequestBody) -> tuple[int, object]:
    environment.request_log.clear()
    return 200, {"count": 0, "newest": []}


def _json_response(status: int, body: object) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE), status, media_type="application/json")
