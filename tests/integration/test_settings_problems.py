"""Every invalid configuration is reported with its path, the problem and the fix, and without a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from agent.errors import ConfigError, ExitCode
from agent.settings.cross_checks import refuse_shared_tokens
from agent.settings.file import parse_config
from agent.settings.load import load
from agent.settings.template import PROVIDERS_BY_TYPE

SECRET = "s3cretS3CRETs3cret"
OIDC = {
    "issuer": "https://login.acme.com",
    "client_id": "pigment-sync",
    "client_secret": SECRET,
    "roles": {"Team": "read"},
}
*FIRST_TYPES, LAST_TYPE = PROVIDERS_BY_TYPE
TYPES = f"{', '.join(FIRST_TYPES)} or {LAST_TYPE}"
Tree = dict[str, object]
Problem = Callable[[str], ConfigError]


def workspace(name: str) -> Tree:
    return {
        "scim_url": f"https://{name}.example.com/scim/v2",
        "tokens": [f"{SECRET}{name}"],
        "sources": [{"connector": "okta-main", "app": f"0oa{name}"}],
    }


def tree(**workspaces: Tree) -> Tree:
    return {
        "connectors": {
            "okta-main": {"type": "okta", "org_url": "https://acme.okta.com", "api_token": SECRET},
            "entra-eu": {
                "type": "entra",
                "tenant_id": "11111111-2222-3333-4444-555555555555",
                "client_id": "66666666-7777-8888-9999-000000000000",
                "client_secret": SECRET,
            },
        },
        "workspaces": workspaces or {"latam": workspace("latam")},
    }


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    def found(text: str) -> ConfigError:
        path = tmp_path / "config.yaml"
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigError) as raised:
            load(path, {})
        error = raised.value
        assert str(path) in error.message
        assert error.hint
        assert SECRET not in error.message + error.hint
        assert error.exit_code == ExitCode.CONFIG
        return error

    return found


def lines(error: ConfigError) -> list[str]:
    return error.message.splitlines()[1:]


@pytest.mark.parametrize(
    ("key", "value", "path", "why"),
    [
        ("scim_url", 5, "scim_url", "must be text"),
        ("scim_url", None, "scim_url", "null is not"),
        ("scim_url", "latam.example.com", "scim_url", "must start with https://"),
        ("scim_url", "https://", "scim_url", "must start with https://"),
        ("scim_url", "http://latam.example.com", "scim_url", "loopback hosts only"),
        ("scim_url", f"https://me:{SECRET}@latam.example.com", "scim_url", "must not contain a user or a password"),
        ("scim_url", f"https://latam.example.com?token={SECRET}", "scim_url", "must end with its path"),
        ("scim_url", "https://latam.example.com:port", "scim_url", "is not a URL"),
        ("scim_url", "https://latam.example.com:99999/scim", "scim_url", "has a port above 65535"),
        ("scim_url", "https://<workspace>.example.com/scim", "scim_url", "is not a valid host name"),
        ("scim_url", "https://latam.example.com/a b", "scim_url", "must end with its path"),
        ("tokens", SECRET, "tokens", "must be a list, such as [first, second]"),
        ("tokens", [], "tokens", "must not be empty"),
        ("tokens", [None], "tokens.0", "{env: NAME}"),
        ("tokens", [{"env": f"{SECRET}-"}], "tokens.0", "name of an environment variable"),
        ("tokens", [12345678], "tokens.0", "put it in quotes"),
        ("token_expires", "soon", "token_expires", "must be a date, such as 2027-03-31"),
        ("token_expires", 20270331, "token_expires", "must be a date, such as 2027-03-31"),
        ("sources", [], "sources", "must not be empty"),
        ("sources", {"connector": "okta-main"}, "sources", "must be a list"),
        ("sources", [{"connector": "okta-main"}], "sources.0.app", "is missing. The application's id"),
        ("sources", [{"app": "0oa1"}], "sources.0.connector", "is missing. The name of one of the `connectors`"),
        ("sources", [{"connector": "okta", "app": "0oa1"}], "sources.0.connector", "the file has okta-main, entra-eu"),
        ("sources", [{"connector": "okta-main", "app": "Pigment LatAm"}], "sources.0.app", "not its name"),
        ("sources", [{"connector": "okta-main", "app": "../0oa1"}], "sources.0.app", "application's id"),
        ("sources", [{"connector": "okta-main", "app": True}], "sources.0.app", "must be text"),
        ("sources", [{"connector": "okta-main", "app": "0oa1", "groups": "x"}], "sources.0.groups", "must be a list"),
        ("sources", [{"connector": "okta-main", "app": "0oa1", "groups": [5]}], "sources.0.groups.0", "in quotes"),
        ("sources", [{"connector": "okta-main", "app": "0oa1", "groups": [" "]}], "sources.0.groups.0", "not be empty"),
        ("sources", [{"connector": "okta-main", "app": "0oa1", "nested": True}], "sources.0.nested", "for Entra only"),
        ("sources", [{"connector": "okta-main", "app": "0oa1", "guests": True}], "sources.0.guests", "for Entra only"),
        ("sources", [{"connector": "okta-main", "app": "0oa1", "group": []}], "sources.0.group", "mean groups?"),
        ("sources", [{"connector": "okta-main", "app": "0oa1", "email": "upn"}], "sources.0.email", "'login' or"),
        ("sources", [{"connector": "okta-main", "app": "0oa1"}] * 2, "sources.1", "appears twice in this workspace"),
        ("allowed_domains", "acme.com", "allowed_domains", "must be a list"),
        ("allowed_domains", None, "allowed_domains", "null is not"),
        ("allowed_domains", ["@acme.com"], "allowed_domains.0", "bare domain, such as acme.com"),
        ("allowed_domains", ["acme.com", "*.acme.com"], "allowed_domains.1", "bare domain"),
        ("allowed_domains", ["acme"], "allowed_domains.0", "bare domain"),
        ("allowed_domains", ["https://acme.com"], "allowed_domains.0", "bare domain"),
        ("allowed_domains", ["acme .com"], "allowed_domains.0", "bare domain"),
        ("mode", "dryrun", "mode", "must be 'dry-run' or 'enforce'"),
        ("schedule", "15m", "schedule", "must contain keys with values"),
        ("schedule", {}, "schedule", "exactly one of every and cron"),
        ("schedule", {"every": "15m", "cron": "0 0 * * *"}, "schedule", "exactly one of every and cron"),
        ("schedule", {"every": 15}, "schedule.every", "a number with a unit, such as 90s, 15m"),
        ("schedule", {"every": "15 minutes"}, "schedule.every", "a number with a unit"),
        ("schedule", {"every": "-15m"}, "schedule.every", "a number with a unit"),
        ("schedule", {"every": "9s"}, "schedule.every", "at least 10s"),
        ("schedule", {"every": "32d"}, "schedule.every", "at most 31d"),
        ("schedule", {"every": "9" * 30 + "d"}, "schedule.every", "a number with a unit"),
        ("schedule", {"every": "15m", "timezone": "UTC"}, "schedule", "is for cron only"),
        ("schedule", {"cron": "* * * *"}, "schedule.cron", "five fields"),
        ("schedule", {"cron": "0 0 31 2 *"}, "schedule.cron", "never occurs"),
        ("schedule", {"cron": "0 0 * * *", "timezone": "Berlin"}, "schedule.timezone", "Europe/Berlin"),
        ("schedule", {"cron": "0 0 * * *", "timezone": "../UTC"}, "schedule.timezone", "Europe/Berlin"),
        ("protect", ["*"], "protect.0", "would protect every member"),
        ("protect", ["a@acme.com", "*@*.*"], "protect.1", "would protect every member"),
        ("protect", [""], "protect.0", "must be an email address"),
        ("protect", ["Ana <a@acme.com>"], "protect.0", "must be an email address"),
        ("protect", ["owner"], "protect.0", "matches no email address"),
        ("protect", ["[ab@acme.com"], "protect.0", "bracket that is not closed"),
        ("unmanaged", "delete", "unmanaged", "must be 'report' or 'deactivate'"),
        ("individual_assignments", "no", "individual_assignments", "must be 'hold', 'include' or 'ignore'"),
        ("grace_reads", 0, "grace_reads", "must be at least 1"),
        ("grace_reads", 1.5, "grace_reads", "must be a whole number"),
        ("limits", None, "limits", "null is not"),
        ("limits", {"max_deactivations": None}, "limits.max_deactivations", "can't be null"),
        ("limits", {"max_email_changes": None}, "limits.max_email_changes", "can't be null"),
        ("limits", {"max_deactivations_percent": None}, "limits.max_deactivations_percent", "can't be null"),
        ("limits", {"max_deactivations": -1}, "limits.max_deactivations", "must be at least 0"),
        ("limits", {"max_deactivations": True}, "limits.max_deactivations", "not true or false"),
        ("limits", {"max_deactivations": "many"}, "limits.max_deactivations", "must be a whole number"),
        ("limits", {"max_deactivations_percent": 101}, "limits.max_deactivations_percent", "must be at most 100"),
        ("limits", {"max_deactivations_percent": float("nan")}, "limits.max_deactivations_percent", "a number"),
        ("limits", {"max_creates": -1}, "limits.max_creates", "must be at least 0"),
        ("limits", {"max_create": 1}, "limits.max_create", "did you mean max_creates?"),
        ("limits", {"max_creates:5": None}, "limits.max_creates", "needs a space after its colon"),
        ("require_approval", ["delete"], "require_approval.0", "must be 'adopt', 'deactivate'"),
        ("toggles", {"create": "perhaps"}, "toggles.create", "must be true or false"),
        ("toggles", {"creates": True}, "toggles.creates", "did you mean create?"),
        ("total_results", "skip", "total_results", "must be 'check' or 'ignore'"),
        ("page_size", "large", "page_size", "must be auto, or a whole number from 1 to 1000"),
        ("page_size", 0, "page_size", "must be auto, or a whole number"),
        ("page_size", 1001, "page_size", "must be auto, or a whole number"),
        ("page_size", True, "page_size", "must be auto, or a whole number"),
        ("page_size", None, "page_size", "must be auto, or a whole number"),
        ("quux", 1, "quux", "is not a known key; known here: allowed_domains, grace_reads"),
        ("x" * 200, 1, "x" * 80 + "…", "is not a known key"),
        (f"token:{SECRET}", None, "token", "needs a space after its colon"),
    ],
)  # fmt: skip
def test_invalid_value_of_a_workspace_is_reported(
    problem: Problem, key: str, value: object, path: str, why: str
) -> None:
    (line,) = lines(problem(yaml.safe_dump(tree(latam={**workspace("latam"), key: value}), sort_keys=False)))
    assert line.startswith(f"  workspaces.latam.{path}: ")
    assert why in line


@pytest.mark.parametrize(
    ("section", "value", "path", "why"),
    [
        ("state", {"url": "mysql://h/db"}, "state.url", "must be sqlite:///state.db"),
        ("state", {"url": "postgresql://h/db"}, "state.url", "postgresql+psycopg://"),
        ("state", {"url": "sqlite:///:memory:"}, "state.url", "(a file)"),
        ("state", {"url": "sqlite://"}, "state.url", "(a file)"),
        ("state", {"url": f"mysql://u:{SECRET}@h/db"}, "state.url", "must be sqlite:///state.db"),
        ("state", {"urls": "x"}, "state.urls", "did you mean url?"),
        ("state", None, "state", "must contain keys with values (null is not allowed"),
        ("connectors", {}, "connectors", "must not be empty"),
        ("connectors", [], "connectors", "must contain keys with values"),
        ("workspaces", {}, "workspaces", "must not be empty"),
        ("workspaces", {"latam": None}, "workspaces.latam", "must contain keys with values"),
        ("workspaces", {"Süd Europa": workspace("a")}, "workspaces.Süd Europa", "is not a valid name"),
        ("workspaces", {"x" * 65: workspace("a")}, f"workspaces.{'x' * 65}", "is not a valid name"),
        ("workspaces", {"\x1b[31m": workspace("a")}, "workspaces.\\x1b[31m", "is not a valid name"),
        ("defaults", 5, "defaults", "must contain keys with values"),
        ("defaults", {"mod": "enforce"}, "defaults.mod", "did you mean mode?"),
        ("defaults", {"limits": {"max_creates": -1}}, "defaults.limits.max_creates", "at least 0"),
        ("defaults", {"protect": ["x@acme.com", "*"]}, "defaults.protect.1", "every member"),
        ("limits", {"fleet_deactivations_percent": -1}, "limits.fleet_deactivations_percent", "at least 0"),
        ("approvals", {"needed": 3}, "approvals.needed", "at most 2"),
        ("approvals", {"reason": "maybe"}, "approvals.reason", "'required' or 'optional'"),
        ("approvals", {"valid_for": "0s"}, "approvals.valid_for", "at least 10s"),
        ("limits", {"max_creates": 1}, "limits.max_creates", "known here: fleet_deactivations_percent"),
        ("pigment", {"requests_per_window": 0}, "pigment.requests_per_window", "at least 1"),
        ("pigment", {"window_seconds": 0}, "pigment.window_seconds", "more than 0"),
        ("pigment", {"window_seconds": float("inf")}, "pigment.window_seconds", "a number"),
        ("notify", {"urls": "json://x"}, "notify.urls", "must be a list"),
        ("notify", {"on": ["success"]}, "notify.on.0", "must be 'failure', 'held', 'waiting' or 'credentials'"),
        ("server", {"port": 65536}, "server.port", "at most 65535"),
        ("server", {"port": True}, "server.port", "not true or false"),
        ("server", {"host": ""}, "server.host", "must not be empty"),
        ("server", {"tokens": [SECRET]}, "server.tokens.0", "hash-token"),
        ("server", {"public_url": "https://acme.com/sync"}, "server", "must have no path"),
        ("server", {"oidc": {**OIDC, "roles": {"Team": "admin"}}}, "server.oidc.roles.Team", "'read' or 'operate'"),
        ("server", {"oidc": {**OIDC, "roles": {}}}, "server.oidc.roles", "must not be empty"),
        ("server", {"host": "0.0.0.0", "oidc": OIDC}, "server", "needs public_url"),  # noqa: S104  (what is refused)
        ("server", {"host": "0.0.0.0"}, "server", "set tokens too"),  # noqa: S104  (what is refused)
        ("ca_bundle", 5, "ca_bundle", "must be text"),
        ("http", {"timeout_seconds": 0}, "http.timeout_seconds", "more than 0"),
        ("http", {"retries": 21}, "http.retries", "at most 20"),
        ("http", {"timeout": 5}, "http.timeout", "did you mean timeout_seconds?"),
        ("log", {"level": "loud"}, "log.level", "must be 'debug', 'info', 'warning' or 'error'"),
        ("log", {"emails": 3}, "log.emails", "must be true or false"),
        ("wokspaces", {}, "wokspaces", "did you mean workspaces?"),
        ("_env_file", "x", "_env_file", "is not a known key; known here: apply"),
        ("Defaults", {"mode": "enforce"}, "Defaults", "did you mean defaults?"),
    ],
)
def test_invalid_value_of_another_section_is_reported(
    problem: Problem, section: str, value: object, path: str, why: str
) -> None:
    (line,) = lines(problem(yaml.safe_dump({**tree(), section: value})))
    assert line.startswith(f"  {path}: ")
    assert why in line


@pytest.mark.parametrize(
    ("connector", "path", "why"),
    [
        (None, "", "must contain keys with values"),
        ({"org_url": "https://acme.okta.com"}, "", f"write type: {TYPES}"),
        ({"type": "okta", "org_url": "https://{org}.okta.com"}, ".org_url", "is not a valid host name"),
        ({"type": "onelogin", "api_url": "https://acme..example.com"}, ".api_url", "is not a valid host name"),
        ({"type": "entra", "graph_url": "https://-graph.example.com"}, ".graph_url", "is not a valid host name"),
        ({"type": SECRET}, "", f"write type: {TYPES}"),
        ({"type": "okta", "api_token": SECRET}, ".org_url", "is missing. The org's root"),
        ({"type": "okta", "org_url": "https://acme.okta.com", "api_token": {SECRET: 1}}, ".api_token", "{env: NAME}"),
        ({"type": "okta", "org_url": f"https://x:{SECRET}@acme.okta.com", "api_token": "x"}, ".org_url", "root alone"),
        ({"type": "okta", "org_url": "https://acme.okta.com"}, "", "set client_id and private_key"),
        ({"type": "okta", "org_url": "https://acme.okta.com", "api_tokn": SECRET}, ".api_tokn", "mean api_token?"),
        ({"type": "okta", "org_url": "https://acme.okta.com", f"api_token:{SECRET}": None}, ".api_token", "a space"),
        ({"type": "entra", "tenant_id": "a b", "client_id": "x", "client_secret": "x"}, ".tenant_id", "tenant"),
        ({"type": "onelogin", "client_id": "a", "client_secret": SECRET}, "", "exactly one of subdomain and api_url"),
        ({"type": "onelogin", "subdomain": 5, "client_id": "a", "client_secret": "x"}, ".subdomain", "in quotes"),
        ({"type": "onelogin", "subdomain": "a", "client_id": "a", "secret": SECRET}, ".secret", "mean client_secret?"),
    ],
)  # fmt: skip
def test_invalid_connector_is_reported(problem: Problem, connector: object, path: str, why: str) -> None:
    whole = tree()
    found = lines(problem(yaml.safe_dump({**whole, "connectors": {**_mapping(whole["connectors"]), "x": connector}})))
    line = next(line for line in found if line.startswith(f"  connectors.x{path}: "))
    assert why in line


def _mapping(value: object) -> Tree:
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("key", "first", "second", "path", "what"),
    [
        ("scim_url", "https://a.example.com/scim", "https://A.example.com:443/scim//", "scim_url", "URL"),
        ("tokens", [{"env": "A"}], [{"env": "B"}, {"env": "A"}], "tokens.1", "token"),
        ("tokens", [SECRET], [SECRET], "tokens.0", "token"),
        ("sources", [{"connector": "okta-main", "app": "1"}], [{"connector": "okta-main", "app": 1}], "sources.0.app",
         "application"),
    ],
)  # fmt: skip
def test_value_that_two_workspaces_share_is_reported(
    problem: Problem, key: str, first: object, second: object, path: str, what: str
) -> None:
    whole = tree(one={**workspace("one"), key: first}, two={**workspace("two"), key: second})
    (line,) = lines(problem(yaml.safe_dump(whole, sort_keys=False)))
    assert line == f"  workspaces.two.{path}: is the same {what} as in workspaces.one; give each workspace its own"


def test_paths_of_urls_that_differ_in_case_are_different_workspaces(tmp_path: Path) -> None:
    one, two = workspace("one"), workspace("two")
    one["scim_url"], two["scim_url"] = "https://x.example.com/A", "https://x.example.com/a"
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree(one=one, two=two)), "utf-8")
    assert len(load(path, {}).workspaces) == 2


def test_same_application_of_two_connectors_is_two_applications(tmp_path: Path) -> None:
    one, two = workspace("one"), workspace("two")
    one["sources"], two["sources"] = [{"connector": "okta-main", "app": "1"}], [{"connector": "entra-eu", "app": "1"}]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree(one=one, two=two)), "utf-8")
    assert len(load(path, {}).workspaces) == 2


def test_all_problems_are_reported_at_once(problem: Problem) -> None:
    one, two = workspace("one"), workspace("two")
    two.update(scim_url=one["scim_url"], sources=[{"connector": "azure", "app": "1"}])
    bad = {**workspace("bad"), "mode": "on", "limits": {"max_deactivations": None}}
    error = problem(yaml.safe_dump({**tree(one=one, two=two, bad=bad), "log": {"level": "x"}}, sort_keys=False))
    assert [line.split(": ")[0].strip() for line in lines(error)] == [
        "workspaces.bad.mode",
        "workspaces.bad.limits.max_deactivations",
        "log.level",
        "workspaces.two.sources.0.connector",
        "workspaces.two.scim_url",
    ]


def test_problem_of_the_defaults_is_reported_once(problem: Problem) -> None:
    whole = tree(one=workspace("one"), two={**workspace("two"), "mode": "of"})
    error = problem(yaml.safe_dump({**whole, "defaults": {"mode": "on"}}, sort_keys=False))
    assert [line.split(": ")[0].strip() for line in lines(error)] == ["defaults.mode", "workspaces.two.mode"]


def test_token_that_is_kept_in_two_places_is_refused_at_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n", "utf-8")
    one, two = workspace("one"), workspace("two")
    one["tokens"] = [{"file": "token"}, {"env": "ACME_NO"}]
    two["tokens"] = ["x", {"env": "ACME_TWO"}, {"env": "ACME_NEITHER"}]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree(one=one, two=two), sort_keys=False), "utf-8")
    workspaces = load(path, {}).workspaces
    for name in ("ACME_NO", "ACME_NEITHER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACME_TWO", "another")
    refuse_shared_tokens(workspaces)
    monkeypatch.setenv("ACME_TWO", SECRET)
    with pytest.raises(ConfigError) as raised:
        refuse_shared_tokens(workspaces)
    assert "workspaces.two.tokens" in raised.value.message
    assert "workspaces.one.tokens" in raised.value.message
    assert SECRET not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- a\n- b\n", "does not contain keys with values"),
        (SECRET, "does not contain keys with values"),
        ("a: 1\na: 2\n", "line 2, column 1: duplicate key `a` (lines 1 and 2)"),
        ("x:\n  tokens: [a]\n  y: 1\n  tokens: [b]\n", "line 4, column 3: duplicate key `tokens` (lines 2 and 4)"),
        ("x: {a: 1, a: 2}\n", "line 1, column 11: duplicate key `a` (lines 1 and 1)"),
        (f"a: 1\n\tb: {SECRET}\n", "line 2, column 1"),
        (f"a: b: {SECRET}\n", "line 1, column 5: a colon that is not allowed here"),
        (f"a:\n  - b\n - {SECRET}\n", "line 3, column 2"),
        (f"a: *{SECRET}\n", "line 1, column 4: a value that starts with *"),
        (f"a: !{SECRET} x\n", "line 1, column 4: a value that starts with !"),
        (f"a: !!python/object:{SECRET} x\n", "line 1, column 4: a value that starts with !"),
        (f"a: @{SECRET}\n", "line 1, column 4: a value that starts with"),
        (f"a: %{SECRET}\n", "line 1, column 4: a value that starts with"),
        (f"a: '{SECRET}\n", "a quotation mark is never closed"),
        (f"a: [{SECRET}\nb: 1\n", "a bracket that is not closed"),
        (f'a: "\\{SECRET}"\n', "a backslash in double quotes"),
        (f"a: {{{{ {SECRET} }}}}\n", "a template that was not filled in?"),
        (f"a: 1\n---\nb: {SECRET}\n", "line 2, column 1: a second document"),
        (f"a: 1\n{SECRET}\nb: 1\n", "line 3, column 1: a key without its colon"),
        (f"a: 1\nb: {SECRET}\x01\n", "line 2, column 22: a character that YAML does not allow"),
        (f"a: 2027-02-30\nb: {SECRET}\n", "put it in quotes"),
        ("a: &a [*a]\n", "nested without end"),
        ("a: " + "[" * 5000, "nested without end"),
        ("a: " + "[" * 200_000, "nested without end"),
        ("- " * 200_000, "nested without end"),
    ],
)
def test_invalid_yaml_is_reported_with_line_and_column(problem: Problem, text: str, why: str) -> None:
    assert why in problem(text).message


def test_yaml_is_read_as_the_specification_has_it() -> None:
    text = """
    a: {b: [1, 2.5, true, null, ~, 0x1f, 1_000, "\\u00e9", 'it''s']}
    base: &base {x: 1, y: two}
    merged: {<<: *base, y: three}
    "quoted: key": |
      two
      lines
    folded: >-
      one
      line
    date: 2027-02-28
    empty:
    """

    assert parse_config(text.encode(), Path("config.yaml")) == yaml.safe_load(text)


def test_file_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"a: b\xff\n")
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert "not UTF-8 (at byte 5)" in raised.value.message
    assert raised.value.hint == "Save it as UTF-8."


def test_empty_environment_is_valid(tmp_path: Path) -> None:
    environ: Mapping[str, str] = {}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree()), "utf-8")
    assert list(load(path, environ).workspaces) == ["latam"]
