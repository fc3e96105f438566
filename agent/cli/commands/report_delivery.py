"""`report send` and `report list`: deliver a configured report now, and show when each was last delivered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from agent.cli.options import by_option, format_option
from agent.cli.output import print_json, print_table, print_text
from agent.cli.runtime import run_with_components
from agent.delivery.content import ReadComponents
from agent.delivery.rows import REPORT_HEADINGS, ReportRow, report_cells, report_row, sent_row
from agent.delivery.service import load_report_state
from agent.errors import ExitCode, UsageError, WorkspaceBusy, worst_exit_code
from agent.model.report import DeliveryStatus, MadeReport, ReportStatus
from agent.report.escape import escape_control
from agent.report.news import decode_facts
from agent.settings.report import ReportSettings
from agent.settings.root import Settings

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["list_reports", "send"]


@click.command()
@click.argument("name")
@by_option
@format_option("text", "json")
@click.pass_context
def send(context: click.Context, name: str, by: str, output_format: str) -> int:
    """Make a report of the configuration, and deliver it now.

    Reads what the report is about, never writes to a workspace, and tries each target once. What fails is tried again
    by the daemon, if it runs. The schedule is not affected. Exits 5 if a target did not get it, 6 if a workspace could
    not be read: the report is delivered with that at its top.

    \b
    pigment-sync report send weekly
    pigment-sync report send weekly --by ana@acme.com --format json
    """

    async def body(components: Components) -> MadeReport:
        from agent.bootstrap import create_report_service

        report = _find_report(components.settings, name)

        @asynccontextmanager
        async def open_components() -> AsyncIterator[ReadComponents]:
            yield components

        service = create_report_service(components.settings, components.state, components.clock, open_components)
        try:
            return await service.send_now(report, by)
        except WorkspaceBusy as error:
            raise WorkspaceBusy(
                f"Another process delivers the report {name} at this moment.", "Try again in a minute."
            ) from error

    sent = run_with_components(context, body)
    if output_format == "json":
        print_json({"version": 1, **sent_row(sent)})
    else:
        print_text("".join(f"{escape_control(line)}\n" for line in _sent_lines(sent)))
    facts = decode_facts(sent.facts)
    codes = [ExitCode.FAILED] if sent.status is ReportStatus.FAILED or _undelivered(sent) else []
    codes += [ExitCode.INCOMPLETE] if facts is not None and facts.unread else []
    return worst_exit_code(codes)


@click.command("list")
@format_option("text", "json")
@click.pass_context
def list_reports(context: click.Context, output_format: str) -> int:
    """List the configured reports, and when each was delivered.

    Shows the schedule, the targets without their secrets, the next moment, and what is wrong. Reads the configuration
    and the state.

    \b
    pigment-sync report list
    pigment-sync report list --format json
    """

    async def body(components: Components) -> list[ReportRow]:
        now = components.clock.now()
        return [
            report_row(await load_report_state(components.state, each, now, now), now)
            for each in components.settings.reports
        ]

    rows = run_with_components(context, body, is_reading=True)
    if output_format == "json":
        print_json({"version": 1, "reports": rows})
    else:
        print_table(REPORT_HEADINGS, [[escape_control(cell) for cell in report_cells(row)] for row in rows])
    return ExitCode.DONE


def _find_report(settings: Settings, name: str) -> ReportSettings:
    found = next((each for each in settings.reports if each.name == name), None)
    if found is None:
        names = ", ".join(each.name for each in settings.reports)
        known = f"The configuration has: {names}." if names else "The configuration has none: add it under `reports`."
        raise UsageError(f"There is no report {name}.", known)
    return found


def _undelivered(sent: MadeReport) -> bool:
    return any(each.status is not DeliveryStatus.DELIVERED for each in sent.deliveries)


def _sent_lines(sent: MadeReport) -> Iterator[str]:
    yield f"{sent.id}: {sent.title or sent.status}"
    if sent.error:
        yield f"  {sent.error}"
    for each in sent.deliveries:
        yield f"  {each.status:10} {each.target}{f': {each.error}' if each.error else ''}"
