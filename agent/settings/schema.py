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

from agent.settings.introspect import discriminator_value, fields_by_key
from agent.settings.root import Settings
from agent.settings.types import AppId, Name, format_duration
from agent.settings.workspace import WorkspaceSettings
from connectors.secret import Secret

__all__ = ["config_schema", "config_schema_text"]

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WORKSPACE_REF = "#/$defs/workspace"
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
SCHEMAS_BY_TYPE: dict[Any, Json] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    date: {"type": "string", "format": "date"},
    timedelta: {"type": "string", "pattern": "^\\s*[0-9]{1,8}\\s*[smhd]\\s*$"},
    Path: {"type": "string"},
    NoneType: {"type": "null"},
    Secret: {"$ref": "#/$defs/secret"},
    WorkspaceSettings: {"$ref": WORKSPACE_REF},
    Any: {},
}
# What the annotated types check with functions, which say nothing of themselves.
SCHEMAS_BY_VALIDATOR: dict[Any, Json] = {
    get_args(AppId)[1]: {"type": ["string", "integer"]},
    get_args(Name)[1]: {"pattern": NAME_PATTERN},
}
BOUND_KEYWORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "pattern": "pattern",
}
LENGTH_KEYWORDS = {"string": "minLength", "array": "minItems", "object": "minProperties"}
SECRET_SOURCES = {
    "env": ("The name of the environment variable that holds it.", "^[A-Za-z_][A-Za-z0-9_]*$"),
    "file": ("The path of the file that holds it, relative to the configuration.", "\\S"),
}


def config_schema() -> Json:
    """Return the schema of the configuration file."""
    whole = _model_schema(Settings)
    whole["properties"]["defaults"] = {
        "$ref": WORKSPACE_REF,
        "description": Settings.model_fields["defaults"].description,
    }
    return {
        "$schema": DIALECT,
        "title": "pigment-sync",
        **whole,
        "description": "The configuration of pigment-sync. docs/configuration.md explains every key.",
        "allOf": list(_required_unless_defaulted()),
        "$defs": {"secret": _secret_schema(), "workspace": {**_model_schema(WorkspaceSettings), "required": []}},
    }


def _required_unless_defaulted() -> Iterator[Json]:
    """Yield, for each key that a workspace needs, that it says it itself where `defaults` does not."""
    for key in _model_schema(WorkspaceSettings)["required"]:
        yield {
            "if": {"not": {"properties": {"defaults": {"required": [key]}}, "required": ["defaults"]}},
            "then": {"properties": {"workspaces": {"additionalProperties": {"required": [key]}}}},
        }


def _secret_schema() -> Json:
    held = [
        {
            "type": "object",
            "properties": {key: {"type": "string", "description": words, "pattern": pattern}},
            "required": [key],
            "additionalProperties": False,
        }
        for key, (words, pattern) in SECRET_SOURCES.items()
    ]
    return {
        "description": "A secret: {env: NAME}, {file: PATH}, or at worst the text itself.",
        "anyOf": [*held, {"type": "string", "minLength": 1}],
    }


def _model_schema(model: type[BaseModel]) -> Json:
    fields = fields_by_key(model)
    needed = [key for key, field in fields.items() if field.is_required()]
    return {
        "type": "object",
        "description": (model.__doc__ or "").partition("\n")[0],
        "properties": {key: _field_schema(field) for key, field in fields.items()},
        **({"required": needed} if needed else {}),
        "additionalProperties": False,
    }


def _field_schema(field: FieldInfo) -> Json:
    told = {"description": field.description} if field.description else {}
    return {**_type_schema(field.annotation, field.metadata), **told, **_default_keyword(field)}


def _type_schema(annotation: Any, metadata: Iterable[Any] = ()) -> Json:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_schema(arguments[0], [*arguments[1:], *metadata])
    if origin in {Union, UnionType}:
        return _union_schema(arguments, metadata)
    found = _unconstrained_schema(annotation, origin, arguments)
    return {**found, **_constraints(metadata, found.get("type"))}


def _unconstrained_schema(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Json:
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin in {tuple, frozenset}:
        return {"type": "array", "items": _type_schema(arguments[0])}
    if origin is dict:
        names = _constraints(get_args(arguments[0])[1:], "string")
        limited = {"propertyNames": names} if names else {}
        return {"type": "object", **limited, "additionalProperties": _type_schema(arguments[1])}
    if annotation in SCHEMAS_BY_TYPE:
        return dict(SCHEMAS_BY_TYPE[annotation])
    if issubclass(annotation, Enum):
        return {"enum": [each.value for each in annotation]}
    return _model_schema(annotation)


def _union_schema(types: tuple[Any, ...], metadata: Iterable[Any]) -> Json:
    """Join *types*; those that `type` tells apart by `if`, so that what is wrong in one is told of that one alone."""
    if NoneType in types:
        return _nullable_schema(_type_schema(next(each for each in types if each is not NoneType), metadata))
    by_tag = {discriminator_value(each): _model_schema(each) for each in types}
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(by_tag), "description": "Which identity provider it is."}},
        "allOf": [
            {"if": {"properties": {"type": {"const": tag}}, "required": ["type"]}, "then": each}
            for tag, each in by_tag.items()
        ],
    }


def _nullable_schema(found: Json) -> Json:
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
            found |= SCHEMAS_BY_VALIDATOR.get(each, {})
        found |= {
            word: getattr(each, name) for name, word in BOUND_KEYWORDS.items() if getattr(each, name, None) is not None
        }
        if (least := getattr(each, "min_length", None)) is not None:
            found[LENGTH_KEYWORDS[kind]] = least
    return found


def _default_keyword(field: FieldInfo) -> Json:
    default = field.get_default(call_default_factory=True)
    if field.is_required() or default is PydanticUndefined or isinstance(default, BaseModel | dict | None):
        return {}
    if isinstance(default, Secret):
        return {"default": default.reveal()}
    if isinstance(default, timedelta):
        return {"default": format_duration(default)}
    if isinstance(default, frozenset):
        return {"default": sorted(default)}
    return {"default": list(default) if isinstance(default, tuple) else default}


def config_schema_text() -> str:
    """Return the schema as it stands in the file."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(config_schema_text(), "utf-8")
