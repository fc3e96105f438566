"""`check`: test everything that a run needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from agent.bootstrap import Components
from agent.cli.invocation import config_path
from agent.cli.options import format_option, workspace_option
from agent.cli.output import add_config, print_json, print_text, render_options
from agent.cli.runtime import load_settings, run_with_components
from agent.engine.planner import select_workspaces
from agent.errors import ConfigError, ExitCode, worst_exit_code
from agent.offline_check import check_offline, config_file_findings
from agent.report.check import NotChecked, check_json, check_junit, check_text
from agent.settings.file import find_config_file
from agent.settings.secret_checks import missing_secrets
from agent.settings.variables import variable_findings
from connectors.base import Finding

__all__ = ["check"]


CONFIG_VALID = Finding("ok", "config", "the configuration is valid")


@click.command()
@workspace_option
@click.option("--offline", is_flag=True, help="Check the configuration alone: no connection, no values of secrets.")
@format_option("text", "json", "junit")
@click.pass_context
def check(context: click.Context, names: Sequence[str], offline: bool, output_format: str) -> int:
    """Test everything that a run needs, and show what to fix.

    Checks the configuration, who can read its file, and the environment variables that libraries use. Checks the
    connection, credentials, permissions, application and groups of each connector and workspace. Also checks pauses,
    notification URLs, the login of the page and the port of `serve`. Sends and writes nothing.

    With --offline, opens no connection and not the state, and lists what was not checked. Secrets may be missing, as in
    the checks of a pull request; one that is there must be usable.

    Exits 0 if a run would work, 6 if a connector, a workspace or the login would fail, 8 if the configuration or a
    variable is invalid, a secret is not usable, or a notification could not be sent.

    \b
    pigment-sync check
    pigment-sync check --format junit > check.xml
    pigment-sync check --offline
    pigment-sync --config /etc/pigment-sync/config.yaml check -w pigment-latam
    """
    if offline:
        return _check_offline(context, names, output_format)
    settings = load_settings(context)
    own = [CONFIG_VALID, *config_file_findings(find_config_file(config_path(context), os.environ), settings)]
    variables = variable_findings(os.environ, settings)
    if any(finding.level == "error" for finding in variables):
        # No client can be built, so nothing else can be checked.
        return _print_findings([*own, *variables], ExitCode.CONFIG, output_format)

    async def body(components: Components) -> list[Finding]:
        return await components.check(list(select_workspaces(components.contexts, names)))

    findings = run_with_components(context, body, is_reading=True, warns=False)
    missing = list(missing_secrets(settings))
    secret_findings = [
        Finding("error", *each) for each in missing if each[0].startswith(("notify.", "reports.", "server."))
    ]
    lines = [*own, *variables, *secret_findings, *findings]
    errors = [finding for finding in lines if finding.level == "error"]
    secrets = [message for _, message, _ in missing]
    code = worst_exit_code(
        ExitCode.CONFIG if _is_config_error(finding, secrets) else ExitCode.INCOMPLETE for finding in errors
    )
    return _print_findings(lines, code, output_format)


def _check_offline(context: click.Context, names: Sequence[str], output_format: str) -> int:
    try:
        settings = load_settings(context)
    except ConfigError as error:
        if output_format == "text":
            raise
        problems = [line.strip() for line in error.message.splitlines()]
        findings = [Finding("error", "config", problem, error.hint) for problem in problems]
        return _print_findings(findings, ExitCode.CONFIG, output_format, ())
    chosen = settings.model_copy(update={"workspaces": select_workspaces(settings.workspaces, names)})
    findings, not_checked = check_offline(chosen, find_config_file(config_path(context), os.environ))
    is_invalid = any(finding.level == "error" for finding in findings)
    return _print_findings(findings, ExitCode.CONFIG if is_invalid else ExitCode.DONE, output_format, not_checked)


def _is_config_error(finding: Finding, secrets: Sequence[str]) -> bool:
    return finding.subject.startswith(("notify.", "reports.")) or any(message in finding.message for message in secrets)


def _print_findings(
    findings: Sequence[Finding], code: int, output_format: str, not_checked: Sequence[NotChecked] | None = None
) -> int:
    match output_format:
        case "json":
            print_json(check_json(findings, code, not_checked))
        case "junit":
            print_text(check_junit(findings, not_checked or ()))
        case _:
            colour, encoding = render_options().colour, sys.stdout.encoding
            print_text(add_config(check_text(findings, encoding, colour=colour, not_checked=not_checked or ())))
    return code
