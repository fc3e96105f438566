"""The API's description (OpenAPI 3.1), made of the shapes that it takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent.web.schemas import (
    ApprovalBody,
    PersonSchema,
    Problem,
    ReasonBody,
    RunAccepted,
    RunList,
    RunRequestBody,
    RunSchema,
    WorkspaceList,
    WorkspaceSchema,
)

__all__ = ["openapi_document"]

REQUEST_MODELS: Sequence[type[BaseModel]] = (RunRequestBody, ApprovalBody, ReasonBody)
RESPONSE_MODELS: Sequence[type[BaseModel]] = (
    Problem,
    RunAccepted,
    RunList,
    RunSchema,
    PersonSchema,
    WorkspaceList,
    WorkspaceSchema,
)
REF_TEMPLATE = "#/components/schemas/{model}"
PROBLEM_DESCRIPTIONS = {
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
READ_PROBLEMS, WRITE_PROBLEMS = (
    ("400", "401", "403", "429", "503"),
    ("400", "401", "403", "413", "415", "422", "429", "503"),
)
NAME_PARAMETER = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
RUN_ID_PARAMETER = {"name": "run_id", "in": "path", "required": True, "schema": {"type": "string"}}
JsonObject = dict[str, Any]


@cache
def openapi_document() -> bytes:
    """Return the document as JSON."""
    modes: list[tuple[type[BaseModel], Any]] = [(each, "validation") for each in REQUEST_MODELS]
    modes += [(each, "serialization") for each in RESPONSE_MODELS]
    _, schemas = models_json_schema(modes, ref_template=REF_TEMPLATE)
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


def _paths() -> JsonObject:
    return {
        "/api/v1/openapi.json": {
            "get": {
                "summary": "This document.",
                "security": [],
                "responses": {"200": _json_content("The document.", None)},
            }
        },
        "/api/v1/workspaces": {"get": _read_operation("How all workspaces stand.", WorkspaceList)},
        "/api/v1/workspaces/{name}": {
            "get": _read_operation("How one workspace stands.", WorkspaceSchema, (NAME_PARAMETER,), ("404",))
        },
        "/api/v1/workspaces/{name}/runs": {
            "post": _run_operation("Ask for a one-off run.", RunRequestBody, (NAME_PARAMETER,), ("404",))
        },
        "/api/v1/workspaces/{name}/pause": {
            "post": _write_operation(
                "Stop writing to a workspace; planning goes on.", ReasonBody, WorkspaceSchema, (NAME_PARAMETER,)
            )
        },
        "/api/v1/workspaces/{name}/resume": {
            "post": _write_operation(
                "Write to a paused workspace again.", ReasonBody, WorkspaceSchema, (NAME_PARAMETER,)
            )
        },
        "/api/v1/runs": {
            "get": _read_operation(
                "Past runs, newest first, without their plans.",
                RunList,
                (
                    _query_parameter("workspace", {"type": "string"}),
                    _query_parameter("since", {"type": "string", "format": "date-time"}),
                    _query_parameter("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
                ),
                ("404",),
            )
        },
        "/api/v1/runs/{run_id}": {
            "get": _read_operation(
                "One run with its plan, and what became of each change.", RunSchema, (RUN_ID_PARAMETER,), ("404",)
            )
        },
        "/api/v1/runs/{run_id}/approval": {
            "post": _run_operation(
                "Release what a guard held of this run's plan.", ApprovalBody, (RUN_ID_PARAMETER,), ("404", "409")
            )
        },
        "/api/v1/people": {
            "get": _read_operation(
                "Why a person is in or out of each workspace, from fresh reads (seconds).",
                PersonSchema,
                (_query_parameter("email", {"type": "string", "format": "email"}, required=True),),
                ("502",),
            )
        },
    }


def _query_parameter(name: str, schema: JsonObject, *, required: bool = False) -> JsonObject:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _read_operation(
    summary: str, shape: type[BaseModel], parameters: Sequence[JsonObject] = (), more: Sequence[str] = ()
) -> JsonObject:
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": _json_content("Done.", shape), **_problem_responses([*READ_PROBLEMS, *more])},
    }


def _write_operation(
    summary: str, taken: type[BaseModel], given: type[BaseModel], parameters: Sequence[JsonObject]
) -> JsonObject:
    return {
        "summary": summary,
        "parameters": list(parameters),
        "requestBody": _json_content(taken.__doc__ or "", taken) | {"required": True},
        "responses": {"200": _json_content("Done.", given), **_problem_responses([*WRITE_PROBLEMS, "404"])},
    }


def _run_operation(
    summary: str, taken: type[BaseModel], parameters: Sequence[JsonObject], more: Sequence[str]
) -> JsonObject:
    location = {"Location": {"schema": {"type": "string"}, "description": "The run."}}
    accepted = _json_content("The run was taken on; its URL says how it goes.", RunAccepted) | {"headers": location}
    return {
        "summary": summary,
        "parameters": list(parameters),
        "requestBody": _json_content(taken.__doc__ or "", taken) | {"required": True},
        "responses": {"202": accepted, **_problem_responses([*WRITE_PROBLEMS, *more])},
    }


def _json_content(description: str, shape: type[BaseModel] | None) -> JsonObject:
    schema = {"type": "object"} if shape is None else {"$ref": REF_TEMPLATE.format(model=shape.__name__)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem_responses(statuses: Sequence[str]) -> Mapping[str, JsonObject]:
    schema = {"$ref": REF_TEMPLATE.format(model=Problem.__name__)}
    return {
        status: {
            "description": PROBLEM_DESCRIPTIONS[status],
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in sorted(statuses)
    }
