"""Environment variables set values, however the file writes its keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ConfigError
from agent.settings.load import load
from connectors.okta.settings import OktaSettings
from connectors.secret import Secret

TEXT = """\
connectors:
  okta-main: {type: okta, org_url: "https://acme.okta.com", api_token: {env: OKTA_TOKEN}}
workspaces:
  pigment-latam:
    scim_url: https://latam.example.com/scim/v2
    tokens: [{env: LATAM_TOKEN}]
    sources: [{connector: okta-main, app: 0oa1}]
    limits: {max_creates: 5}
  Pigment.EU:
    scim_url: https://eu.example.com/scim/v2
    tokens: [{env: EU_TOKEN}]
    sources: [{connector: okta-main, app: 0oa2}]
"""
PREFIX = "PIGMENT_SYNC__"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT, "utf-8")
    return path


REFERENCES = {
    '{"env": "ACME"}': Secret("env", "ACME"),
    "{env: ACME}": Secret("env", "ACME"),
    '{"file": "/run/acme"}': Secret("file", "/run/acme"),
}


@pytest.mark.parametrize("text", REFERENCES)
def test_reference_in_a_variable_works_for_every_secret(file: Path, text: str) -> None:
    oidc = {"issuer": "https://acme.okta.com", "client_id": "c", "roles": {"ops": "operate"}}
    settings = load(
        file,
        {
            f"{PREFIX}STATE__URL": text,
            f"{PREFIX}CONNECTORS__OKTA_MAIN__API_TOKEN": text,
            f"{PREFIX}WORKSPACES__PIGMENT_LATAM__TOKENS__0": text,
            f"{PREFIX}SERVER__OIDC": json.dumps({**oidc, "client_secret": "written"}),
            f"{PREFIX}SERVER__OIDC__CLIENT_SECRET": text,
            f"{PREFIX}NOTIFY__URLS": json.dumps([text]),
        },
    )
    connector = settings.connectors["okta-main"]
    assert isinstance(connector, OktaSettings)
    assert settings.server.oidc is not None

    assert settings.state.place == REFERENCES[text]
    assert connector.api_token == REFERENCES[text]
    assert settings.workspaces["pigment-latam"].tokens == (REFERENCES[text],)
    assert settings.server.oidc.client_secret == REFERENCES[text]
    assert settings.notify.urls == (REFERENCES[text],)


def test_relative_file_in_a_variable_is_relative_to_the_configuration(file: Path) -> None:
    settings = load(file, {f"{PREFIX}STATE__URL": '{"file": "secrets/url"}'})
    assert settings.state.place == Secret("file", str(file.parent / "secrets/url"))


def problem(file: Path, variable: str, value: str) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        load(file, {PREFIX + variable: value})
    return raised.value


@pytest.mark.parametrize(
    ("variable", "value", "attribute", "result"),
    [
        ("WORKSPACES__PIGMENT_LATAM__MODE", "enforce", "mode", "enforce"),
        ("WORKSPACES__pigment-latam__MODE", "enforce", "mode", "enforce"),
        ("workspaces__Pigment_LatAm__mode", "enforce", "mode", "enforce"),
        ("DEFAULTS__MODE", "enforce", "mode", "enforce"),
        ("DEFAULTS__PROTECT", '["a@acme.com"]', "protect", ("a@acme.com",)),
        ("DEFAULTS", '{"mode": "enforce"}', "mode", "enforce"),
        ("WORKSPACES__PIGMENT_LATAM__GRACE_READS", "2", "grace_reads", 2),
        ("WORKSPACES__PIGMENT_LATAM__LIMITS__MAX_CREATES", "9", "limits.max_creates", 9),
        ("WORKSPACES__PIGMENT_LATAM__LIMITS__MAX_CREATES", "null", "limits.max_creates", None),
        ("WORKSPACES__PIGMENT_LATAM__LIMITS", '{"max_deactivations": 1}', "limits.max_creates", 5),
        ("WORKSPACES__PIGMENT_LATAM__TOGGLES__CREATE", "false", "toggles.create", False),
        ("WORKSPACES__PIGMENT_LATAM__SCHEDULE__EVERY", "15m", "schedule.every.seconds", 900),
        ("WORKSPACES__PIGMENT_LATAM__TOKEN_EXPIRES", "2027-03-31", "token_expires.year", 2027),
        ("WORKSPACES__PIGMENT_LATAM__ALLOWED_DOMAINS", '["acme.com"]', "allowed_domains", frozenset({"acme.com"})),
        ("WORKSPACES__PIGMENT_LATAM__REQUIRE_APPROVAL", '["create"]', "require_approval", frozenset({"create"})),
    ],
)
def test_variable_sets_a_value_of_a_workspace(
    file: Path, variable: str, value: str, attribute: str, result: object
) -> None:
    found: Any = load(file, {PREFIX + variable: value}).workspaces["pigment-latam"]
    for name in attribute.split("."):
        found = getattr(found, name)
    assert found == result


def test_variables_reach_connectors_and_entries_of_lists(file: Path, tmp_path: Path) -> None:
    settings = load(
        file,
        {
            f"{PREFIX}CONNECTORS__OKTA_MAIN__API_TOKEN__FILE": "okta",
            f"{PREFIX}CONNECTORS__OKTA_MAIN__RATE_LIMIT_SHARE": "0.25",
            f"{PREFIX}WORKSPACES__PIGMENT_EU__SOURCES__0__APP": "0oa7",
            f"{PREFIX}WORKSPACES__PIGMENT_EU__TOKENS__0": "123456",
        },
    )
    assert f"api_token=Secret(file: {tmp_path}/okta)" in repr(settings.connectors["okta-main"])
    assert "rate_limit_share=0.25" in repr(settings.connectors["okta-main"])
    europe = settings.workspaces["Pigment.EU"]
    assert (europe.sources[0].app, europe.tokens[0].reveal()) == ("0oa7", "123456")


def test_variables_set_the_other_sections(file: Path, tmp_path: Path) -> None:
    settings = load(
        file,
        {
            f"{PREFIX}STATE__URL": "sqlite:///else/state.db",
            f"{PREFIX}LOG__EMAILS": "true",
            f"{PREFIX}HTTP__RETRIES": "9",
            f"{PREFIX}CA_BUNDLE": "ca.pem",
            f"{PREFIX}NOTIFY__ON": '["held"]',
            f"{PREFIX}SERVER__PORT": "",
        },
    )
    assert settings.state.url == f"sqlite:///{tmp_path}/else/state.db"
    assert (settings.log.emails, settings.http.retries, settings.notify.on) == (True, 9, ("held",))
    assert settings.ca_bundle == tmp_path / "ca.pem"
    assert settings.server.port == 8080


def test_other_variables_are_left_alone(file: Path) -> None:
    others = {"PIGMENT_SYNC_CONFIG": "x", "PIGMENT_SYNC_TRACEBACK": "1", "STATE__URL": "x", "LOG": "x"}
    assert load(file, others) == load(file, {})


@pytest.mark.parametrize(
    ("variable", "value", "path", "why"),
    [
        ("STATE__URL", "mysql://u:s3cret@h/db", "state.url", "must be sqlite"),
        ("STATE__ULR", "s3cret", "state.ulr", "did you mean url?"),
        ("HTTP__RETRIES", "s3cret", "http.retries", "whole number"),
        ("WORKSPACES__PIGMENT_LATAM__MOD", "s3cret", "workspaces.pigment-latam.mod", "did you mean mode?"),
        ("WORKSPACES__PIGMENT_LATAM", "s3cret", "workspaces.pigment-latam", "keys with values"),
        ("DEFAULTS__MOD", "s3cret", "defaults.mod", "did you mean mode?"),
        ("DEFAULTS__PROTECT", "[s3cret", "defaults.protect", "must be a list"),
    ],
)
def test_bad_value_of_a_variable_names_the_path_and_the_variable(
    file: Path, variable: str, value: str, path: str, why: str
) -> None:
    message = problem(file, variable, value).message
    assert f"  {path}: " in message
    assert why in message
    assert f"(set by {PREFIX}{variable})" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("variable", "value", "why", "remedy"),
    [
        ("FOO", "s3cret", "sets no known key", "STATE, CONNECTORS"),
        ("", "s3cret", "sets no known key", "STATE, CONNECTORS"),
        ("STATE", "s3cret", "can't be read", "JSON"),
        ("WORKSPACES__PIGMENT_LATAM__ALLOWED_DOMAINS", "s3cret", "can't be read", "JSON"),
        ("WORKSPACES__PIGMENT_LATAM__TOKENS__1", "s3cret", "a list of 1", "counted from 0"),
        ("WORKSPACES__PIGMENT_LATAM__TOKENS__ENV", "s3cret", "a list of 1", "counted from 0"),
    ],
)
def test_variable_that_sets_nothing_is_named_with_the_remedy(
    file: Path, variable: str, value: str, why: str, remedy: str
) -> None:
    error = problem(file, variable, value)
    assert f"{PREFIX}{variable} " in error.message
    assert why in error.message
    assert remedy in error.hint
    assert "s3cret" not in error.message + error.hint


def test_variable_that_could_mean_two_keys_is_an_error(file: Path) -> None:
    file.write_text(TEXT.replace("Pigment.EU", "pigment_latam"), "utf-8")
    error = problem(file, "WORKSPACES__PIGMENT_LATAM__MODE", "enforce")
    assert "pigment-latam, pigment_latam" in error.message
