"""Write docs/config.schema.json: what the settings say of themselves, as JSON Schema for editors.

Whatever `load` accepts as one file is valid by it. What only shows when several keys are looked at together (two
credentials, a source without its connector) is left to `load`, which has the sentences for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agent.settings.root import Settings
from agent.settings.shape import fields_of, tag_of
from agent.settings.value import App, Name, duration_text
from agent.settings.workspace import WorkspaceSettings
from connectors.secret import Secret

__all__ = ["schema", "written"]

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WORKSPACE = "#/$defs/workspace"
NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
PLAIN: dict[Any, Json] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    date: {"type": "string", "format": "date"},
    timedelta: {"type": "string", "pattern": "^\\s*[0-9]{1,8}\\s*[smhd]\\s*$"},
    Path: {"type": "string"},
    NoneType: {"type": "null"},
    Secret: {"$ref": "#/$defs/secret"},
    WorkspaceSettings: {"$ref": WORKSPACE},
    Any: {},
}
# What the annotated types check with functions, which say nothing of themselves.
MARKED: dict[Any, Json] = {
    get_args(App)[1]: {"type": ["string", "integer"]},
    get_args(Name)[1]: {"pattern": NAME},
}
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "pattern": "pattern"}
LENGTHS = {"string": "minLength", "array": "minItems", "object": "minProperties"}
HOLDERS = {
    "env": ("The name of the environment variable that holds it.", "^[A-Za-z_][A-Za-z0-9_]*$"),
    "file": ("The path of the file that holds it, relative to the configuration.", "\\S"),
}


def schema() -> Json:
    """Return the schema of the configuration file."""
    whole = _mapping(Settings)
    whole["properties"]["defaults"] = {
        "$ref": WORKSPACE,
        "description": Settings.model_fields["defaults"].description,
    }
    return {
        "$schema": DIALECT,
        "title": "pigment-sync",
        **whole,
        "description": "The configuration of pigment-sync. docs/configuration.md explains every key.",
        "allOf": list(_said_somewhere()),
        "$defs": {"secret": _secret(), "workspace": {**_mapping(WorkspaceSettings), "required": []}},
    }


def _said_somewhere() -> Iterator[Json]:
    """Yield, for each key that a workspace needs, that it says it itself where `defaults` does not."""
    for key in _mapping(WorkspaceSettings)["required"]:
        yield {
            "if": {"not": {"properties": {"defaults": {"required": [key]}}, "required": ["defaults"]}},
            "then": {"properties": {"workspaces": {"additionalProperties": {"required": [key]}}}},
        }


def _secret() -> Json:
    held = [
        {
            "type": "object",
            "properties": {key: {"type": "string", "description": words, "pattern": pattern}},
            "required": [key],
            "additionalProperties": False,
        }
        for key, (words, pattern) in HOLDERS.items()
    ]
    return {
        "description": "A secret: {env: NAME}, {file: PATH}, or at worst the text itself.",
        "anyOf": [*held, {"type": "string", "minLength": 1}],
    }


def _mapping(model: type[BaseModel]) -> Json:
    fields = fields_of(model)
    needed = [key for key, field in fields.items() if field.is_required()]
    return {
        "type": "object",
        "description": (model.__doc__ or "").partition("\n")[0],
        "properties": {key: _field(field) for key, field in fields.items()},
        **({"required": needed} if needed else {}),
        "additionalProperties": False,
    }


def _field(field: FieldInfo) -> Json:
    told = {"description": field.description} if field.description else {}
    return {**_kind(field.annotation, field.metadata), **told, **_default(field)}


def _kind(annotation: Any, metadata: Iterable[Any] = ()) -> Json:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], [*arguments[1:], *metadata])
    if origin in {Union, UnionType}:
        return _one_of(arguments, metadata)
    found = _bare(annotation, origin, arguments)
    return {**found, **_constraints(metadata, found.get("type"))}


def _bare(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Json:
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin in {tuple, frozenset}:
        return {"type": "array", "items": _kind(arguments[0])}
    if origin is dict:
        names = _constraints(get_args(arguments[0])[1:], "string")
        limited = {"propertyNames": names} if names else {}
        return {"type": "object", **limited, "additionalProperties": _kind(arguments[1])}
    if annotation in PLAIN:
        return dict(PLAIN[annotation])
    if issubclass(annotation, Enum):
        return {"enum": [each.value for each in annotation]}
    return _mapping(annotation)


def _one_of(types: tuple[Any, ...], metadata: Iterable[Any]) -> Json:
    """Join *types*; those that `type` tells apart by `if`, so that what is wrong in one is told of that one alone."""
    if NoneType in types:
        return _or_null(_kind(next(each for each in types if each is not NoneType), metadata))
    by_tag = {tag_of(each): _mapping(each) for each in types}
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(by_tag), "description": "Which identity provider it is."}},
        "allOf": [
            {"if": {"properties": {"type": {"const": tag}}, "required": ["type"]}, "then": each}
            for tag, each in by_tag.items()
        ],
    }


def _or_null(found: Json) -> Json:
    """Say it without `anyOf` where that can be, because editors then tell what is wrong within."""
    if isinstance(found.get("type"), str):
        return {**found, "type": [found["type"], "null"]}
    return {"anyOf": [found, {"type": "null"}]}


def _constraints(metadata: Iterable[Any], kind: Any) -> Json:
    found: Json = {}
    for each in metadata:
        if isinstance(each, FieldInfo):
            found |= _constraints(each.metadata, kind)
        if isinstance(each, AfterValidator | BeforeValidator):
            found |= MARKED.get(each, {})
        found |= {word: getattr(each, name) for name, word in BOUNDS.items() if getattr(each, name, None) is not None}
        if (least := getattr(each, "min_length", None)) is not None:
            found[LENGTHS[kind]] = least
    return found


def _default(field: FieldInfo) -> Json:
    default = field.get_default(call_default_factory=True)
    if field.is_required() or default is PydanticUndefined or isinstance(default, BaseModel | dict | None):
        return {}
    if isinstance(default, Secret):
        return {"default": default.reveal()}
    if isinstance(default, timedelta):
        return {"default": duration_text(default)}
    if isinstance(default, frozenset):
        return {"default": sorted(default)}
    return {"default": list(default) if isinstance(default, tuple) else default}


def written() -> str:
    """Return the schema as it stands in the file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(written(), "utf-8")
