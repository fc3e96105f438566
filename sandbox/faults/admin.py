"""Switch faults on and off in a running sandbox: `GET`, `PUT` and `DELETE /faults`."""

from __future__ import annotations

import dataclasses

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.faults.parse import parse_rules, rules_to_json
from sandbox.faults.registry import FaultRegistry
from sandbox.faults.rule import FaultError

__all__ = ["faults_app"]


def faults_app(registry: FaultRegistry) -> Starlette:
    """Return the application that shows and sets the rules of *registry*.

        GET shows the rules and, as `fired`, the faults so far; PUT replaces all rules by `{"faults": [...]}`,
    with 400 naming an invalid one; DELETE removes all.
    """

    async def shown(_request: Request) -> Response:
        rules = orjson.loads(rules_to_json(registry.rules))["faults"]
        fired = [dataclasses.asdict(fired) for fired in registry.fired]
        return Response(orjson.dumps({"faults": rules, "fired": fired}), media_type="application/json")

    async def put(request: Request) -> Response:
        try:
            rules = parse_rules(orjson.loads(await request.body()))
        except (orjson.JSONDecodeError, FaultError) as error:
            return Response(orjson.dumps({"error": str(error)}), 400, media_type="application/json")
        registry.put(rules)
        return await shown(request)

    async def clear(request: Request) -> Response:
        registry.clear()
        return await shown(request)

    return Starlette(
        routes=[
            Route("/faults", shown, methods=["GET"]),
            Route("/faults", put, methods=["PUT"]),
            Route("/faults", clear, methods=["DELETE"]),
        ]
    )
