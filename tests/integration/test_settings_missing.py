"""Secrets of the configuration that are missing: they are reported before the daemon starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from agent.errors import ConfigError
from agent.settings.load import load
from agent.settings.secret_checks import missing_secrets, refuse_missing_secrets
from connectors.secret import SecretInvalid


def _written(tmp_path: Path, **changes: object) -> Path:
    file = tmp_path / "config.yaml"
    connector = {"type": "onelogin", "subdomain": "acme", "client_id": "c", "client_secret": {"env": "ACME_OL"}}
    unused = {"type": "okta", "org_url": "https://acme.okta.com", "api_token": {"env": "ACME_NOBODY"}}
    workspace = {
        "scim_url": "https://pigment.example.com/scim/v2",
        "tokens": [{"file": "first"}, {"file": "next"}],
        "sources": [{"connector": "main", "app": "1"}],
    }
    document = {"connectors": {"main": connector, "unused": unused}, "workspaces": {"latam": workspace}, **changes}
    file.write_text(yaml.safe_dump(document), "utf-8")
    return file


def test_every_missing_secret_is_named_with_its_path(tmp_path: Path) -> None:
    server = {"tokens": [{"env": "ACME_OPERATOR"}]}
    settings = load(_written(tmp_path, server=server, notify={"urls": [{"env": "ACME_CHAT"}]}), {})

    assert [path for path, _, _ in missing_secrets(settings)] == [
        "connectors.main.client_secret",
        "workspaces.latam.tokens.0",
        "workspaces.latam.tokens.1",
        "notify.urls.0",
        "server.tokens.0",
    ]
    with pytest.raises(ConfigError) as raised:
        refuse_missing_secrets(settings)
    assert raised.value.message == (
        "connectors.main.client_secret: The environment variable ACME_OL is not set or empty."
    )
    assert f"workspaces.latam.tokens.0: The secret file {tmp_path}/first can't be read" in raised.value.hint
    assert raised.value.hint.count("Mount the file, and give the user that runs pigment-sync read permission.") == 1


def test_one_readable_token_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_OL", "s3cret")
    (tmp_path / "next").write_text("token", "utf-8")
    refuse_missing_secrets(load(_written(tmp_path), {}))


@pytest.mark.parametrize(
    "url", ["postgresql://u:s3cret@h/db", "postgres://u:s3cret@h/db", "mysql://u:s3cret@h/db", "state.db"]
)
@pytest.mark.parametrize("kind", ["env", "file"])
def test_state_url_has_one_rule_wherever_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, url: str
) -> None:
    monkeypatch.setenv("ACME_OL", "s3cret")
    monkeypatch.setenv("ACME_STATE", url)
    for name in ("first", "place"):
        (tmp_path / name).write_text(url, "utf-8")
    settings = load(_written(tmp_path, state={"url": {kind: "ACME_STATE" if kind == "env" else "place"}}), {})

    with pytest.raises(ConfigError) as raised:
        refuse_missing_secrets(settings)
    with pytest.raises(ConfigError) as refused:
        load(_written(tmp_path, state={"url": url}), {})
    with pytest.raises(SecretInvalid):
        _ = settings.state.url

    assert "state.url" in raised.value.message
    assert "postgresql+psycopg://" in raised.value.message
    assert "postgresql+psycopg://" in refused.value.message
    assert "s3cret" not in raised.value.message + raised.value.hint + refused.value.message


@pytest.mark.parametrize(
    ("connector", "path", "why"),
    [
        (
            {"type": "okta", "org_url": "https://acme.okta.com", "client_id": "c", "private_key": {"file": "x"}},
            "private_key",
            "a public key",
        ),
        ({"type": "okta", "org_url": "https://acme.okta.com", "api_token": {"file": "x"}}, "api_token", "blanks"),
        (
            {"type": "entra", "tenant_id": "acme.com", "client_id": "1-2", "certificate": {"file": "x"}},
            "certificate",
            "a public key",
        ),
    ],
)
def test_secret_of_the_wrong_kind_is_named_before_a_daemon_starts(
    tmp_path: Path, connector: dict[str, object], path: str, why: str
) -> None:
    (tmp_path / "x").write_text("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n", "utf-8")
    (tmp_path / "first").write_text("token", "utf-8")
    settings = load(_written(tmp_path, connectors={"main": connector}), {})

    ((place, message, hint),) = missing_secrets(settings)

    assert place == f"connectors.main.{path}"
    assert why in message
    assert str(tmp_path / "x") in message
    assert "MIIB" not in message + hint
