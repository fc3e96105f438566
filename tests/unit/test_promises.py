"""Names that users and their tools depend on must never vanish: `tests/golden/promises.json` lists them.

A new name needs no entry to pass, but should get one once it is released. An entry is removed only together with a
line in the changelog that announces it.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, NotRequired, Required, get_args, get_origin

import click
import pytest
from prometheus_client import CollectorRegistry

from agent.cli.app import app
from agent.errors import ExitCode
from agent.metrics import Metrics
from agent.model.ladder import StepName, StepState
from agent.report.schema import Document
from agent.store.tables import metadata
from agent.web.api import openapi_document
from connectors.base import Area, CheckName

REPOSITORY = Path(__file__).parents[2]
PROMISES = json.loads((REPOSITORY / "tests" / "golden" / "promises.json").read_text("utf-8"))
PRODUCT_CODE = "\n".join(
    path.read_text("utf-8")
    for package in ("agent", "connectors")
    for path in sorted((REPOSITORY / package).rglob("*.py"))
    if "migrations" not in path.parts
)
TEMPLATES = "\n".join(
    path.read_text("utf-8") for path in sorted((REPOSITORY / "agent" / "web" / "templates").glob("*.html"))
)


def schema_keys(schema: Any, whole: dict[str, Any], prefix: str = "", seen: frozenset[str] = frozenset()) -> set[str]:
    """Return the property names of a JSON Schema as `a.b[].c`; `*` stands for a name that the user chooses."""
    if not isinstance(schema, dict):
        return set()
    reference = schema.get("$ref", "")
    if reference:
        if reference in seen:
            return set()
        target: Any = whole
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        return schema_keys(target, whole, prefix, seen | {reference})
    properties = schema.get("properties", {})
    nested = [(each, f"{prefix}{name}.") for name, each in properties.items()]
    nested += [(each, prefix) for joined in ("allOf", "anyOf", "oneOf") for each in schema.get(joined, ())]
    nested += [(schema.get(branch), prefix) for branch in ("then", "else")]
    nested += [(schema.get("additionalProperties"), f"{prefix}*."), (schema.get("items"), f"{prefix.rstrip('.')}[].")]
    return {f"{prefix}{name}" for name in properties}.union(
        *(schema_keys(each, whole, start, seen) for each, start in nested)
    )


def typed_dict_keys(shape: Any, prefix: str = "") -> set[str]:
    """Return the keys of a TypedDict and of all that it holds, as `a[].b`."""
    origin = get_origin(shape)
    if origin in (NotRequired, Required):
        return typed_dict_keys(get_args(shape)[0], prefix)
    if origin is list:
        return typed_dict_keys(get_args(shape)[0], f"{prefix.rstrip('.')}[].")
    if origin in (typing.Union, UnionType):
        return set().union(*(typed_dict_keys(each, prefix) for each in get_args(shape)))
    if not hasattr(shape, "__required_keys__"):
        return set()
    hints = typing.get_type_hints(shape, include_extras=True)
    return set().union(
        *({f"{prefix}{name}"} | typed_dict_keys(each, f"{prefix}{name}.") for name, each in hints.items())
    )


def api_keys() -> Iterator[str]:
    """Yield each method, path and parameter of the API, and each key of its bodies, as `POST /runs <- a.b`."""
    document = openapi_document()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            yield name
            yield from (f"{name} ? {each['name']}" for each in operation.get("parameters", ()) if "name" in each)
            bodies = [(f"{name} <-", operation.get("requestBody", {}))]
            for status, response in operation["responses"].items():
                bodies.append((f"{name} ->" if status.startswith("2") else "problem ->", response))
            for start, body in bodies:
                for content in body.get("content", {}).values():
                    yield from (f"{start} {key}" for key in schema_keys(content.get("schema"), document))


def command_names(command: click.Command, prefix: str = "") -> Iterator[str]:
    """Yield each command, option and argument of the command line."""
    for parameter in command.params:
        names = [*parameter.opts, *parameter.secondary_opts]
        yield from (f"{prefix}{name if isinstance(parameter, click.Option) else name.upper()}" for name in names)
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield f"{prefix}{name}"
            loaded = each.make_context(name, [], resilient_parsing=True).command
            yield from command_names(loaded, f"{prefix}{name} ")


def metric_names() -> Iterator[str]:
    registry = CollectorRegistry()
    Metrics(registry)
    for family in registry.collect():
        yield f"{family.type} {family.name}"


def literals(names: Iterable[str], text: str) -> set[str]:
    """Return those of *names* that *text* has in double quotes."""
    return set(re.findall(r'"([^"\n]+)"', text)).intersection(names)


def present_names() -> dict[str, set[str]]:
    schema = json.loads((REPOSITORY / "docs" / "config.schema.json").read_text("utf-8"))
    return {
        "codes": literals(PROMISES["codes"], PRODUCT_CODE),
        "config keys": schema_keys(schema, schema),
        "exit codes": {f"{code.value} {code.name}" for code in ExitCode},
        "command line": set(command_names(app)),
        "plan document": typed_dict_keys(Document),
        "api": set(api_keys()),
        "metrics": set(metric_names()),
        "checks": {each.value for each in CheckName} | {f"area {each.value}" for each in Area},
        "ladder": {each.value for each in StepName} | {f"state {each.value}" for each in StepState},
        "log events": literals(PROMISES["log events"], PRODUCT_CODE),
        "tables": {f"{table.name}.{column.name}" for table in metadata.tables.values() for column in table.columns},
        "page paths": literals(PROMISES["page paths"], PRODUCT_CODE),
        "form fields": {
            name.removeprefix("name=") for name in re.findall(r'name="?[\w-]+', TEMPLATES.replace('"', ""))
        },
    }


@pytest.mark.parametrize("kind", sorted(PROMISES))
def test_names_that_users_depend_on_are_still_there(kind: str) -> None:
    assert sorted(set(PROMISES[kind]) - present_names()[kind]) == []


def test_promises_cover_every_kind_of_name() -> None:
    assert set(PROMISES) == set(present_names())
    assert all(PROMISES.values())
