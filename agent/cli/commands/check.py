"""`check`: test everything that a run needs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from agent.bootstrap import Components
from agent.cli.invocation import config_path
from agent.cli.options import format_option, workspace_option
from agent.cli.output import add_config, print_json, print_text, render_options
from agent.cli.runtime import load_settings, run_with_components
from agent.engine.planner import select_workspaces
from agent.errors import ExitCode, worst_exit_code
from agent.report.check import check_json, check_junit, check_text
from agent.settings.file import find_config_file
from agent.settings.root import Settings
from agent.settings.secret_checks import has_inline_secrets, missing_secrets
from agent.settings.variables import variable_findings
from connectors.base import Finding

__all__ = ["check"]


CONFIG_VALID = Finding("ok", "config", "the configuration is valid")
READABLE_BY_ALL = 0o004


@click.command()
@workspace_option
@format_option("text", "json", "junit")
@click.pass_context
def check(context: click.Context, names: Sequence[str], output_format: str) -> int:
    """Test everything that a run needs, and show what to fix.

    Checks the configuration, who can read its file, and the environment variables that libraries use. Checks the
    connection, credentials, permissions, application and groups of each connector and workspace. Also checks pauses,
    notification URLs, the login of the page and the port of `serve`. Sends and writes nothing.

    Exits 0 if a run would work, 6 if a connector, a workspace or the login would fail, 8 if the configuration or a
    variable is invalid, a secret is not usable, or a notification could not be sent.

    \b
    pigment-sync check
    pigment-sync check --format junit > check.xml
    pigment-sync --config /etc/pigment-sync/config.yaml check -w pigment-latam
    """
    settings = load_settings(context)
    own = [CONFIG_VALID, *_file_findings(find_config_file(config_path(context), os.environ), settings)]
    variables = variable_findings(os.environ, settings)
    if any(finding.level == "error" for finding in variables):
        # No client can be built, so nothing else can be checked.
        return _print_findings([*own, *variables], ExitCode.CONFIG, output_format)

    async def body(components: Components) -> list[Finding]:
        return await components.check(list(select_workspaces(components.contexts, names)))

    findings = run_with_components(context, body, is_reading=True, warns=False)
    missing = list(missing_secrets(settings))
    secret_findings = [Finding("error", *each) for each in missing if each[0].startswith(("notify.", "server."))]
    lines = [*own, *variables, *secret_findings, *findings]
    errors = [finding for finding in lines if finding.level == "error"]
    secrets = [message for _, message, _ in missing]
    code = worst_exit_code(
        ExitCode.CONFIG if _is_config_error(finding, secrets) else ExitCode.INCOMPLETE for finding in errors
    )
    return _print_findings(lines, code, output_format)


def _file_findings(file: Path, settings: Settings) -> Iterator[Finding]:
    """Yield a warning if others can read the secrets in the file."""
    if has_inline_secrets(settings) and file.stat().st_mode & READABLE_BY_ALL:
        yield Finding(
            "warning",
            "config",
            f"{file} holds secrets, and every user of this machine can read it.",
            f"Keep them elsewhere, as {{env: NAME}} or {{file: PATH}}, or: chmod 600 {shlex.quote(str(file))}",
        )


def _is_config_error(finding: Finding, secrets: Sequence[str]) -> bool:
    return finding.subject.startswith("notify.") or any(message in finding.message for message in secrets)


def _print_findings(findings: Sequence[Finding], code: int, output_format: str) -> int:
    match output_format:
        case "json":
            print_json(check_json(findings, code))
        case "junit":
            print_text(check_junit(findings))
        case _:
            print_text(add_config(check_text(findings, sys.stdout.encoding, colour=render_options().colour)))
    return code
