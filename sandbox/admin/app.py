"""Speak the admin API over HTTP. It asks nobody who they are: it is on loopback, and nothing in it is real."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from sandbox.admin import people, system
from sandbox.admin.body import BadRequest, Body, body_of
from sandbox.company import CompanyError, Taken, Unknown
from sandbox.faults.admin import faults_app
from sandbox.pigment.refusal import Refusal
from sandbox.pigment.space import PigmentSpace
from sandbox.pigment.switch import SwitchError
from sandbox.week import week
from sandbox.world import World

__all__ = ["admin_app"]

NEWEST = 100
Act = Callable[[World, Request, Body], tuple[int, object]]


def admin_app(world: World) -> Starlette:
    """Return the application that shows and changes *world*. docs/sandbox.md has the table of what it can do."""
    routes: list[tuple[str, str, Act]] = [
        ("GET", "/", _index),
        ("GET", "/people", _people),
        ("POST", "/people", _hire),
        ("GET", "/people/{key}", _person),
        ("POST", "/people/{key}/{action}", _happens),
        ("GET", "/directories", _directories),
        ("POST", "/directories/{name}/{action}", _directory),
        ("GET", "/workspaces", _workspaces),
        ("GET", "/workspaces/{name}/members", _members),
        ("POST", "/workspaces/{name}/{action}", _workspace),
        ("POST", "/week", _week),
        ("GET", "/requests", _requests),
        ("DELETE", "/requests", _forget),
    ]
    return Starlette(
        routes=[
            *(Route(path, _endpoint(world, act), methods=[method]) for method, path, act in routes),
            Mount("/", faults_app(world.faults)),
        ]
    )


def _endpoint(world: World, act: Act) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            status, told = act(world, request, await body_of(request))
        except Unknown as error:
            return _json(404, {"error": str(error)})
        except Taken as error:
            return _json(409, {"error": str(error)})
        except Refusal as refusal:
            return _json(refusal.status, {"error": refusal.detail})
        except (BadRequest, CompanyError, SwitchError) as error:
            return _json(400, {"error": str(error)})
        return _json(status, told)

    return endpoint


def _index(_: World, __: Request, ___: Body) -> tuple[int, object]:
    """Say what there is, to a person who opens the address in a browser."""
    return 200, {
        "people": "/people?directory=&q=",
        "what can happen to people": sorted(people.ACTIONS),
        "directories": "/directories",
        "what can happen to directories": sorted(system.DIRECTORY_ACTIONS),
        "workspaces": "/workspaces",
        "what can happen to workspaces": sorted(system.WORKSPACE_ACTIONS),
        "a week": "/week",
        "requests": "/requests?system=&method=&limit=",
        "faults": "/faults",
    }


def _people(world: World, request: Request, _: Body) -> tuple[int, object]:
    query = request.query_params
    return 200, people.listed(world.company, query.get("directory", ""), query.get("q", ""))


def _hire(world: World, _: Request, body: Body) -> tuple[int, object]:
    return 201, people.shown(world.company, people.hire(world.company, body))


def _person(world: World, request: Request, _: Body) -> tuple[int, object]:
    return 200, people.shown(world.company, world.company.person(request.path_params["key"]))


def _happens(world: World, request: Request, body: Body) -> tuple[int, object]:
    person = people.told(world.company, request.path_params["key"], request.path_params["action"], body)
    return 200, people.shown(world.company, person)


def _directories(world: World, _: Request, __: Body) -> tuple[int, object]:
    return 200, system.directories(world.company)


def _directory(world: World, request: Request, body: Body) -> tuple[int, object]:
    name, action = request.path_params["name"], request.path_params["action"]
    world.company.directory(name)
    if action not in system.DIRECTORY_ACTIONS:
        raise BadRequest(f"There is no {action!r}; there are {', '.join(sorted(system.DIRECTORY_ACTIONS))}.")
    fields, act = system.DIRECTORY_ACTIONS[action]
    body.hold_to(*fields)
    act(world, name, body)
    return 200, system.directories(world.company)[name]


def _workspaces(world: World, _: Request, __: Body) -> tuple[int, object]:
    return 200, system.workspaces(world)


def _members(world: World, request: Request, _: Body) -> tuple[int, object]:
    space = _space(world, request)
    return 200, [
        {"id": each.id, "email": each.user_name, "display_name": each.display_name, "active": each.active}
        for each in space.members
    ]


def _workspace(world: World, request: Request, body: Body) -> tuple[int, object]:
    space, action = _space(world, request), request.path_params["action"]
    if action not in system.WORKSPACE_ACTIONS:
        raise BadRequest(f"There is no {action!r}; there are {', '.join(sorted(system.WORKSPACE_ACTIONS))}.")
    fields, act = system.WORKSPACE_ACTIONS[action]
    if fields is not None:
        body.hold_to(*fields)
    act(space, body)
    return 200, system.workspaces(world)[space.name]


def _space(world: World, request: Request) -> PigmentSpace:
    name = request.path_params["name"]
    if name not in world.pigment.spaces:
        raise Unknown(f"There is no workspace {name!r}; there are {', '.join(world.pigment.spaces)}.")
    return world.pigment.spaces[name]


def _week(world: World, _: Request, __: Body) -> tuple[int, object]:
    return 200, list(week(world.company))


def _requests(world: World, request: Request, _: Body) -> tuple[int, object]:
    query = request.query_params
    seen = world.traffic.of(query.get("system", ""), query.get("method", "").upper())
    limit = int(query.get("limit", NEWEST)) if query.get("limit", "1").isdecimal() else NEWEST
    return 200, {"count": len(seen), "newest": [dataclasses.asdict(each) for each in seen[-limit:]] if limit else []}


def _forget(world: World, _: Request, __: Body) -> tuple[int, object]:
    world.traffic.clear()
    return 200, {"count": 0, "newest": []}


def _json(status: int, body: object) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE), status, media_type="application/json")
