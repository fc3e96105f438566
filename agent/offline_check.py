"""Check what a configuration alone shows: no connection, no state, and no need for the values of its secrets."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from agent.errors import ConfigError
from agent.notifications.delivery import parse_destination
from agent.preflight import report_finding, unsupported_url_finding
from agent.report.check import NotChecked
from agent.settings.cross_checks import refuse_shared_tokens
from agent.settings.report_targets import show_url, target_problem
from agent.settings.root import Settings
from agent.settings.secret_checks import all_secrets, has_inline_secrets, secret_errors
from connectors.base import Area, CheckName, Finding
from connectors.http.tls import TlsConfigError, tls_context
from connectors.secret import SecretError, SecretFileMissing, SecretNotSet

__all__ = ["area_of", "check_offline", "config_file_findings", "secret_file_findings"]

READABLE_BY_ALL = 0o004


_config_finding = partial(Finding, area=Area.CONFIG)

AREAS = {
    "connectors": Area.CONNECTOR,
    "workspaces": Area.WORKSPACE,
    "state": Area.STATE,
    "notify": Area.NOTIFY,
    "reports": Area.NOTIFY,
    "server": Area.SERVER,
}
"""What the secrets below a key of the configuration are for."""


def area_of(path: str) -> Area:
    """Return the area of the secret at *path* in the configuration."""
    return AREAS.get(path.partition(".")[0], Area.CONFIG)


def check_offline(settings: Settings, file: Path) -> tuple[list[Finding], list[NotChecked]]:
    """Return the findings about *settings*, read from *file*, and what needs a connection or a value to be checked.

    A secret that is not there is no error: a pull request's checks run without the secrets.
    """
    errors = list(secret_errors(settings))
    absent = [(path, error) for path, error in errors if isinstance(error, SecretNotSet | SecretFileMissing)]
    findings = [
        _config_finding("ok", "config", _valid_message(settings), name=CheckName.CONFIGURATION),
        *config_file_findings(file, settings),
        *secret_file_findings(settings),
        *(
            Finding("error", path, error.message, error.hint, name=CheckName.SECRET, area=area_of(path))
            for path, error in errors
            if (path, error) not in absent
        ),
        *_shared_token_findings(settings),
        *_ca_bundle_findings(settings.ca_bundle),
        *_notification_findings(settings),
        *_report_findings(settings),
    ]
    secrets = [
        NotChecked(area_of(path), path, f"The value is not available here. {error.message}") for path, error in absent
    ]
    return findings, [*secrets, *_connections(settings)]


def config_file_findings(file: Path, settings: Settings) -> Iterator[Finding]:
    """Yield a warning if others can read the secrets in the file."""
    if has_inline_secrets(settings) and file.stat().st_mode & READABLE_BY_ALL:
        yield _config_finding(
            "warning",
            "config",
            f"{file} holds secrets, and every user of this machine can read it.",
            f"Keep them elsewhere, as {{env: NAME}} or {{file: PATH}}, or: chmod 600 {shlex.quote(str(file))}",
            name=CheckName.READABLE_BY_OTHERS,
        )


def _valid_message(settings: Settings) -> str:
    connectors, workspaces = len(settings.connectors), len(settings.workspaces)
    parts = f"{connectors} connector{'s' * (connectors != 1)}, {workspaces} workspace{'s' * (workspaces != 1)}"
    return f"the configuration is valid: keys, values, URLs, schedules, references ({parts})"


def secret_file_findings(settings: Settings) -> Iterator[Finding]:
    for path, secret in all_secrets(settings):
        if secret.file is None:
            continue
        try:
            mode = secret.file.stat().st_mode
        except OSError:
            # Reported as a secret that is missing or can't be read.
            continue
        if mode & READABLE_BY_ALL:
            yield Finding(
                "warning",
                path,
                f"every user of this machine can read {secret.location}.",
                f"chmod 600 {shlex.quote(str(secret.file))}",
                name=CheckName.READABLE_BY_OTHERS,
                area=area_of(path),
            )


def _shared_token_findings(settings: Settings) -> Iterator[Finding]:
    try:
        refuse_shared_tokens(settings.workspaces)
    except ConfigError as error:
        yield _config_finding("error", "workspaces", error.message, error.hint, name=CheckName.SHARED_TOKEN)


def _ca_bundle_findings(bundle: Path | None) -> Iterator[Finding]:
    if bundle is None or not bundle.exists():
        return
    try:
        tls_context(bundle, {})
    except TlsConfigError as error:
        yield _config_finding("error", error.name, f"{error.problem}.", error.hint, name=CheckName.TRUSTED_AUTHORITIES)
    else:
        yield _config_finding(
            "ok", "ca_bundle", f"{bundle} holds the trusted authorities", name=CheckName.TRUSTED_AUTHORITIES
        )


def _notification_findings(settings: Settings) -> Iterator[Finding]:
    for place, secret in enumerate(settings.notify.urls):
        subject = f"notify.urls.{place}"
        try:
            target = parse_destination(secret.reveal())
        except SecretError:
            # Reported as a secret that is missing or not usable.
            continue
        if target is None:
            yield unsupported_url_finding(subject)
        else:
            yield Finding(
                "ok",
                subject,
                f"the {target.service} URL is valid",
                name=CheckName.NOTICE_URL,
                area=Area.NOTIFY,
            )


def _report_findings(settings: Settings) -> Iterator[Finding]:
    for number, report in enumerate(settings.reports):
        for place, secret in enumerate(report.to):
            subject = f"reports.{number}.to.{place}"
            try:
                url = secret.reveal()
            except SecretError:
                # Reported as a secret that is missing or not usable.
                continue
            if problem := target_problem(url):
                yield report_finding(
                    "error", subject, f"{secret.location} {problem}.", "Write the URL there in that form."
                )
            else:
                yield report_finding("ok", subject, f"the URL is valid: {show_url(url)}")


def _connections(settings: Settings) -> Iterator[NotChecked]:
    yield NotChecked(Area.STATE, "state", "It was not opened: whether it can be reached, its schema, pauses.")
    for name in dict.fromkeys(source.connector for each in settings.workspaces.values() for source in each.sources):
        yield NotChecked(
            Area.CONNECTOR, f"connector {name}", "No connection: credentials, permissions, applications and groups."
        )
    for name in settings.workspaces:
        yield NotChecked(
            Area.WORKSPACE, f"workspace {name}", "No connection: the SCIM URL, its tokens and its members."
        )
    if settings.notify.urls:
        yield NotChecked(Area.NOTIFY, "notify", "No service was contacted.")
    if settings.reports:
        yield NotChecked(Area.NOTIFY, "reports", "No folder, store or service was contacted.")
    if settings.server.oidc is not None:
        yield NotChecked(Area.SERVER, "server.oidc", "The issuer was not contacted.")
    if settings.ca_bundle is not None and not settings.ca_bundle.exists():
        yield NotChecked(Area.CONFIG, "ca_bundle", f"{settings.ca_bundle} does not exist here.")
    yield NotChecked(Area.SERVER, "server", "The port was not opened.")
    yield NotChecked(
        Area.CONFIG, "environment", "The variables that libraries use are those of the machine that runs the agent."
    )
