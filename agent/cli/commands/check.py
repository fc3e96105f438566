"""`check`: test everything that a run needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from agent.cli.invocation import config_path
from agent.cli.options import format_option, os_user, workspace_option
from agent.cli.output import add_config, print_text, render_options
from agent.cli.runtime import load_settings, run_with_components
from agent.engine.planner import select_workspaces
from agent.errors import ConfigError, ExitCode, StateError, UsageError, worst_exit_code
from agent.ladder import load_ladder
from agent.model import Mode
from agent.model.check import CheckResult
from agent.model.ladder import LadderStep
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.offline_check import area_of, check_offline, config_file_findings, secret_file_findings
from agent.report.check import NotChecked, check_json, check_junit, check_text, ladder_json, not_checked_json
from agent.report.document import to_json_bytes
from agent.settings.file import find_config_file
from agent.settings.root import Settings
from agent.settings.secret_checks import missing_secrets
from agent.settings.variables import variable_findings
from agent.version import installed_version
from connectors.base import Area, CheckName, Finding

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["check"]


Ladders = Mapping[str, Sequence[LadderStep]]


class Checked(NamedTuple):
    """The findings of an online check, and the ladder to enforce of each checked workspace."""

    findings: list[Finding]
    ladders: Ladders


CONFIG_VALID = Finding("ok", "config", "the configuration is valid", name=CheckName.CONFIGURATION, area=Area.CONFIG)


@click.command()
@workspace_option
@click.option("--offline", is_flag=True, help="Check the configuration alone: no connection, no values of secrets.")
@click.option("--notify", "sends_notices", is_flag=True, help="Send a test notice to each URL of `notify`.")
@format_option("text", "json", "junit")
@click.pass_context
def check(context: click.Context, names: Sequence[str], offline: bool, sends_notices: bool, output_format: str) -> int:
    """Test everything that a run needs, and show what to fix.

    Checks the configuration, who can read its file, and the environment variables that libraries use. Checks the
    connection, credentials, permissions, application and groups of each connector and workspace. Also checks pauses,
    notification URLs, the login of the page and the port of `serve`.

    Writes nothing to a provider or to Pigment, and sends nothing unless --notify is given. The result is kept in the
    state, for each workspace.

    With --offline, opens no connection and not the state, and lists what was not checked. Secrets may be missing, as in
    the checks of a pull request; one that is there must be usable. The result is not kept.

    Exits 0 if a run would work, 6 if a connector, a workspace or the login would fail, 8 if the configuration or a
    variable is invalid, a secret is not usable, or a notification could not be sent.

    \b
    pigment-sync check
    pigment-sync check --format junit > check.xml
    pigment-sync check --offline
    pigment-sync check --notify
    pigment-sync --config /etc/pigment-sync/config.yaml check -w pigment-latam
    """
    if offline and sends_notices:
        raise UsageError(
            "--offline and --notify can't be used together: an offline check sends nothing.", "Leave one of them out."
        )
    if offline:
        return _check_offline(context, names, output_format)
    settings = load_settings(context)
    config = [*_config_findings(context, settings), *variable_findings(os.environ, settings)]
    if any(finding.level == "error" for finding in config):
        # No client can be built, so nothing else can be checked.
        return _print_findings(config, ExitCode.CONFIG, output_format)
    missing = list(missing_secrets(settings))
    # The others are reported by the request that needs them.
    config += [
        Finding("error", path, message, hint, name=CheckName.SECRET, area=area_of(path))
        for path, message, hint in missing
        if area_of(path) in {Area.NOTIFY, Area.SERVER}
    ]

    async def body(components: Components) -> Checked:
        chosen = list(select_workspaces(components.contexts, names))
        started_at = components.clock.now()
        found = await components.check(chosen, sends_notices=sends_notices)
        result = CheckResult([*config, *found.shared], found.connectors, found.workspaces)
        try:
            for name in chosen:
                findings = result.findings_of(name, components.contexts[name].policy.sources)
                await components.state.record_verification(
                    Verification(
                        workspace=name,
                        kind=VerificationKind.CHECK,
                        started_at=started_at,
                        result=_verification_result(findings),
                        by=os_user(),
                        version=installed_version(),
                        document=check_json(findings),
                    )
                )
            now = components.clock.now()
            ladders = {
                name: await load_ladder(components.state, name, now, _other_reader(settings, name)) for name in chosen
            }
        except StateError as error:
            message = f"the result of this check is not kept: {error.message}"
            not_kept = Finding("error", "state", message, error.hint, name=CheckName.STATE_WRITABLE, area=Area.STATE)
            return Checked([*result, not_kept], {})
        return Checked(list(result), ladders)

    lines, ladders = run_with_components(context, body, is_reading=True, warns=False)
    secrets = [message for _, message, _ in missing]
    code = worst_exit_code(
        ExitCode.CONFIG if _is_config_error(finding, secrets) else ExitCode.INCOMPLETE
        for finding in lines
        if finding.level == "error"
    )
    return _print_findings(lines, code, output_format, ladders=ladders, dry_names=_dry_run_names(settings))


def _dry_run_names(settings: Settings) -> frozenset[str]:
    return frozenset(name for name, each in settings.workspaces.items() if each.mode is Mode.DRY_RUN)


def _other_reader(settings: Settings, name: str) -> str:
    """Return the value of `compare --with` that reads the first source of the workspace."""
    connector = settings.connectors[settings.workspaces[name].sources[0].connector]
    return "okta-sdk" if connector.type == "okta" else "EXPORT.csv"


def _config_findings(context: click.Context, settings: Settings) -> Iterator[Finding]:
    yield CONFIG_VALID
    yield from config_file_findings(find_config_file(config_path(context), os.environ), settings)
    yield from secret_file_findings(settings)


def _verification_result(findings: Sequence[Finding]) -> VerificationResult:
    is_failed = any(finding.level == "error" for finding in findings)
    return VerificationResult.FAILED if is_failed else VerificationResult.PASSED


def _check_offline(context: click.Context, names: Sequence[str], output_format: str) -> int:
    try:
        settings = load_settings(context)
    except ConfigError as error:
        if output_format == "text":
            raise
        findings = [
            Finding("error", "config", line.strip(), error.hint, name=CheckName.CONFIGURATION, area=Area.CONFIG)
            for line in error.message.splitlines()
        ]
        return _print_findings(findings, ExitCode.CONFIG, output_format, ())
    chosen = settings.model_copy(update={"workspaces": select_workspaces(settings.workspaces, names)})
    findings, not_checked = check_offline(chosen, find_config_file(config_path(context), os.environ))
    is_invalid = any(finding.level == "error" for finding in findings)
    return _print_findings(findings, ExitCode.CONFIG if is_invalid else ExitCode.DONE, output_format, not_checked)


def _is_config_error(finding: Finding, secrets: Sequence[str]) -> bool:
    return finding.area is Area.NOTIFY or any(message in finding.message for message in secrets)


def _print_findings(
    findings: Sequence[Finding],
    code: int,
    output_format: str,
    not_checked: Sequence[NotChecked] | None = None,
    *,
    ladders: Ladders | None = None,
    dry_names: Collection[str] = (),
) -> int:
    """Print *findings* and the *ladders* to enforce: as text, those of *dry_names* only.

    With *not_checked*, even an empty one, the check was offline.
    """
    match output_format:
        case "json":
            more: dict[str, object] = {"exit_code": code}
            if not_checked is not None:
                more["not_checked"] = not_checked_json(not_checked)
            if ladders is not None:
                more["ladder"] = {name: ladder_json(steps) for name, steps in ladders.items()}
            print_text(to_json_bytes({**check_json(findings), **more}).decode())
        case "junit":
            print_text(check_junit(findings, not_checked or ()))
        case _:
            colour, encoding = render_options().colour, sys.stdout.encoding
            shown = {name: steps for name, steps in (ladders or {}).items() if name in dry_names}
            print_text(
                add_config(check_text(findings, encoding, colour=colour, not_checked=not_checked or (), ladders=shown))
            )
    return code
