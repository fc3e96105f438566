"""Variables that libraries read by themselves: each is valid, or named with the fix, before any request."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trustme

from agent.errors import ConfigError
from agent.http_client import create_client
from agent.settings.load import load
from agent.settings.root import Settings
from agent.settings.variables import refuse_invalid_variables, variable_findings

TEXT = """\
connectors:
  okta-main: {type: okta, org_url: "https://acme.okta.com", api_token: {env: OKTA_TOKEN}}
workspaces:
  latam:
    scim_url: https://latam.example.com/scim/v2
    tokens: [{env: LATAM_TOKEN}]
    sources: [{connector: okta-main, app: 0oa1}]
"""
POSTGRESQL = "state: {url: 'postgresql+psycopg://pigment@db/state'}\n"
NOTICES = "notify: {urls: ['json://chat.acme.com']}\n"


def settings(folder: Path, more: str = "", **environ: str) -> Settings:
    file = folder / "config.yaml"
    file.write_text(TEXT + more, "utf-8")
    return load(file, environ)


@pytest.mark.parametrize(
    ("more", "variable", "value", "why"),
    [
        ("", "HTTPS_PROXY", "socks5://ana:s3cret@p:1", "SOCKS"),
        ("", "all_proxy", "'http://ana:s3cret@p:1'", "quotation marks"),
        ("", "SSL_CERT_FILE", "/not/there.pem", "No such file"),
        ("", "SSL_CERT_DIR", "/not/there", "not a folder"),
        ("", "SSL_CERT_DIR", "/not/there:/nor/there", "not a folder"),
        ("", "SSLKEYLOGFILE", "/not/there/keys", "can't be written"),
        ("", "STATE_DIRECTORY", "state", "not an absolute path"),
        (NOTICES, "REQUESTS_CA_BUNDLE", "/not/there.pem", "notifications can't be sent"),
        (NOTICES, "CURL_CA_BUNDLE", "/not/there.pem", "notifications can't be sent"),
        (POSTGRESQL, "PGSSLMODE", "always", "not a mode"),
        (POSTGRESQL, "PGPORT", "tcp://10.0.0.1:5432", "not a number"),
        (POSTGRESQL, "PGCONNECT_TIMEOUT", "5s", "not a number"),
        (POSTGRESQL, "PGSSLROOTCERT", "/not/there.pem", "can't be read"),
        (POSTGRESQL, "PGSERVICEFILE", "/not/there", "can't be read"),
        (POSTGRESQL, "PGOPTIONS", "-c default_transaction_read_only=on", "read-only"),
    ],
)
def test_unusable_variable_is_named_with_the_fix(
    tmp_path: Path, more: str, variable: str, value: str, why: str
) -> None:
    environ = {variable: value}
    with pytest.raises(ConfigError) as raised:
        refuse_invalid_variables(environ, settings(tmp_path, more, **environ))

    assert raised.value.message.startswith(f"{variable} ")
    assert why in raised.value.message
    assert raised.value.hint
    assert "s3cret" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(
    ("more", "variable", "value", "level"),
    [
        ("", "NO_PROXY", "localhost,[::1],fd00::/8", ""),
        ("", "NO_PROXY", "a/b/c", "warning"),
        ("", "HTTPS_PROXY", "http://ana:s3cret@proxy.acme.com:3128", "ok"),
        ("", "TZ", '"Europe/Rome"', "warning"),
        ("", "TZ", "Europe/Rome", ""),
        ("", "TZ", ":Europe/Rome", ""),
        ("", "REQUESTS_CA_BUNDLE", "/not/there.pem", "warning"),
        ("", "PYTHONHTTPSVERIFY", "0", "warning"),
        ("", "SSL_CERT_DIR", "/not/there:/", "ok"),
        ("", "STATE_DIRECTORY", "/var/lib/x", ""),
        ("state: {url: 'sqlite:///s.db'}\n", "STATE_DIRECTORY", "state", ""),
        ("", "PGSSLMODE", "always", ""),
        (POSTGRESQL, "PGSSLMODE", "verify-full", "ok"),
        (POSTGRESQL, "PGPASSWORD", "s3cret", "ok"),
        (POSTGRESQL, "PGPASSFILE", "/not/there", "ok"),
        (POSTGRESQL, "PGSSLROOTCERT", "system", "ok"),
    ],
)
def test_harmless_variable_is_at_most_a_finding(
    tmp_path: Path, more: str, variable: str, value: str, level: str
) -> None:
    environ = {variable: value}
    loaded = settings(tmp_path, more, **environ)

    refuse_invalid_variables(environ, loaded)
    findings = variable_findings(environ, loaded)

    assert [finding.level for finding in findings if finding.subject == variable] == ([level] if level else [])
    assert "s3cret" not in str(findings)


def test_every_bad_variable_is_named_at_once(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "socks5://p", "SSL_CERT_FILE": "/not/there.pem"}
    with pytest.raises(ConfigError) as raised:
        refuse_invalid_variables(environ, settings(tmp_path))
    assert [line.partition(" ")[0] for line in raised.value.message.splitlines()] == ["HTTPS_PROXY", "SSL_CERT_FILE"]


def test_bundle_of_the_configuration_overrides_that_of_the_environment(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    environ = {"SSL_CERT_FILE": "/not/there.pem"}

    refuse_invalid_variables(environ, settings(tmp_path, "ca_bundle: ca.pem\n"))
    with pytest.raises(ConfigError, match=r"ca_bundle names .*/none\.pem, which can't be used"):
        refuse_invalid_variables({}, settings(tmp_path, "ca_bundle: none.pem\n"))


@pytest.mark.parametrize(
    "environ",
    [{"HTTPS_PROXY": "socks5://p"}, {"SSL_CERT_FILE": "/not/there.pem"}, {"SSLKEYLOGFILE": "/not/there/keys"}],
)
def test_client_never_crashes_on_an_invalid_variable(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(environ))):
        create_client(None, 30, environ)


async def test_client_is_created_for_any_no_proxy() -> None:
    environ = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "localhost,[::1],fd00::/8,[,://,*:*"}
    async with create_client(None, 30, environ):
        pass


def test_document_names_a_test_for_every_fault() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "faults-environment.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| fault")]
    sources = "".join(path.read_text("utf-8") for path in (root / "tests").rglob("test_*.py"))

    for row in rows:
        (name,) = re.findall(r"`(test_\w+)` \|$", row)
        assert f"def {name}(" in sources
