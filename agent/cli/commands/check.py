"""`check`: test everything that a run needs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from agent.bootstrap import Components
from agent.cli.options import workspace_option
from agent.cli.output import print_text
from agent.cli.runtime import load_settings, run_with_components
from agent.engine.planner import select_workspaces
from agent.errors import ExitCode, worst_exit_code
from agent.report.escape import escape_control
from agent.settings.secret_checks import missing_secrets
from agent.settings.variables import variable_findings
from connectors.base import Finding

__all__ = ["check"]


CONFIG_VALID = Finding("ok", "config", "the configuration is valid")
LEVEL_LABELS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@click.command()
@workspace_option
@click.pass_context
def check(context: click.Context, names: Sequence[str]) -> int:
    """Test everything that a run needs, and show what to fix.

    Checks the configuration and the environment variables that libraries use. Checks the connection, credentials,
    permissions, application and groups of each connector and workspace. Also checks pauses, notification URLs, the
    login of the page and the port of `serve`. Sends and writes nothing.

    Exits 0 if a run would work, 6 if a connector, a workspace or the login would fail, 8 if the configuration or a
    variable is invalid, a secret is not usable, or a notification could not be sent.

    \b
    pigment-sync check
    pigment-sync --config /etc/pigment-sync/config.yaml check -w pigment-latam
    """

    settings = load_settings(context)
    variables = variable_findings(os.environ, settings)
    if any(finding.level == "error" for finding in variables):
        # No client can be built, so nothing else can be checked.
        _print_findings([CONFIG_VALID, *variables])
        return ExitCode.CONFIG

    async def body(components: Components) -> list[Finding]:
        return await components.check(list(select_workspaces(components.contexts, names)))

    findings = run_with_components(context, body, is_reading=True, warns=False)
    missing = list(missing_secrets(settings))
    secret_findings = [Finding("error", *each) for each in missing if each[0].startswith(("notify.", "server."))]
    lines = [CONFIG_VALID, *variables, *secret_findings, *findings]
    _print_findings(lines)
    errors = [finding for finding in lines if finding.level == "error"]
    secrets = [message for _, message, _ in missing]
    return worst_exit_code(
        ExitCode.CONFIG if _is_config_error(finding, secrets) else ExitCode.INCOMPLETE for finding in errors
    )


def _is_config_error(finding: Finding, secrets: Sequence[str]) -> bool:
    return finding.subject.startswith("notify.") or any(message in finding.message for message in secrets)


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        print_text(
            f"{LEVEL_LABELS[finding.level]}  {escape_control(finding.subject)}: {escape_control(finding.message)}\n"
        )
        if finding.remedy and finding.level != "ok":
            print_text(f"         {escape_control(finding.remedy)}\n")
