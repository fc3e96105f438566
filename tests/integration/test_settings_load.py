"""Loading a configuration file, and where it is looked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.errors import ConfigError
from agent.model import IndividualAction, Kind, Mode, Policy, Toggles, UnmanagedAction
from agent.settings.load import load
from agent.settings.root import Settings
from agent.settings.workspace import LimitSettings
from connectors.base import Source
from connectors.entra import EntraSettings
from connectors.okta.settings import OktaSettings
from connectors.onelogin import OneLoginSettings
from tests.factories import some_limits

BASE = """\
connectors:
  okta-main: {type: okta, org_url: "https://acme.okta.com", api_token: {env: OKTA_TOKEN}}
workspaces:
  pigment-latam:
    scim_url: https://latam.example.com/scim/v2/
    tokens: [{env: LATAM_TOKEN}]
    sources: [{connector: okta-main, app: 0oa1}]
"""
FULL = """\
connectors:
  okta-main: {type: okta, org_url: "https://acme.okta.com", client_id: 0oaservice, private_key: {file: okta.pem}}
  entra-eu:
    type: entra
    tenant_id: 11111111-2222-3333-4444-555555555555
    client_id: 66666666-7777-8888-9999-000000000000
    client_secret: {env: ENTRA_SECRET}
  onelogin-apac: {type: onelogin, subdomain: acme, client_id: abc, client_secret: {file: /run/secrets/onelogin}}
workspaces:
  pigment-latam:
    scim_url: https://latam.example.com/scim/v2
    tokens: [{env: LATAM_TOKEN}, {env: LATAM_TOKEN_NEXT}]
    token_expires: 2027-03-31
    sources:
      - {connector: okta-main, app: 0oa1b2c3d4, groups: [Pigment LatAm, 00g1]}
      - {connector: entra-eu, app: 99999999-8888-7777-6666-555555555555, nested: true, guests: true, email: mail}
      - {connector: onelogin-apac, app: 1234567}
    allowed_domains: [ACME.com., bücher.example.com]
    mode: enforce
    schedule: {cron: "0 6 * * 1-5", timezone: America/Sao_Paulo}
    protect: [Owner@ACME.com, "svc-*@*.bücher.example.com"]
    unmanaged: deactivate
    individual_assignments: include
    grace_reads: 3
    limits: {max_deactivations: 5, max_deactivations_percent: 2.5, max_creates: 100, max_email_changes: 7}
    require_approval: [deactivate, update-email]
    toggles: {create: false, update: false, deactivate: false}
    total_results: ignore
notify: {urls: ["mailto://acme.com", {env: CHAT_URL}], on: [held]}
ca_bundle: ca.pem
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, "utf-8")
        return path

    return written


def test_minimal_file_has_the_documented_defaults(write: Write, tmp_path: Path) -> None:
    settings = load(write(BASE), {})
    assert settings.state.url == f"sqlite:///{tmp_path}/state.db"
    assert settings.limits.fleet_deactivations_percent == 10
    assert (settings.pigment.requests_per_window, settings.pigment.window_seconds) == (480, 300)
    assert (settings.notify.urls, settings.notify.on) == ((), ("failure", "held", "waiting", "credentials"))
    assert (settings.server.host, settings.server.port, settings.server.tokens) == ("127.0.0.1", 8080, ())
    assert settings.ca_bundle is None
    assert (settings.http.timeout_seconds, settings.http.retries, settings.http.max_wait_seconds) == (30, 4, 300)
    assert (settings.log.level, settings.log.format, settings.log.emails) == ("info", "json", False)
    workspace = settings.workspaces["pigment-latam"]
    assert workspace.scim_url == "https://latam.example.com/scim/v2"
    assert (workspace.token_expires, workspace.schedule, workspace.total_results) == (None, None, "check")
    limits = some_limits(max_deactivations=25, max_deactivations_percent=10, max_creates=None, max_email_changes=25)
    assert workspace.policy("pigment-latam") == Policy("pigment-latam", (Source("okta-main", "0oa1"),), limits=limits)
    ignoring = workspace.model_copy(update={"individual_assignments": IndividualAction.IGNORE}).policy("pigment-latam")
    assert ignoring.sources == (Source("okta-main", "0oa1", ignores_individuals=True),)


