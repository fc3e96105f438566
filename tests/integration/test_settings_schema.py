"""The JSON Schema for editors: current, as `load` validates, and with an error that names each mistake."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from agent.settings.load import load
from agent.settings.template import PROVIDERS_BY_TYPE
from sandbox.server import run_sandbox
from scripts.gen_config_schema import config_schema, config_schema_text

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"
FILE = ROOT / "docs" / "config.schema.json"
MINIMAL: dict[str, Any] = {
    "connectors": {"o": {"type": "okta", "org_url": "https://acme.okta.com", "api_token": {"env": "OKTA"}}},
    "workspaces": {
        "w": {"scim_url": "https://x.example.com", "tokens": ["x"], "sources": [{"connector": "o", "app": 12}]}
    },
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2, as editors read it: a date is text, and `on` is a word."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":bool"))]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def tree(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)


def wrong(document: object) -> list[ValidationError]:
    return list(Draft202012Validator(config_schema()).iter_errors(document))


def with_value(path: tuple[str | int, ...], value: object) -> Any:
    """Return the minimal configuration with *value* at *path*."""
    document: Any = deepcopy(MINIMAL)
    inside = document
    for step in path[:-1]:
        inside = inside.setdefault(step, {}) if isinstance(inside, dict) else inside[step]
    inside[path[-1]] = value
    return document


def test_published_schema_is_current() -> None:
    assert FILE.read_text("utf-8") == config_schema_text(), "run scripts/config-docs"


def test_schema_is_valid() -> None:
    Draft202012Validator.check_schema(config_schema())
    assert config_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_script_writes_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    subprocess.run([sys.executable, "-m", "scripts.gen_config_schema", str(file)], cwd=ROOT, check=True)
    assert json.loads(file.read_bytes()) == config_schema()
    assert "scripts.gen_config_schema docs/config.schema.json" in (ROOT / "scripts" / "config-docs").read_text("utf-8")


def test_example_is_valid_and_leads_editors_to_the_schema() -> None:
    text = EXAMPLE.read_text("utf-8")
    key, path = text.partition("\n")[0].removeprefix("# yaml-language-server: ").split("=")
    assert key == "$schema"
    assert EXAMPLE.parent / path == FILE
    assert wrong(tree(text)) == []
    assert load(EXAMPLE, {}).workspaces


def test_configuration_of_the_sandbox_is_valid() -> None:
    with run_sandbox(size=10) as sandbox:
        assert wrong(tree(sandbox.config_yaml())) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (
            ("defaults",),
            {"allowed_domains": ["acme.com"], "limits": {"max_creates": None}, "schedule": {"every": "5m"}},
        ),
        (("workspaces", "w", "token_expires"), "2027-03-31"),
        (("workspaces", "w", "schedule"), {"cron": "0 6 * * mon-fri", "timezone": "UTC"}),
        (("workspaces", "w", "limits"), {"max_deactivations_percent": 12.5}),
        (("connectors", "l"), {"type": "onelogin", "subdomain": "a", "client_id": "c", "client_secret": {"file": "s"}}),
        (("connectors", "e"), {"type": "entra", "tenant_id": "acme.com", "managed_identity": True}),
        (("server",), {"oidc": None, "public_url": None, "tokens": [{"env": "TOKEN"}]}),
        (("state",), {"url": {"file": "/run/secrets/state"}}),
        (("http",), {"retries": 20, "timeout_seconds": 0.5}),
        (("connectors", "o", "entitled_statuses"), ["ACTIVE", "ACTIVE"]),
        (("connectors", "o", "kid"), None),
    ],
)
def test_what_loads_is_valid(path: tuple[str, ...], value: object, tmp_path: Path) -> None:
    document = with_value(path, value)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(document), "utf-8")
    assert load(file, {}).workspaces
    assert wrong(document) == []


def test_required_key_of_a_workspace_may_be_in_defaults() -> None:
    document: Any = deepcopy(MINIMAL)
    document["defaults"] = {"sources": document["workspaces"]["w"].pop("sources")}
    assert wrong(document) == []
    del document["defaults"]
    assert [each.message for each in wrong(document)] == ["'sources' is a required property"]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("workspaces", "w", "mod"), "enforce", "'mod' was unexpected"),
        (("workspaces", "w", "sources", 0, "group"), [], "'group' was unexpected"),
        (("workspaces", "w", "limits"), {"max_deactivation": 1}, "'max_deactivation' was unexpected"),
        (("workspaces", "w", "mode"), "enforced", "'enforced' is not one of ['dry-run', 'enforce']"),
        (("workspaces", "w", "grace_reads"), 0, "0 is less than the minimum of 1"),
        (("workspaces", "w", "schedule"), {"every": "15 minutes"}, "does not match"),
        (("workspaces", "w", "tokens"), [], "[] should be non-empty"),
        (("workspaces", "w", "tokens"), [{"evn": "X"}], "is not valid under any of the given schemas"),
        (("workspaces", "w w"), MINIMAL["workspaces"]["w"], "does not match"),
        (("connectors", "o", "org"), "acme", "'org' was unexpected"),
        (("connectors", "o", "tenant_id"), "acme", "'tenant_id' was unexpected"),
        (("connectors", "o", "type"), "unknown-type", f"'unknown-type' is not one of {list(PROVIDERS_BY_TYPE)}"),
        (("connectors", "o", "client_id"), "", "'' should be non-empty"),
        (("defaults", "alowed_domains"), [], "'alowed_domains' was unexpected"),
        (("http",), {"retries": 21}, "21 is greater than the maximum of 20"),
        (("http",), {"timeout_seconds": 0}, "0 is less than or equal to the minimum of 0"),
        (("http",), {"max_wait_seconds": 3601}, "3601 is greater than the maximum of 3600"),
        (("pigment",), {"requests_per_window": 0}, "0 is less than the minimum of 1"),
        (("limits",), {"fleet_deactivations_percent": 101}, "101 is greater than the maximum of 100"),
        (("workspaces", "w", "sources", 0, "app"), None, "None is not valid under any of the given schemas"),
        (("connectors", "o", "private_key"), {"evn": "X"}, "is not valid under any of the given schemas"),
        (("server",), {"oidc": {"roles": {"staff": "own"}}}, "'own' is not one of ['read', 'operate']"),
        (("serve",), {}, "'serve' was unexpected"),
        (("server",), {"port": 70000}, "70000 is greater than the maximum of 65535"),
        (("server",), {"oidc": {"isuer": "https://a.example.com"}}, "'isuer' was unexpected"),
    ],
)
def test_mistake_is_named(path: tuple[str | int, ...], value: object, words: str) -> None:
    assert wrong(MINIMAL) == []
    found = wrong(with_value(path, value))
    assert words in "\n".join(each.message for each in found)


def test_every_key_of_the_settings_is_described() -> None:
    schema = config_schema()
    undescribed = [
        key
        for mapping in mappings(schema)
        for key, value in mapping["properties"].items()
        # Pydantic omits a description that equals that of the definition.
        if "description" not in (schema["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else {}) | value
        and key != "type"
    ]
    assert undescribed == []


def test_schema_has_only_known_keywords() -> None:
    """A keyword that JSON Schema does not know is ignored: a bound under such a name bounds nothing."""
    words = {word for part in schemas(config_schema()) for word in part}
    assert words == {
        *("$defs", "$ref", "$schema", "additionalProperties", "allOf", "anyOf", "const", "default", "description"),
        *("enum", "exclusiveMinimum", "format", "if", "items", "maximum", "minItems", "minLength", "minProperties"),
        *("minimum", "not", "pattern", "properties", "propertyNames", "required", "then", "title", "type"),
    }


def schemas(part: object) -> list[dict[str, Any]]:
    """Return *part* and every schema within it."""
    if isinstance(part, list):
        return [each for inner in part for each in schemas(inner)]
    if not isinstance(part, dict):
        return []
    inside: list[object] = [value for key, value in part.items() if key not in {"properties", "$defs", "default"}]
    named = [value for key in ("properties", "$defs") for value in part.get(key, {}).values()]
    return [part, *(each for inner in (*inside, *named) for each in schemas(inner))]


def mappings(part: object) -> list[dict[str, Any]]:
    if isinstance(part, list):
        return [each for inner in part for each in mappings(inner)]
    if not isinstance(part, dict):
        return []
    below = [each for inner in part.values() for each in mappings(inner)]
    return [part, *below] if "additionalProperties" in part and "properties" in part else below


def test_dates_are_text_to_editors() -> None:
    assert not isinstance(
        tree(EXAMPLE.read_text("utf-8"))["workspaces"]["pigment-latam"]["token_expires"], datetime.date
    )
