"""The API's description (OpenAPI 3.1), made of the shapes that it takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent.web.shapes import (
    Approval,
    Asked,
    PersonShape,
    Problem,
    Reason,
    RunAccepted,
    RunList,
    RunShape,
    WorkspaceList,
    WorkspaceShape,
)

__all__ = ["document"]

TAKEN: Sequence[type[BaseModel]] = (Asked, Approval, Reason)
GIVEN: Sequence[type[BaseModel]] = (
    Problem,
    RunAccepted,
    RunList,
    RunShape,
    PersonShape,
    WorkspaceList,
    WorkspaceShape,
)
REF = "#/components/schemas/{model}"
PROBLEMS = {
    "400": "The request can't be read.",
    "401": "There is no token, or a wrong one.",
    "403": "The token's role does not allow it.",
    "404": "There is no such workspace or run.",
    "409": "It can't be done as things stand.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "422": "The body says something that is not understood.",
    "429": "Too many wrong tokens, or too many runs or questions that wait, or too few requests left for a question.",
    "502": "An identity provider or a workspace could not be read.",
    "503": "The state can't be reached.",
}
READS, WRITES = ("400", "401", "403", "429", "503"), ("400", "401", "403", "413", "415", "422", "429", "503")
NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
RUN_ID = {"name": "run_id", "in": "path", "required": True, "schema": {"type": "string"}}
Part = dict[str, Any]


@cache
def document() -> bytes:
    """Return the document as JSON."""
    modes: list[tuple[type[BaseModel], Any]] = [(each, "validation") for each in TAKEN]
    modes += [(each, "serialization") for each in GIVEN]
    _, schemas = models_json_schema(modes, ref_template=REF)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "pigment-sync",
            "version": version("pigment-sync"),
            "description": "One-off runs, approvals and reports of the daemon. Tokens: `pigment-sync hash-token`.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": _paths(),
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def _paths() -> Part:
    return {
        "/api/v1/openapi.json": {
            "get": {"summary": "This document.", "security": [], "responses": {"200": _json("The document.", None)}}
        },
        "/api/v1/workspaces": {"get": _reading("How all workspaces stand.", WorkspaceList)},
        "/api/v1/workspaces/{name}": {"get": _reading("How one workspace stands.", WorkspaceShape, (NAME,), ("404",))},
        "/api/v1/workspaces/{name}/runs": {"post": _asking("Ask for a one-off run.", Asked, (NAME,), ("404",))},
        "/api/v1/workspaces/{name}/pause": {
            "post": _writing("Stop writing to a workspace; planning goes on.", Reason, WorkspaceShape, (NAME,))
        },
        "/api/v1/workspaces/{name}/resume": {
            "post": _writing("Write to a paused workspace again.", Reason, WorkspaceShape, (NAME,))
        },
        "/api/v1/runs": {
            "get": _reading(
                "Past runs, newest first, without their plans.",
                RunList,
                (
                    _query("workspace", {"type": "string"}),
                    _query("since", {"type": "string", "format": "date-time"}),
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
                ),
                ("404",),
            )
        },
        "/api/v1/runs/{run_id}": {
            "get": _reading("One run with its plan, and what became of each change.", RunShape, (RUN_ID,), ("404",))
        },
        "/api/v1/runs/{run_id}/approval": {
            "post": _asking("Release what a guard held of this run's plan.", Approval, (RUN_ID,), ("404", "409"))
        },
        "/api/v1/people": {
            "get": _reading(
                "Why a person is in or out of each workspace, from fresh reads (seconds).",
                PersonShape,
                (_query("email", {"type": "string", "format": "email"}, required=True),),
                ("502",),
            )
        },
    }


def _query(name: str, schema: Part, *, required: bool = False) -> Part:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _reading(summary: str, shape: type[BaseModel], parameters: Sequence[Part] = (), more: Sequence[str] = ()) -> Part:
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": _json("Done.", shape), **_problems([*READS, *more])},
    }


def _writing(summary: str, taken: type[BaseModel], given: type[BaseModel], parameters: Sequence[Part]) -> Part:
    return {
        "summary": summary,
        "parameters": list(parameters),
        "requestBody": _json(taken.__doc__ or "", taken) | {"required": True},
        "responses": {"200": _json("Done.", given), **_problems([*WRITES, "404"])},
    }


def _asking(summary: str, taken: type[BaseModel], parameters: Sequence[Part], more: Sequence[str]) -> Part:
    location = {"Location": {"schema": {"type": "string"}, "description": "The run."}}
    accepted = _json("The run was taken on; its URL says how it goes.", RunAccepted) | {"headers": location}
    return {
        "summary": summary,
        "parameters": list(parameters),
        "requestBody": _json(taken.__doc__ or "", taken) | {"required": True},
        "responses": {"202": accepted, **_problems([*WRITES, *more])},
    }


def _json(description: str, shape: type[BaseModel] | None) -> Part:
    schema = {"type": "object"} if shape is None else {"$ref": REF.format(model=shape.__name__)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problems(statuses: Sequence[str]) -> Mapping[str, Part]:
    schema = {"$ref": REF.format(model=Problem.__name__)}
    return {
        status: {"description": PROBLEMS[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in sorted(statuses)
    }