def test_policy_has_every_value_of_the_file(write: Write) -> None:
    assert load(write(FULL), {}).workspaces["pigment-latam"].policy("pigment-latam") == Policy(
        workspace="pigment-latam",
        sources=(
            Source("okta-main", "0oa1b2c3d4", ("Pigment LatAm", "00g1")),
            Source("entra-eu", "99999999-8888-7777-6666-555555555555", nested=True, guests=True, email="mail"),
            Source("onelogin-apac", "1234567"),
        ),
        allowed_domains=frozenset({"acme.com", "xn--bcher-kva.example.com"}),
        mode=Mode.ENFORCE,
        protect=("owner@acme.com", "svc-*@*.xn--bcher-kva.example.com"),
        unmanaged=UnmanagedAction.DEACTIVATE,
        individual_assignments=IndividualAction.INCLUDE,
        grace_reads=3,
        limits=some_limits(max_deactivations=5, max_deactivations_percent=2.5, max_creates=100, max_email_changes=7),
        require_approval=frozenset({Kind.DEACTIVATE, Kind.UPDATE_EMAIL}),
        toggles=Toggles(create=False, update=False, deactivate=False),
    )


def test_rest_of_a_workspace_and_its_connectors_are_typed(write: Write, tmp_path: Path) -> None:
    settings = load(write(FULL), {})
    workspace = settings.workspaces["pigment-latam"]
    assert workspace.token_expires == date(2027, 3, 31)
    assert workspace.schedule is not None
    assert (workspace.schedule.cron, workspace.schedule.timezone) == (
        "0 6 * * mon,tue,wed,thu,fri",
        "America/Sao_Paulo",
    )
    assert workspace.total_results == "ignore"
    assert [type(each) for each in settings.connectors.values()] == [OktaSettings, EntraSettings, OneLoginSettings]
    assert settings.ca_bundle == tmp_path / "ca.pem"
    assert repr(settings.connectors["okta-main"]).count(f"{tmp_path}/okta.pem") == 1
    assert settings.notify.on == ("held",)


def test_settings_never_change(write: Write) -> None:
    settings = load(write(BASE), {})
    with pytest.raises(ValidationError):
        settings.log = settings.log
    with pytest.raises(ValidationError):
        settings.workspaces["pigment-latam"].mode = Mode.ENFORCE


def test_every_duration_is_read(write: Write) -> None:
    for text, seconds in (("90s", 90), ("15m", 900), ("1 h", 3600), ("31d", 31 * 86_400), ("10s", 10)):
        schedule = load(write(f"{BASE}    schedule: {{every: {text}}}\n"), {}).workspaces["pigment-latam"].schedule
        assert schedule is not None
        assert schedule.every == timedelta(seconds=seconds)


def test_defaults_apply_to_all_workspaces_that_do_not_override_them(write: Write) -> None:
    text = f"""{BASE}    limits: {{max_deactivations: 3}}
    schedule: {{cron: "0 6 * * *"}}
  pigment-eu: {{scim_url: "https://eu.example.com", tokens: [a], sources: [{{connector: okta-main, app: 0oa2}}]}}
defaults:
  mode: enforce
  limits: {{max_deactivations: 1, max_creates: 9}}
  schedule: {{every: 15m}}
"""
    latam, europe = load(write(text), {}).workspaces.values()
    assert (latam.mode, europe.mode) == ("enforce", "enforce")
    assert latam.limits == LimitSettings.model_validate({"max_deactivations": 3, "max_creates": 9})
    assert europe.limits == LimitSettings.model_validate({"max_deactivations": 1, "max_creates": 9})
    assert latam.schedule is not None
    assert (latam.schedule.cron, latam.schedule.every) == ("0 6 * * *", None)


def test_anchors_and_merge_keys_of_yaml_work(write: Write) -> None:
    text = f"""{BASE}    limits: &careful {{max_deactivations: 3}}
  pigment-eu:
    scim_url: https://eu.example.com
    tokens: [a]
    sources: [{{connector: okta-main, app: 0oa2}}]
    limits: {{<<: *careful, max_creates: 4}}
"""
    limits = load(write(text), {}).workspaces["pigment-eu"].limits
    assert limits == LimitSettings.model_validate({"max_deactivations": 3, "max_creates": 4})


def test_keys_are_always_text(write: Write) -> None:
    text = BASE.replace("pigment-latam:", "2027:") + "notify: {on: [held]}\n"
    settings = load(write(text), {})
    assert list(settings.workspaces) == ["2027"]
    assert settings.notify.on == ("held",)


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load(path, {}).workspaces


def test_secrets_are_not_read_until_they_are_needed(write: Write) -> None:
    assert load(write(BASE), {}).workspaces["pigment-latam"].tokens


