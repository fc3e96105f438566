"""Write docs/config.schema.json: the JSON Schema of the configuration file, for editors and for the Helm chart.

Pydantic makes it from the settings; this module chooses forms of which editors can name the error. Whatever `load`
accepts as one file is valid. Rules over several keys (two credentials, a source without its connector) are left to
`load`, which has a message for each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, NoDefault
from pydantic_core import core_schema

from agent.settings.root import Settings
from agent.settings.types import format_duration
from agent.settings.workspace import WorkspaceSettings
from connectors.secret import Secret

__all__ = ["config_schema", "config_schema_text"]

WORKSPACE = WorkspaceSettings.__name__
BOUND_KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
NOT_NULL: JsonSchemaValue = {"not": {"type": "null"}}


class _EditorSchema(GenerateJsonSchema):
    """Avoids `anyOf` and `oneOf`, below which an editor reports only that nothing matches."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        """Leave out titles, which repeat the keys, and give each bound the keyword of JSON Schema.

        A bound that follows a validator has pydantic's own name, which JSON Schema ignores.
        """
        described = super().generate_inner(schema)
        described.pop("title", None)
        for name, keyword in BOUND_KEYWORDS.items():
            if name in described:
                described[keyword] = described.pop(name)
        return described

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  (the signature is the library's)
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Refuse keys that do not match their pattern; pydantic's form lets them pass."""
        described = super().dict_schema(schema)
        for pattern, values in described.pop("patternProperties", {}).items():
            described |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
        return described

    def frozenset_schema(self, schema: core_schema.FrozenSetSchema) -> JsonSchemaValue:
        """Allow duplicates, which `load` ignores."""
        described = super().frozenset_schema(schema)
        del described["uniqueItems"]
        return described

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if isinstance(inner.get("type"), str) and not inner.keys() & {"enum", "const"}:
            return {**inner, "type": [inner["type"], "null"]}
        return {"if": NOT_NULL, "then": inner}

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        choices = {str(tag): self.generate_inner(each) for tag, each in schema["choices"].items()}
        return {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": list(choices), "description": "The identity provider."}},
            "allOf": [
                {"if": {"properties": {"type": {"const": tag}}, "required": ["type"]}, "then": each}
                for tag, each in choices.items()
            ],
        }

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        """Return the default as written in the file; none for a mapping, whose keys have their own."""
        default = super().get_default_value(schema)
        if default is None or isinstance(default, BaseModel | Mapping):
            return NoDefault
        if isinstance(default, Secret):
            return default.inline_value
        return format_duration(default) if isinstance(default, timedelta) else default


def config_schema() -> JsonSchemaValue:
    """Return the schema of the configuration file."""
    schema = Settings.model_json_schema(schema_generator=_EditorSchema)
    needed = schema["$defs"][WORKSPACE].pop("required")
    for each in schema["$defs"].values():
        if "enum" in each:
            # The docstring of an enumeration is for readers of the code.
            each.pop("description", None)
    described = schema["properties"]["defaults"]["description"]
    schema["properties"]["defaults"] = {"$ref": f"#/$defs/{WORKSPACE}", "description": described}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "pigment-sync",
        **schema,
        "description": "The configuration of pigment-sync. docs/configuration.md explains every key.",
        "allOf": [_required_unless_defaulted(key) for key in needed],
    }


def _required_unless_defaulted(key: str) -> JsonSchemaValue:
    """Return the condition that each workspace has *key* where `defaults` has not."""
    return {
        "if": {"not": {"properties": {"defaults": {"required": [key]}}, "required": ["defaults"]}},
        "then": {"properties": {"workspaces": {"additionalProperties": {"required": [key]}}}},
    }


def config_schema_text() -> str:
    """Return the schema as text."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(config_schema_text(), "utf-8")
