"""Secrets that the configuration names and that are not there: who is told, and who goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from agent.errors import ConfigError
from agent.settings.load import load
from agent.settings.missing import missing_secrets, refuse_missing_secrets


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
    assert raised.value.hint.count("Mount the file, and let the user that pigment-sync runs as read it.") == 1


def test_one_token_that_is_there_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_OL", "s3cret")
    (tmp_path / "next").write_text("token", "utf-8")
    refuse_missing_secrets(load(_written(tmp_path), {}))