def test_state_url_may_contain_a_password_and_be_kept_elsewhere(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(write(f"{BASE}state: {{url: {{env: ACME_STATE_URL}}}}\n"), {})
    monkeypatch.setenv("ACME_STATE_URL", "postgresql+psycopg://u:s3cret@h/db")
    assert settings.state.url == "postgresql+psycopg://u:s3cret@h/db"
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in repr(load(write(f"{BASE}state: {{url: 'postgresql+psycopg://u:s3cret@h/db'}}\n"), {}))


def test_secrets_written_into_the_file_are_not_shown(write: Write) -> None:
    text = BASE.replace("{env: LATAM_TOKEN}", "s3cret-1").replace("{env: OKTA_TOKEN}", "s3cret-2")
    settings = load(write(f"{text}defaults: {{tokens: [s3cret-3]}}\nnotify: {{urls: ['json://s3cret-4']}}\n"), {})
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("environ", "at_argument", "expected"),
    [
        ({}, False, "local"),
        ({"PIGMENT_SYNC_CONFIG": ""}, False, "local"),
        ({"PIGMENT_SYNC_CONFIG": "named.yaml"}, False, "named"),
        ({"PIGMENT_SYNC_CONFIG": "named.yaml"}, True, "argument"),
    ],
)
def test_file_is_the_argument_else_the_variable_else_the_folders(
    environ: Mapping[str, str], at_argument: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, workspace in (("config.yaml", "local"), ("named.yaml", "named"), ("argument.yaml", "argument")):
        Path(name).write_text(BASE.replace("pigment-latam", workspace), "utf-8")
    settings = load(Path("argument.yaml") if at_argument else None, environ)
    assert list(settings.workspaces) == [expected]
    assert settings.state.url == f"sqlite:///{tmp_path}/state.db"


@pytest.mark.parametrize(
    ("written", "environ", "expected"),
    [
        ("", {"STATE_DIRECTORY": "/var/lib/pigment-sync"}, "sqlite:////var/lib/pigment-sync/state.db"),
        ("", {"STATE_DIRECTORY": "/var/lib/first:/var/lib/second"}, "sqlite:////var/lib/first/state.db"),
        ("", {"STATE_DIRECTORY": ""}, "sqlite:///{folder}/state.db"),
        ("state: {url: sqlite:///mine.db}", {"STATE_DIRECTORY": "/var/lib/x"}, "sqlite:///{folder}/mine.db"),
        ("state: {url: postgresql+psycopg://u@h/db}", {"STATE_DIRECTORY": "/var/lib/x"}, "postgresql+psycopg://u@h/db"),
        ("", {"STATE_DIRECTORY": "/x", "PIGMENT_SYNC__STATE__URL": "sqlite:////y.db"}, "sqlite:////y.db"),
    ],
)
def test_state_is_in_the_service_managers_folder_unless_configured(
    written: str, environ: Mapping[str, str], expected: str, write: Write, tmp_path: Path
) -> None:
    settings = load(write(f"{BASE}{written}\n"), environ)

    assert settings.state.url == expected.format(folder=tmp_path)


def test_missing_file_lists_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        load(None, {})
    for place in ("--config", "$PIGMENT_SYNC_CONFIG", f"{tmp_path}/config.yaml", "/etc/pigment-sync/config.yaml"):
        assert place in raised.value.message
    assert "config.example.yaml" in raised.value.hint
    assert "demo" in raised.value.hint


@pytest.mark.parametrize("by_variable", [False, True])
def test_missing_file_reports_which_setting_named_it(tmp_path: Path, by_variable: bool) -> None:
    path = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError) as raised:
        load(None, {"PIGMENT_SYNC_CONFIG": str(path)}) if by_variable else load(path, {})
    assert str(path) in raised.value.message
    assert ("$PIGMENT_SYNC_CONFIG names" if by_variable else "--config names") in raised.value.message
    assert raised.value.hint


def test_file_that_is_a_folder_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder, not a file") as raised:
        load(tmp_path, {})
    assert raised.value.hint


def test_invalid_path_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="can't be read") as raised:
        load(Path("x" * 300), {})
    assert raised.value.hint


def test_settings_come_from_the_file_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIGMENT_SYNC__LOG__LEVEL", "debug")
    monkeypatch.setenv("LOG", '{"level": "debug"}')
    settings = load(write(BASE), {})
    assert isinstance(settings, Settings)
    assert settings.log.level == "info"
