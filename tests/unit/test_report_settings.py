"""Scheduled reports in the configuration: what is refused, and that no message repeats a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.model.report import ReportFormat, ReportKind, ReportWhen
from agent.settings.load import load
from agent.settings.report_targets import TargetKind, show_target, show_url, target_kind, target_problem
from agent.settings.root import Settings
from agent.settings.secret_checks import missing_secrets
from connectors.secret import Secret

BASE = """\
connectors: {okta: {type: okta, org_url: 'https://acme.okta.com', api_token: token-of-okta}}
workspaces:
  latam: {scim_url: 'https://x.example.com', tokens: [token-of-latam], sources: [{connector: okta, app: 0oa1}]}
reports:
"""


def loaded(folder: Path, *reports: str) -> Settings:
    path = folder / "config.yaml"
    path.write_text(BASE + "".join(f"  - {each}\n" for each in reports), "utf-8")
    return load(path, {})


def refusal(folder: Path, *reports: str) -> str:
    with pytest.raises(ConfigError) as refused:
        loaded(folder, *reports)
    return refused.value.message


def test_report_has_defaults(tmp_path: Path) -> None:
    (report,) = loaded(tmp_path, "{name: weekly, what: plan, to: ['file:///srv/reports']}").reports

    assert (report.what, report.formats, report.when) == (ReportKind.PLAN, (ReportFormat.HTML,), ReportWhen.ALWAYS)
    assert (report.workspaces, report.schedule) == ((), None)


@pytest.mark.parametrize(
    ("report", "wrong"),
    [
        ("{name: a b, what: plan, to: ['file:///x']}", "reports.0.name: is not a valid name"),
        ("{name: a, what: plans, to: ['file:///x']}", "reports.0.what"),
        ("{name: a, what: plan, to: []}", "reports.0.to"),
        ("{name: a, what: plan, to: ['file:///x'], formats: [pdf]}", "reports.0.formats.0"),
        ("{name: a, what: plan, to: ['file:///x'], formats: [csv, xlsx]}", "reports.0.formats: has xlsx"),
        ("{name: a, what: activity, to: ['file:///x'], formats: [xlsx]}", "set what: access"),
        ("{name: a, what: plan, to: ['file:///x'], when: never}", "reports.0.when"),
        ("{name: a, what: plan, to: ['file:///x'], schedule: {cron: '0 7 * *'}}", "must have five fields"),
        (
            "{name: a, what: plan, to: ['file:///x'], workspaces: [eu]}",
            "reports.0.workspaces.0: there is no workspace eu",
        ),
        ("{name: a, what: plan, to: ['file://srv/x']}", "reports.0.to.0: must be the absolute path"),
        ("{name: a, what: plan, to: ['nothing://s3cret@host']}", "reports.0.to.0: has the unknown scheme nothing://"),
        ("{name: a, what: plan, to: ['https://s3cret@host/x']}", "https://, which is read-only"),
        ("{name: a, what: plan, to: ['s3:///x']}", "names no bucket"),
        ("{name: a, what: plan, to: ['s3cret']}", "must be a URL"),
        ("{name: a, what: plan, to: ['dropbox://x']}", "needs a package of fsspec for dropbox://"),
    ],
)
def test_report_that_could_not_be_delivered_is_refused_without_its_secret(
    tmp_path: Path, report: str, wrong: str
) -> None:
    message = refusal(tmp_path, report)

    assert wrong in message
    assert "s3cret" not in message


def test_two_reports_need_two_names(tmp_path: Path) -> None:
    first, second = (f"{{name: {name}, what: plan, to: ['file:///x']}}" for name in ("weekly", "Weekly"))

    assert "reports.1.name: another report is called Weekly" in refusal(tmp_path, first, second)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:///srv/reports", TargetKind.FOLDER),
        ("s3://bucket/x", TargetKind.STORE),
        ("abfs://container@account.dfs.core.windows.net/x", TargetKind.STORE),
        ("sftp://host/x", TargetKind.FILE_SYSTEM),
        ("mailtos://smtp.acme.com?to=a@acme.com", TargetKind.MESSAGE),
        ("json://127.0.0.1:1/x", TargetKind.MESSAGE),
        ("memory://x", None),
        ("nothing://x", None),
    ],
)
def test_scheme_decides_how_files_get_there(url: str, kind: TargetKind | None) -> None:
    assert target_kind(url) is kind


def test_usable_targets_have_no_problem() -> None:
    urls = ("file:///srv/a%20b", "s3://bucket", "gs://b/x", "abfs://c@a.dfs.core.windows.net/x", "json://127.0.0.1/x")

    assert [target_problem(each) for each in urls] == [""] * len(urls)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mailtos://user:s3cret@smtp.acme.com:587?to=a@acme.com", "mailtos://smtp.acme.com:587"),
        ("slack://s3cret/s3cret2/s3cret3", "slack://…"),
        ("s3://bucket/reports?secret_access_key=s3cret", "s3://bucket/reports"),
        ("abfs://container@account/x?sas=s3cret", "abfs://container@account/x"),
        ("sftp://user:s3cret@host/x", "sftp://host/x"),
        ("file:///srv/reports", "file:///srv/reports"),
        ("s3cret", "…"),
    ],
)
def test_target_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert show_url(url) == shown
    assert "s3cret" not in show_target(Secret("value", url), 0)


def test_target_elsewhere_is_shown_by_its_place() -> None:
    assert show_target(Secret("env", "REPORT_URL"), 1) == "2: the environment variable REPORT_URL"


def test_missing_secret_of_a_report_is_found_before_the_start(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "{name: a, what: plan, to: [{env: REPORT_URL_THAT_IS_NOT_SET}]}")

    assert "reports.0.to.0" in [path for path, _, _ in missing_secrets(settings)]
