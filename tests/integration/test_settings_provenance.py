"""A configuration knows its digest: that of the file, and of what variables set, without their secrets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.settings.load import load
from agent.settings.target import policies
from agent.version import installed_version
from tests.integration.test_settings_environment import PREFIX, TEXT

TOKENS = f"{PREFIX}WORKSPACES__PIGMENT_LATAM__TOKENS"
CREATES = f"{PREFIX}WORKSPACES__PIGMENT_LATAM__LIMITS__MAX_CREATES"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT, "utf-8")
    return path


def digest(file: Path, environ: Mapping[str, str] | None = None) -> str:
    return load(file, environ or {}).provenance.config_sha256


def test_digest_without_variables_is_that_of_the_file(file: Path) -> None:
    assert digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    before = digest(file)
    file.write_text(TEXT.replace("max_creates: 5", "max_creates: 6"), "utf-8")
    assert digest(file) != before


def test_digest_with_variables_adds_a_line_for_each_in_the_order_of_paths(file: Path) -> None:
    environ = {CREATES: "7", f"{PREFIX}LOG__LEVEL": "debug", "OTHER": "x"}
    lines = b'\nlog.level="debug"\nworkspaces.pigment-latam.limits.max_creates="7"'
    assert digest(file, environ) == hashlib.sha256(file.read_bytes() + lines).hexdigest()
    assert digest(file, {**environ, CREATES: "8"}) != digest(file, environ)


@pytest.mark.parametrize(
    "environ",
    [
        lambda token: {f"{TOKENS}__0": token},
        lambda token: {TOKENS: json.dumps([token, "another"])},
        lambda token: {f"{PREFIX}CONNECTORS__OKTA_MAIN__API_TOKEN": f" {token}\n"},
        lambda token: {f"{PREFIX}DEFAULTS": json.dumps({"tokens": [token]}), f"{TOKENS}__0": token},
        lambda token: {f"{PREFIX}NOTIFY__URLS": json.dumps([f"mailto://ops:{token}@example.com"])},
        lambda token: {f"{PREFIX}STATE__URL": f"postgresql+psycopg://ops:{token}@db.example.com/state"},
    ],
)
def test_digest_does_not_depend_on_a_secret_of_a_variable(file: Path, environ: object) -> None:
    assert callable(environ)
    one, other = environ("token-of-may"), environ("token-of-june")
    assert digest(file, one) == digest(file, other)
    assert digest(file, one) != digest(file)


def test_digest_names_where_a_secret_of_a_variable_is_kept(file: Path) -> None:
    assert digest(file, {f"{TOKENS}__0": "{env: MAY}"}) != digest(file, {f"{TOKENS}__0": "{env: JUNE}"})


def test_policies_have_the_release_and_the_digest_of_their_configuration(file: Path) -> None:
    settings = load(file, {"PIGMENT_SYNC_REVISION": "1" * 40})
    for policy in policies(settings).values():
        assert policy.provenance == settings.provenance
    assert settings.provenance.version == installed_version()
    assert settings.provenance.config_sha256 == digest(file)
