"""The vendors' own documents, if they are next to the project: OpenAPI for shapes, recorded answers for keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator, FormatChecker

__all__ = ["IS_THERE", "complaints", "paths", "query_parameters", "sample"]

SPECS = Path(__file__).parents[3] / "shared" / "apis" / "specs"
IS_THERE = SPECS.is_dir()


@cache
def _document(vendor: str) -> dict[str, Any]:
    text = (SPECS / f"{vendor}.openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = _nullable(yaml.load(text, yaml.CSafeLoader))
    return document


def paths(vendor: str) -> set[str]:
    """Return the paths that can be read with GET."""
    return {path for path, item in _document(vendor)["paths"].items() if "get" in item}


def query_parameters(vendor: str) -> set[str]:
    """Return the names of the query parameters of everything that can be read with GET."""
    document = _document(vendor)
    listed = [
        each
        for item in document["paths"].values()
        for each in (*item.get("parameters", ()), *item.get("get", {}).get("parameters", ()))
    ]
    whole = [
        document["components"]["parameters"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for each in listed
    ]
    return {each["name"] for each in whole if each["in"] == "query"}


def complaints(vendor: str, path: str, method: str, status: int, body: object) -> list[str]:
    """Return where *body* differs from the schema that the vendor gives for this answer.

    A status that the document leaves out is held to the schema of the vendor's errors.
    """
    document = _document(vendor)
    responses = document["paths"][path][method]["responses"]
    schema = _schema(document, responses.get(str(status), {}))
    if schema is None:
        name = "Error" if vendor == "okta" else "altErr"
        schema = {"$ref": f"#/components/schemas/{name}"}
    whole = {"allOf": [schema], "components": document["components"]}
    found = Draft7Validator(whole, format_checker=FormatChecker()).iter_errors(body)
    return [f"{'/'.join(map(str, each.path))}: {each.message[:300]}" for each in found]


def sample(vendor: str, label: str) -> Any:
    """Return the body of a recorded or documented answer."""
    file = {"okta": "okta-recorded-samples.json", "onelogin": "onelogin-doc-samples.json"}[vendor]
    samples = json.loads((SPECS / file).read_text(encoding="utf-8"))
    return next(each["body"] for each in samples if each["label"] == label)


def _schema(document: Mapping[str, Any], response: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    contents: Mapping[str, Mapping[str, Any]] = response.get("content", {})
    return next((content["schema"] for content in contents.values()), None)


def _nullable(node: Any) -> Any:
    """Return *node* with OpenAPI 3.0's `nullable` converted to its form in JSON Schema."""
    if isinstance(node, list):
        return [_nullable(each) for each in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _nullable(value) for key, value in node.items() if key != "nullable"}
    if node.get("nullable") is not True:
        return plain
    if "enum" in plain:
        plain["enum"] = [*plain["enum"], None]
    if isinstance(plain.get("type"), str):
        plain["type"] = [plain["type"], "null"]
        return plain
    return {"anyOf": [plain, {"type": "null"}]}
