"""`record`: keep what a plan reads, with made-up names, to send it to support."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from agent.cli.options import workspace_option
from agent.cli.progress import show_progress
from agent.cli.runtime import load_settings, warn
from agent.engine.shutdown import GracefulShutdown
from agent.errors import ExitCode
from agent.recorder import RecordedPlan
from agent.recorder import record as record_plan

__all__ = ["record"]


@click.command()
@workspace_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The new file; a name that ends in .gz is compressed. An existing file is never replaced.",
)
@click.pass_context
def record(context: click.Context, names: Sequence[str], out: Path) -> int:
    """Record what a plan reads, with made-up names, for support.

    Reads what plan reads, and writes one file: the answers, the links and the policy, with every person, group, address
    and id consistently replaced. Writes neither to a workspace nor to the state. docs/record.md describes the file.

    \b
    pigment-sync record -w pigment-latam --out problem.jsonl
    pigment-sync sandbox --replay problem.jsonl
    """
    settings = load_settings(context)

    async def body() -> RecordedPlan:
        with show_progress() as progress:
            return await record_plan(settings, names, out, progress, GracefulShutdown())

    recorded = asyncio.run(body())
    for decision in recorded.decisions:
        if decision.plan is None:
            reason = decision.unplanned.message if decision.unplanned else ""
            warn(f"{decision.policy.workspace} could not be planned, and is recorded as that: {reason}")
    click.echo(
        f"{out}: {recorded.counts['answer']:,} answers and {recorded.counts['plan']:,} plans, without real names."
    )
    click.echo(f"  To look at it: less {out}\n  To replay it: pigment-sync sandbox --replay {out}", err=True)
    return ExitCode.DONE


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
