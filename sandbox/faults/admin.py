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


def faults_app(book: FaultRegistry) -> Starlette:
    """Return the application that shows and sets *book*.

    GET shows the rules and, as `fired`, what went wrong by them; PUT takes `{"faults": [...]}` in the place of all
    rules, 400 saying which one can't be; DELETE takes all out.
    """

    async def shown(_request: Request) -> Response:
        rules = orjson.loads(rules_to_json(book.rules))["faults"]
        fired = [dataclasses.asdict(fired) for fired in book.fired]
        return Response(orjson.dumps({"faults": rules, "fired": fired}), media_type="application/json")

    async def put(request: Request) -> Response:
        try:
            rules = parse_rules(orjson.loads(await request.body()))
        except (orjson.JSONDecodeError, FaultError) as error:
            return Response(orjson.dumps({"error": str(error)}), 400, media_type="application/json")
        book.put(rules)
        return await shown(request)

    async def clear(request: Request) -> Response:
        book.clear()
        return await shown(request)

    return Starlette(
        routes=[
            Route("/faults", shown, methods=["GET"]),
            Route("/faults", put, methods=["PUT"]),
            Route("/faults", clear, methods=["DELETE"]),
        ]
    )
